// The identity provider: npm `oidc-provider` with one static confidential client and no registration.
//
// It behaves like a live session at a provider that remembers consent: whoever arrives is signed in and sent on without a
// question, which is the setting of GHSA-c2jp-c369-7pvx. The cookie `person` chooses who arrives; without it, alice does.
// `/test/count` tells how often its authorization endpoint was asked; no other part of it is a test's invention.
//
// Usage: node idp.mjs PORT CLIENT_SECRET REDIRECT_URI

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [port, secret, redirectUri] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;

const people = {
  alice: { email: 'alice@example.com', name: 'Alice Archer', groups: ['MCP Users', 'Engineering'] },
  bob: { email: 'bob@example.com', name: 'Bob Baker', groups: ['MCP Users'] },
};

function signingKey() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  return [rsa.export({ format: 'jwk' }), privateKey.export({ format: 'jwk' })].map((key) => ({ ...key, use: 'sig' }));
}

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'deputy',
    client_secret: secret,
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
  }],
  jwks: { keys: signingKey() },
  cookies: { keys: [randomBytes(16).toString('hex')] },
  scopes: ['openid', 'offline_access'],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'preferred_username', 'groups'] },
  conformIdTokenClaims: false, // email, name and groups in the ID token, as the large providers do
  pkce: { required: () => true },
  features: { devInteractions: { enabled: false } },
  interactions: { url: (_ctx, interaction) => `/sign-in/${interaction.uid}` },
  findAccount: (_ctx, sub) => people[sub] && {
    accountId: sub,
    claims: () => ({ sub, email_verified: true, preferred_username: sub, ...people[sub] }),
  },
  // Consent for the one static client was given long ago, for everything it asks.
  async loadExistingGrant(ctx) {
    const grant = new ctx.oidc.provider.Grant({
      clientId: ctx.oidc.client.clientId,
      accountId: ctx.oidc.session.accountId,
    });
    grant.addOIDCScope('openid email profile offline_access');
    await grant.save();
    return grant;
  },
});

function personIn(request) {
  const chosen = /(?:^|;\s*)person=(\w+)/.exec(request.headers.cookie ?? '')?.[1];
  return chosen in people ? chosen : 'alice';
}

let asked = 0;
const handle = provider.callback();

createServer((request, response) => {
  const { pathname } = new URL(request.url, issuer);
  if (pathname === '/test/count') {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ authorize: asked }));
  } else if (pathname.startsWith('/sign-in/')) {
    provider.interactionFinished(request, response, { login: { accountId: personIn(request) } })
      .catch((error) => response.writeHead(400).end(String(error)));
  } else {
    if (pathname === '/auth') asked += 1;
    handle(request, response);
  }
}).listen(Number(port), '127.0.0.1', () => console.log(`idp at ${issuer}`));
