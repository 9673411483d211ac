// The servers around the page: MCP upstreams, weir, and a site of somebody else.
import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

export const TOKEN = "of operators";

const listen = (server) =>
  new Promise((done) => server.listen(0, "127.0.0.1", () => done(server.address().port)));

export const freePort = async () => {
  const server = createServer();
  const port = await listen(server);
  await new Promise((done) => server.close(done));
  return port;
};

/** An MCP server of 2025-06-18 whose tools can be changed; it answers in JSON. */
export class Upstream {
  constructor(tools) {
    this.tools = tools;
  }

  async start(port = 0) {
    this.server = createServer((request, response) => this.#answer(request, response));
    await new Promise((done) => this.server.listen(port || this.port || 0, "127.0.0.1", done));
    this.port = this.server.address().port;
    return this;
  }

  async stop() {
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
  }

  get url() {
    return `http://127.0.0.1:${this.port}/mcp`;
  }

  async #answer(request, response) {
    if (request.method !== "POST") {
      response.writeHead(405).end();
      return;
    }
    let text = "";
    for await (const chunk of request) text += chunk;
    const message = JSON.parse(text);
    if (message.id === undefined) {
      response.writeHead(202).end();
      return;
    }
    const results = {
      initialize: {
        protocolVersion: "2025-06-18",
        capabilities: { tools: {} },
        serverInfo: { name: "double", version: "1" },
      },
      "tools/list": { tools: this.tools },
      "tools/call": { content: [{ type: "text", text: `<img src=x onerror="window.hit=1"> ${JSON.stringify(message.params)}` }] },
      ping: {},
    };
    const isBroken = message.params?.name === "broken";
    const result = isBroken ? undefined : results[message.method];
    const body = result
      ? { jsonrpc: "2.0", id: message.id, result }
      : { jsonrpc: "2.0", id: message.id, error: { code: isBroken ? -32050 : -32601, message: "of Ann" } };
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
  }
}

/** A site of somebody else, with pages that try to use weir's page. */
export const startEvil = async (base) => {
  const frame = `<!doctype html><title>evil</title><iframe src="${base}/"></iframe>`;
  const form = (action) => `<!doctype html><title>evil</title>
<form id="f" method="post" action="${base}/page/${action}?upstream=mail"><input name="name" value="mail__send">
<button id="go">go</button></form>`;
  const server = createServer((request, response) => {
    response.writeHead(200, { "content-type": "text/html" });
    response.end(request.url === "/frame" ? frame : form(request.url.split("?")[1]));
  });
  const port = await listen(server);
  // The same server under a name of another site.
  return { url: `http://127.0.0.1:${port}`, far: `http://far.example:${port}`, close: () => server.close() };
};

/** `weir demo --keep`, with the address of its page. */
export const startDemo = async (binary) => {
  const process = spawn(binary, ["demo", "--keep"]);
  let text = "";
  process.stdout.on("data", (data) => (text += data));
  for (let left = 300; left > 0; left -= 1) {
    const found = text.match(/In a browser: (http\S+)/);
    if (found) return { url: found[1], stop: () => process.kill("SIGTERM") };
    await new Promise((done) => setTimeout(done, 100));
  }
  process.kill("SIGTERM");
  throw new Error(`the demo names no page: ${text}`);
};

/** A running weir. */
export class Weir {
  constructor(binary, folder) {
    this.binary = binary;
    this.config = join(folder, "weir.yaml");
    this.log = "";
  }

  async start(upstreams, token = TOKEN) {
    this.listen ??= await freePort();
    this.admin ??= await freePort();
    const text = `version: 1
listen: { address: "127.0.0.1:${this.listen}" }
admin: { address: "127.0.0.1:${this.admin}", token: { value: "${token}" }, page: write, try_tools: true }
state: { dir: state }
audit: { file: audit/weir.jsonl }
defaults: { resync: 1h }
upstreams:
${upstreams}`;
    writeFileSync(this.config, text);
    this.process = spawn(this.binary, ["serve", "-c", this.config, "--no-watch"]);
    this.process.stderr.on("data", (data) => (this.log += data));
    this.base = `http://127.0.0.1:${this.admin}`;
    for (let left = 200; left > 0; left -= 1) {
      const answer = await fetch(`http://127.0.0.1:${this.listen}/readyz`).catch(() => null);
      if (answer?.ok) return this;
      await new Promise((done) => setTimeout(done, 100));
    }
    throw new Error(`weir is not ready: ${this.log}`);
  }

  async stop() {
    const ended = new Promise((done) => this.process.once("exit", done));
    this.process.kill("SIGTERM");
    await ended;
  }

  /** Asks the API, as a program of the operator. */
  async ask(method, path, token = TOKEN) {
    const headers = { authorization: `Bearer ${token}` };
    const answer = await fetch(`${this.base}${path}`, { method, headers });
    return answer.json();
  }

  /** Calls a tool, as an agent. */
  async call(name) {
    const meta = {
      "io.modelcontextprotocol/protocolVersion": "2026-07-28",
      "io.modelcontextprotocol/clientInfo": { name: "page-test", version: "1" },
      "io.modelcontextprotocol/clientCapabilities": {},
    };
    const params = { name, arguments: {}, _meta: meta };
    const answer = await fetch(`http://127.0.0.1:${this.listen}/mcp`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": name,
      },
      body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params }),
    });
    return answer.text();
  }
}
