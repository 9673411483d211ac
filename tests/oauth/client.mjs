// An official TypeScript client that logs in to weir: @modelcontextprotocol/sdk 1.x (`ts1`) or @modelcontextprotocol/client 2.x (`ts2`).
//
//   node client.mjs PLAN
//
// PLAN is JSON: `sdk`, `mode` (of `ts2`: "legacy" or "auto"), `url` of weir, `redirect`, and who the client is: `document`, the URL of
// its metadata, or `client_id`, one that the provider knows; without either it registers itself. Nothing is known beforehand: the
// SDK finds out from weir's 401 where to log in. Its browser is in here, follows redirects, and stops before `redirect`.
//
// On stdin there is an order a line, {"tool": …, "not_before": seconds since 1970, "forget_refresh": true}. Each is answered with a line:
// what the tool said, the revision, the session, how often somebody logged in so far, and the access token of now.

import { randomUUID } from 'node:crypto';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const HOPS = 20;
const LOGINS = 2; // at most, for one call

const plan = JSON.parse(process.argv[2]);
const sdk = plan.sdk === 'ts1' ? await load1() : await import('@modelcontextprotocol/client');

async function load1() {
  const modules = ['index.js', 'streamableHttp.js', 'auth.js'].map((name) => `@modelcontextprotocol/sdk/client/${name}`);
  return Object.assign({}, ...(await Promise.all(modules.map((name) => import(name)))));
}

/** Follows redirects, with cookies, and gives back the query of `redirect`. */
async function browse(url) {
  const cookies = new Map();
  for (let hop = 0; hop < HOPS; hop += 1) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const answer = await fetch(url, { redirect: 'manual', headers: { cookie } });
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      if (value === '') cookies.delete(name);
      else cookies.set(name, value);
    }
    const place = answer.headers.get('location');
    if (place === null) throw new Error(`the browser stands before ${answer.status} ${await answer.text()}`);
    url = new URL(place, url);
    if (url.href.startsWith(plan.redirect)) return url.searchParams;
  }
  throw new Error(`the browser was sent on ${HOPS} times`);
}

/** What an application keeps for the SDK (its `OAuthClientProvider`), and its user. */
class Account {
  logins = 0;
  clientMetadataUrl = plan.document;
  redirectUrl = plan.redirect;
  clientMetadata = {
    client_name: plan.sdk,
    application_type: 'native',
    redirect_uris: [plan.redirect],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
  };

  #client = plan.client_id === undefined ? undefined : { client_id: plan.client_id };
  #tokens;
  #verifier;
  #state;
  #discovered;

  clientInformation() {
    return this.#client;
  }

  saveClientInformation(client) {
    this.#client = client;
  }

  tokens() {
    return this.#tokens;
  }

  saveTokens(tokens) {
    this.#tokens = tokens;
  }

  forgetRefresh() {
    delete this.#tokens?.refresh_token;
  }

  saveCodeVerifier(verifier) {
    this.#verifier = verifier;
  }

  codeVerifier() {
    return this.#verifier;
  }

  saveDiscoveryState(discovered) {
    this.#discovered = discovered;
  }

  discoveryState() {
    return this.#discovered;
  }

  state() {
    this.#state = randomUUID();
    return this.#state;
  }

  async redirectToAuthorization(url) {
    this.logins += 1;
    this.landed = await browse(url);
    if (this.landed.get('state') !== this.#state) throw new Error('the state is another one');
    if (!this.landed.has('code')) throw new Error(`there is no code: ${this.landed}`);
  }
}

const account = new Account();
let client, transport;

async function connect() {
  const options = plan.sdk === 'ts1' ? {} : { versionNegotiation: { mode: plan.mode } };
  client = new sdk.Client({ name: `weir-oauth-${plan.sdk}`, version: '1.0.0' }, options);
  transport = new sdk.StreamableHTTPClientTransport(new URL(plan.url), { authProvider: account });
  await client.connect(transport);
}

/** Does it, and once more each time that the SDK wants somebody to log in, as an application would. */
async function loggedIn(work) {
  for (let logins = 0; ; logins += 1) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof sdk.UnauthorizedError) || logins === LOGINS) throw error;
      await transport.finishAuth(plan.sdk === 'ts1' ? account.landed.get('code') : account.landed);
    }
  }
}

await loggedIn(connect);
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  await sleep(Math.max(0, (order.not_before ?? 0) * 1000 - Date.now()));
  if (order.forget_refresh) account.forgetRefresh();
  const result = await loggedIn(() => client.callTool({ name: order.tool, arguments: {} }));
  const report = {
    text: result.content[0].text,
    version: plan.sdk === 'ts1' ? transport.protocolVersion : client.getNegotiatedProtocolVersion(),
    session: transport.sessionId ?? null,
    logins: account.logins,
    token: account.tokens().access_token,
  };
  console.log(JSON.stringify(report));
}
await client.close();
process.exit(0);
