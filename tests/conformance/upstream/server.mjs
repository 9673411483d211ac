// The upstream of the conformance runs: one Streamable HTTP endpoint that speaks both eras, on the official SDK, with
// everything in it that the suite asks a server for.
//
//     node server.mjs [PORT [ERA]]     (or PORT in the environment; 0 takes a free one)
//
// With ERA `legacy` or `modern` it is a server that knows only that one. Prints `ready http://127.0.0.1:PORT/mcp` and runs until it is killed.

import { localhostHostValidation, localhostOriginValidation, toNodeHandler } from "@modelcontextprotocol/node";
import {
  createMcpHandler,
  isLegacyRequest,
  McpServer,
  WebStandardStreamableHTTPServerTransport,
} from "@modelcontextprotocol/server";
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";

import { addContent, object, said } from "./content.mjs";
import { addInput, requestState } from "./input.mjs";
import { addTasks } from "./tasks.mjs";

const RETRY_MS = 500;
const LIST = { ttlMs: 300_000, cacheScope: "public" };
const OPTIONS = {
  capabilities: {
    logging: {}, // `tools` comes with the first tool
    prompts: { listChanged: true },
    resources: { subscribe: true, listChanged: true },
  },
  cacheHints: {
    "server/discover": LIST,
    "tools/list": LIST,
    "prompts/list": LIST,
    "resources/list": LIST,
    "resources/templates/list": LIST,
    "resources/read": { ttlMs: 60_000, cacheScope: "private" },
  },
  requestState,
};

/** The legacy sessions: id to `{ transport, changing }`. */
const sessions = new Map();
/** How often each list was changed. */
const changes = { tools: 0, prompts: 0 };
const changed = (kind) => ({ description: `Changed ${changes[kind]} times` });

/** A server for one legacy session or one modern request, and what of it the triggers change. */
function create(era) {
  const mcp = new McpServer({ name: "weir-conformance-upstream", version: "1.0.0" }, OPTIONS);
  if (era === "modern") addTasks(mcp); // first: it wants to see each call
  addContent(mcp);
  addInput(mcp);
  // That a client may subscribe is all: nothing happens to the resources.
  for (const method of ["resources/subscribe", "resources/unsubscribe"]) {
    mcp.server.setRequestHandler(method, () => ({}));
  }
  return { mcp, changing: addChanges(mcp) };
}

/** The suite changes the lists with these tools, and looks who is told. They really change: a proxy may compare. */
function addChanges(mcp) {
  const trigger = (name, kind, announce) =>
    mcp.registerTool(name, { description: `Changes the ${kind}`, inputSchema: object() }, () => {
      changes[kind] += 1;
      announce();
      for (const session of sessions.values()) session.changing[kind].update(changed(kind));
      return said("Mutation triggered");
    });
  trigger("test_trigger_tool_change", "tools", () => modern.notify.toolsChanged());
  trigger("test_trigger_prompt_change", "prompts", () => modern.notify.promptsChanged());

  const messages = [{ role: "user", content: { type: "text", text: "Here I am." } }];
  return {
    tools: mcp.registerTool("test_changing_tool", { ...changed("tools"), inputSchema: object() }, () => said("Hi.")),
    prompts: mcp.registerPrompt("test_changing_prompt", changed("prompts"), () => ({ messages })),
  };
}

/** The events of one session, for clients that come back with Last-Event-ID. */
function eventStore() {
  const events = [];
  return {
    storeEvent: async (stream, message) => {
      events.push({ stream, message });
      return String(events.length);
    },
    replayEventsAfter: async (last, { send }) => {
      const from = Number(last);
      const stream = events[from - 1]?.stream;
      for (const [index, event] of events.entries()) {
        const priming = Object.keys(event.message).length === 0;
        if (index >= from && event.stream === stream && !priming) await send(String(index + 1), event.message);
      }
      return stream;
    },
  };
}

async function legacy(request) {
  const id = request.headers.get("mcp-session-id");
  const known = sessions.get(id);
  if (known) return known.transport.handleRequest(request);
  if (id !== null) {
    const error = { code: -32001, message: "Session not found" };
    return Response.json({ jsonrpc: "2.0", error, id: null }, { status: 404 });
  }
  const { mcp, changing } = create("legacy");
  const transport = new WebStandardStreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    eventStore: eventStore(),
    retryInterval: RETRY_MS,
    onsessioninitialized: (session) => void sessions.set(session, { transport, changing }),
  });
  transport.onclose = () => sessions.delete(transport.sessionId);
  await mcp.connect(transport);
  const response = await transport.handleRequest(request);
  if (transport.sessionId === undefined) await mcp.close(); // it was no initialize
  return response;
}

const modern = createMcpHandler(() => create("modern").mcp, { legacy: "reject" });
const [, , port = process.env.PORT ?? 0, era = "both"] = process.argv;

/** Like a server on an SDK from before the other era. */
const answers = {
  both: async (request) => ((await isLegacyRequest(request)) ? legacy(request) : modern.fetch(request)),
  modern: (request) => modern.fetch(request),
  legacy,
}[era];
if (answers === undefined) throw new Error(`ERA is legacy, modern or both, not ${era}`);

const handle = toNodeHandler({ fetch: answers });
const hostIsLocal = localhostHostValidation();
const originIsLocal = localhostOriginValidation();

const server = createServer((req, res) => {
  if (hostIsLocal(req, res) && originIsLocal(req, res)) void handle(req, res);
});
server.listen(Number(port), "127.0.0.1", () => {
  console.log(`ready http://127.0.0.1:${server.address().port}/mcp`);
});
