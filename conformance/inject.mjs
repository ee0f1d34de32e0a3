// Preloaded into the official suite, which has no option for a token (`node --import inject.mjs`). To whatever goes to
// $MCP_ORIGIN it adds `Authorization: Bearer $MCP_TOKEN`, unless that is empty, and it appends the status of each answer to the
// file $MCP_STATUSES. The suite uses three HTTP stacks: http.request, its own copy of undici ($MCP_SUITE is the suite), and fetch,
// which goes through undici's global dispatcher too.

import { appendFileSync } from 'node:fs';
import http from 'node:http';
import { createRequire, syncBuiltinESMExports } from 'node:module';

const { MCP_ORIGIN: origin, MCP_TOKEN: token, MCP_STATUSES: statuses, MCP_SUITE: suite } = process.env;
const bearer = token && `Bearer ${token}`;
const ours = (url) => new URL(url).origin === origin;
const note = (status) => appendFileSync(statuses, `${status}\n`);

// A test may forge the Host header, so what counts is where the connection goes.
const destination = ([first, second]) => {
  const options = typeof first === 'string' || first instanceof URL ? { ...urlParts(first), ...second } : first;
  return `http://${options.hostname ?? options.host}:${options.port}`;
};
const urlParts = (url) => {
  const { hostname, port } = new URL(url);
  return { hostname, port };
};
const plainRequest = http.request;
http.request = (...args) => {
  const request = plainRequest(...args);
  if (destination(args.filter((arg) => typeof arg !== 'function')) !== origin) return request;
  if (bearer) request.setHeader('authorization', bearer);
  return request.on('response', (response) => note(response.statusCode));
};
syncBuiltinESMExports();

const undici = createRequire(suite)('undici');
const withBearer = (headers) => {
  if (!bearer) return headers;
  if (Array.isArray(headers)) return [...headers, 'authorization', bearer];
  const pairs = typeof headers?.[Symbol.iterator] === 'function' ? Object.fromEntries(headers) : headers;
  return { ...pairs, authorization: bearer };
};
class Noting extends undici.DecoratorHandler {
  onResponseStart(controller, status, headers, message) {
    note(status);
    return super.onResponseStart(controller, status, headers, message);
  }
}
undici.setGlobalDispatcher(new undici.Agent().compose((dispatch) => (options, handler) => {
  if (!ours(options.origin)) return dispatch(options, handler);
  return dispatch({ ...options, headers: withBearer(options.headers) }, new Noting(handler));
}));
