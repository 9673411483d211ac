// A certified OpenID provider (oidc-provider from npm) as a company would run it, with a few words for tests.
//
//   node provider.mjs PORT FOLDER [TTL]
//
// Issuer http://127.0.0.1:PORT. Access tokens are JWTs of TTL seconds (default 60) for whatever `resource` was asked for.
// Keys are made once and kept in FOLDER, so that tokens outlive the provider and a restarted one is the same:
// FOLDER/client-ALG.pem are the private keys of the clients that authenticate with private_key_jwt.
//
// Clients: `basic` and `post` (client_secret), `jwt-RS256`, `jwt-PS256`, `jwt-ES256`, `jwt-ES384`, `jwt-EdDSA` for client
// credentials; `public` (no secret) and `web` (client_secret_basic) for the authorization code flow with PKCE and refresh
// tokens, which are rotated: one that is used twice ends the whole grant. Others register themselves (RFC 7591) at /reg,
// or are a metadata document at https://client.test/weir.json.
//
// Who comes to /auth is logged in and consents at once: a client that follows redirects (with cookies) ends at its
// redirect_uri with a code. GET /_seen: what was asked so far. POST /_do {"fail": 503, "stall": 2000, "deny": true}:
// from now on token requests fail with this status (until {"fail": 0}), take that many ms, who comes to /auth is
// refused. A provider that is started again has forgotten all grants and refresh tokens.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';

import * as jose from 'jose';
import Provider from 'oidc-provider';

const [port, folder, ttl = '60'] = process.argv.slice(2);
const ISSUER = `http://127.0.0.1:${port}`;
const SECRET = 'weir-test-secret/+ with:colon';
const DOCUMENT = 'https://client.test/weir.json';
const SCOPES = ['mcp:read', 'mcp:call'];
const GRANTS = ['authorization_code', 'refresh_token'];

mkdirSync(folder, { recursive: true });

/** Reads a file, or writes what `make` makes. */
async function kept(name, make) {
  const path = join(folder, name);
  if (!existsSync(path)) writeFileSync(path, await make(), { mode: 0o600 });
  return readFileSync(path, 'utf8');
}

async function signingKey() {
  const made = await kept('signing.json', async () => {
    const { privateKey } = await jose.generateKeyPair('RS256', { extractable: true });
    return JSON.stringify({ ...(await jose.exportJWK(privateKey)), kid: 'signing', use: 'sig', alg: 'RS256' });
  });
  return JSON.parse(made);
}

/** A client that authenticates with private_key_jwt. */
async function jwtClient(alg) {
  const pem = await kept(`client-${alg}.pem`, async () => {
    const { privateKey } = await jose.generateKeyPair(alg, { extractable: true });
    return jose.exportPKCS8(privateKey);
  });
  const { d, p, q, dp, dq, qi, ...jwk } = await jose.exportJWK(await jose.importPKCS8(pem, alg, { extractable: true }));
  return {
    client_id: `jwt-${alg}`,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    token_endpoint_auth_method: 'private_key_jwt',
    token_endpoint_auth_signing_alg: alg,
    jwks: { keys: [{ ...jwk, kid: `key-${alg}`, use: 'sig', alg }] },
  };
}

function service(client_id, token_endpoint_auth_method) {
  return {
    client_id,
    client_secret: SECRET,
    token_endpoint_auth_method,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  };
}

function person(client_id, more) {
  return {
    client_id,
    application_type: 'native', // any port of the loopback redirect (RFC 8252 §7.3)
    redirect_uris: ['http://127.0.0.1/callback', 'http://localhost/callback'],
    grant_types: GRANTS,
    response_types: ['code'],
    ...more,
  };
}

const ALGS = ['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA'];
const clients = [
  service('basic', 'client_secret_basic'),
  service('post', 'client_secret_post'),
  ...(await Promise.all(ALGS.map(jwtClient))),
  person('public', { token_endpoint_auth_method: 'none' }),
  person('web', { client_secret: SECRET, token_endpoint_auth_method: 'client_secret_basic' }),
];

