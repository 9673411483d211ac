// An MCP server that lets in who has a good access token of the provider, and nobody else.
//
//   node upstream.mjs PORT ISSUER [RESOURCE]
//
// It checks signature, issuer, `exp` to the second, and audience and scope `mcp:call`. RESOURCE is the audience, by default
// https://mcp.test/mcp; `self` is its own URL, as servers behind a login have it. Its protected resource metadata (RFC 9728) names the
// issuer. Tool `whoami` answers with the token's client_id and sub. GET /_seen: how many requests it let in, how many it refused.

import { createServer } from 'node:http';
import process from 'node:process';

import * as jose from 'jose';

const [port, issuer, resource = 'https://mcp.test/mcp'] = process.argv.slice(2);
const OWN = `http://127.0.0.1:${port}/mcp`;
const AUDIENCE = resource === 'self' ? OWN : resource;
const METADATA = `/.well-known/oauth-protected-resource/mcp`;
const seen = { let_in: 0, refused: 0, why: {}, tokens: 0 };

// The provider may be killed later: its keys are fetched once.
const keys = jose.createLocalJWKSet(await (await fetch(`${issuer}/jwks`)).json());
const known = new Map();

/** The claims of a good token. */
async function claims(authorization) {
  const token = /^Bearer ([\w.-]+)$/.exec(authorization ?? '')?.[1];
  if (token === undefined) return null;
  if (!known.has(token)) {
    const options = { issuer, audience: AUDIENCE, typ: 'at+jwt', clockTolerance: 0 };
    known.set(token, (await jose.jwtVerify(token, keys, options)).payload);
    seen.tokens = known.size;
  }
  const payload = known.get(token);
  if (payload.exp * 1000 <= Date.now()) throw new Error('expired');
  return payload;
}

const tools = [{ name: 'whoami', description: 'Whose token it is', inputSchema: { type: 'object' } }];

function answer({ method }, who) {
  switch (method) {
    case 'initialize':
      return {
        protocolVersion: '2025-06-18',
        capabilities: { tools: {} },
        serverInfo: { name: 'bearer', version: '1' },
      };
    case 'ping':
      return {};
    case 'tools/list':
      return { tools };
    case 'tools/call':
      return { content: [{ type: 'text', text: `${who.client_id} ${who.sub}` }] };
    default:
      return null;
  }
}

function send(response, status, headers, body) {
  const text = body === undefined ? '' : JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), ...headers });
  response.end(text);
}

function refuse(response, status, error) {
  seen.refused += 1;
  const why = error === undefined ? '' : `error="${error}", `;
  const challenge = `Bearer ${why}scope="mcp:call", resource_metadata="http://127.0.0.1:${port}${METADATA}"`;
  send(response, status, { 'www-authenticate': challenge });
}

async function handle(request, response) {
  if (request.url === '/_seen') return send(response, 200, {}, seen);
  if (request.url === METADATA) {
    const about = { resource: AUDIENCE, authorization_servers: [issuer], scopes_supported: ['mcp:call'] };
    return send(response, 200, {}, about);
  }
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  let who;
  try {
    who = await claims(request.headers.authorization);
  } catch (error) {
    seen.why[error.message] = (seen.why[error.message] ?? 0) + 1;
    return refuse(response, 401, 'invalid_token');
  }
  if (who === null) return refuse(response, 401);
  if (!(who.scope ?? '').split(' ').includes('mcp:call')) return refuse(response, 403, 'insufficient_scope');
  seen.let_in += 1;
  if (request.method !== 'POST') return send(response, 405, {});
  const message = JSON.parse(Buffer.concat(chunks).toString());
  if (message.id === undefined) return send(response, 202, {});
  const result = answer(message, who);
  const rest = result === null ? { error: { code: -32601, message: 'no such method' } } : { result };
  send(response, 200, {}, { jsonrpc: '2.0', id: message.id, ...rest });
}

const server = createServer((request, response) => {
  handle(request, response).catch((error) => {
    console.error(error);
    response.destroy();
  });
});
server.keepAliveTimeout = 65_000;
server.listen(Number(port), '127.0.0.1', () => console.log(`ready ${OWN}`));
