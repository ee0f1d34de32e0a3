// npm `@modelcontextprotocol/sdk`: its OAuth flow with the smallest application around it.

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const url = new URL(process.argv[2]);
const listener = createServer().listen(0, '127.0.0.1');
await once(listener, 'listening');
const redirectUrl = `http://127.0.0.1:${listener.address().port}/callback`;

const arrived = new Promise((resolve) => {
  listener.on('request', (request, response) => {
    response.end('done');
    resolve(new URL(request.url, redirectUrl).searchParams);
  });
});

const memory = {};
const state = createHash('sha256').update(redirectUrl).digest('base64url');
const authProvider = {
  redirectUrl,
  clientMetadataUrl: process.env.CLIENT_METADATA_URL,
  clientMetadata: { client_name: 'MCP TypeScript SDK', redirect_uris: [redirectUrl], token_endpoint_auth_method: 'none' },
  state: () => state,
  clientInformation: () => memory.client,
  saveClientInformation: (client) => { memory.client = client; },
  tokens: () => memory.tokens,
  saveTokens: (tokens) => { memory.tokens = tokens; },
  codeVerifier: () => memory.verifier,
  saveCodeVerifier: (verifier) => { memory.verifier = verifier; },
  redirectToAuthorization: (address) => { execFile(process.env.BROWSER, [address.href]); },
};

const connect = async () => {
  const client = new Client({ name: 'sdk-client', version: '1.0.0' });
  const transport = new StreamableHTTPClientTransport(url, { authProvider });
  try {
    await client.connect(transport);
    return client;
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
    const answer = await arrived;
    if (answer.get('state') !== state) throw new Error(`state ${answer.get('state')}`);
    if (answer.get('iss') !== url.origin) throw new Error(`iss ${answer.get('iss')}`); // RFC 9207
    await transport.finishAuth(answer.get('code'));
    return connect();
  }
};

const refused = async (token) => {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list', params: {} });
  while ((await fetch(url, { method: 'POST', headers, body })).status !== 401) await pause(200);
};

const fingerprint = (token) => createHash('sha256').update(token).digest('hex').slice(0, 12);
const whoami = async (client) => JSON.parse((await client.callTool({ name: 'whoami' })).content[0].text);

const client = await connect();
const tools = (await client.listTools()).tools.map((tool) => tool.name);
const first = await whoami(client);
const before = memory.tokens.access_token;
await refused(before);
const again = await whoami(client);
console.log(JSON.stringify({ tools, whoami: [first, again], tokens: [before, memory.tokens.access_token].map(fingerprint) }));
await client.close();
listener.close();
listener.closeAllConnections();