const provider = new Provider(ISSUER, {
  clients,
  jwks: { keys: [await signingKey()] },
  cookies: { keys: ['of no worth'] },
  scopes: ['openid', 'offline_access', ...SCOPES],
  clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
  enabledJWA: { clientAuthSigningAlgValues: ALGS },
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: async (ctx, client) => client.grantTypeAllowed('refresh_token'),
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  findAccount: async (ctx, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  ttl: { ClientCredentials: Number(ttl), AccessToken: Number(ttl), RefreshToken: 3600, Grant: 3600, Session: 3600, Interaction: 600 },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    registration: { enabled: true },
    clientIdMetadataDocument: { enabled: true, ack: 'draft-02' },
    resourceIndicators: {
      enabled: true,
      defaultResource: async () => 'https://mcp.test/mcp',
      useGrantedResource: async () => true,
      getResourceServerInfo: async (ctx, resource) => ({
        scope: SCOPES.join(' '),
        audience: resource,
        accessTokenTTL: Number(ttl),
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
  // The one document there is: nothing here leaves this machine.
  fetch: async (url) => {
    const document = { ...person(DOCUMENT, { token_endpoint_auth_method: 'none', client_name: 'weir' }) };
    const known = url.toString() === DOCUMENT;
    return new Response(known ? JSON.stringify(document) : '', {
      status: known ? 200 : 404,
      headers: { 'content-type': 'application/json' },
    });
  },
  renderError: async (ctx, out) => {
    ctx.type = 'json';
    ctx.body = out;
  },
});

const seen = { token: 0, metadata: 0, registered: 0, refused: 0, grants: {}, authentication: {}, errors: {} };
let orders = {};

provider.on('grant.error', (ctx, error) => {
  seen.errors[error.error] = (seen.errors[error.error] ?? 0) + 1;
});
provider.on('registration_create.success', () => {
  seen.registered += 1;
});
provider.on('grant.success', (ctx) => {
  const { grant_type: grant } = ctx.oidc.params;
  seen.grants[grant] = (seen.grants[grant] ?? 0) + 1;
  const method = ctx.oidc.client.clientAuthMethod;
  seen.authentication[method] = (seen.authentication[method] ?? 0) + 1;
});

/** Logs in whoever comes, and consents to all that is asked. */
async function interact(ctx) {
  const details = await provider.interactionDetails(ctx.req, ctx.res);
  const { prompt, params, session } = details;
  if (orders.deny) {
    const result = { error: 'access_denied', error_description: 'the user said no' };
    return provider.interactionFinished(ctx.req, ctx.res, result, { mergeWithLastSubmission: false });
  }
  if (prompt.name === 'login') {
    return provider.interactionFinished(ctx.req, ctx.res, { login: { accountId: 'ada' } });
  }
  const known = details.grantId && (await provider.Grant.find(details.grantId));
  const grant = known || new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  const { missingOIDCScope, missingOIDCClaims, missingResourceScopes } = prompt.details;
  if (missingOIDCScope) grant.addOIDCScope(missingOIDCScope.join(' '));
  if (missingOIDCClaims) grant.addOIDCClaims(missingOIDCClaims);
  for (const [resource, scopes] of Object.entries(missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, scopes.join(' '));
  }
  const consent = { grantId: await grant.save() };
  return provider.interactionFinished(ctx.req, ctx.res, { consent }, { mergeWithLastSubmission: true });
}

async function body(ctx) {
  const chunks = [];
  for await (const chunk of ctx.req) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString());
}

provider.use(async (ctx, next) => {
  if (ctx.path === '/_seen') {
    ctx.body = seen;
    return;
  }
  if (ctx.path === '/_do') {
    orders = { ...orders, ...(await body(ctx)) };
    ctx.body = {};
    return;
  }
  if (ctx.path.startsWith('/interaction/')) {
    await interact(ctx);
    return;
  }
  if (ctx.path.startsWith('/.well-known/')) seen.metadata += 1;
  if (ctx.path === '/reg' && ctx.method === 'POST') {
    // Clients register for the scopes that a server asks for first. As most companies do, this one holds nobody to that.
    const { scope, ...metadata } = await body(ctx);
    ctx.req.body = metadata;
  }
  if (ctx.path === '/token') {
    seen.token += 1;
    if (orders.stall) await new Promise((resolve) => setTimeout(resolve, orders.stall));
    if (orders.fail) {
      ctx.status = orders.fail;
      ctx.body = 'the provider is unwell; secret: hunter2';
      return;
    }
  }
  await next();
  if (ctx.path === '/token' && ctx.status >= 400) seen.refused += 1;
});

const server = provider.listen(Number(port), '127.0.0.1', () => console.log(`ready ${ISSUER}`));
server.keepAliveTimeout = 65_000;
