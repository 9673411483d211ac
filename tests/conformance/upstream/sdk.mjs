// The other upstream of the conformance runs: the TypeScript SDK's own server for both eras, set up as in the SDK's
// conformance fixture (github.com/modelcontextprotocol/typescript-sdk, test/conformance/src/everythingServer.ts).
//
//     node sdk.mjs [PORT]     (0 takes a free one)
//
// It is harder for a proxy than server.mjs: streams that pause want their reader back after five seconds, logs are sent
// whether or not somebody asked for them, tools ask the client in the middle of a call, in legacy
// sessions only, and there is no tasks extension. Prints `ready http://127.0.0.1:PORT/mcp` and runs until it is killed.

import { localhostHostValidation, NodeStreamableHTTPServerTransport, toNodeHandler } from "@modelcontextprotocol/node";
import {
  classifyInboundRequest,
  createMcpHandler,
  inputRequired,
  isInitializeRequest,
  McpServer,
} from "@modelcontextprotocol/server";
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";

import { addContentTools, addPrompts, addResources, object, said, sleep } from "./content.mjs";
import { addRounds, DEFAULTS, ENUMS, form, requestState, sampling } from "./input.mjs";

const RETRY_MS = 5_000;
const STRING = { type: "string" };
const CHANGING = { tools: { listChanged: true }, prompts: { listChanged: true } };
const OPTIONS = {
  capabilities: { ...CHANGING, resources: { subscribe: true, listChanged: true }, logging: {}, completions: {} },
  requestState,
};

/** The transports of the legacy sessions, by session id. */
const sessions = new Map();
/** How often each list was changed. */
const changes = { tools: 0, prompts: 0 };

/** A server for one legacy session or one modern request. */
function create() {
  const mcp = new McpServer({ name: "weir-conformance-sdk", version: "1.0.0" }, OPTIONS);
  addContentTools(mcp);
  addTools(mcp);
  addQuestions(mcp);
  addRounds(mcp);
  addChanges(mcp);
  addPrompts(mcp);
  addResources(mcp);
  addHandlers(mcp);
  return mcp;
}

function addTools(mcp) {
  const tool = (name, description, run, inputSchema = object()) =>
    mcp.registerTool(name, { description, inputSchema }, run);

  const region = { type: "string", "x-mcp-header": "Region" };
  const arguments_ = object({ region, level: { type: "integer" } });
  tool("test_x_mcp_header", "Wants an argument in a header too", ({ region }) => said(`region=${region}`), arguments_);
  tool("test_error_handling", "Fails", () => {
    throw new Error("This tool intentionally returns an error for testing");
  });
  tool("test_tool_with_logging", "Logs three times, asked or not", async (_args, ctx) => {
    for (const data of ["Tool execution started", "Tool processing data", "Tool execution completed"]) {
      await ctx.mcpReq.notify({ method: "notifications/message", params: { level: "info", data } });
      await sleep(50);
    }
    return said("Tool with logging executed successfully");
  });
  tool("test_logging_tool", "Logs once, if the request asks for logs", async (_args, ctx) => {
    await ctx.mcpReq.log("info", "here is a log");
    return said("Logged.");
  });
  tool("test_tool_with_progress", "Reports progress three times", async (_args, ctx) => {
    const progressToken = ctx.mcpReq._meta?.progressToken;
    for (const progress of progressToken === undefined ? [] : [0, 50, 100]) {
      const params = { progressToken, progress, total: 100, message: `Completed step ${progress} of 100` };
      await ctx.mcpReq.notify({ method: "notifications/progress", params });
      await sleep(50);
    }
    return said(String(progressToken));
  });
  // The stream is closed while the call runs, and the answer waits for the client to come back for it.
  tool("test_reconnection", "Closes the stream before it answers (SEP-1699)", async (_args, ctx) => {
    sessions.get(ctx.sessionId)?.closeSSEStream(ctx.mcpReq.id);
    await sleep(100);
    return said("Reconnection test completed successfully.");
  });
}

/** Tools that ask while the call runs. The SDK refuses that in the modern era, and they say so in their result. */
function addQuestions(mcp) {
  const asks = (name, description, method, params, tell, properties = {}) => {
    const inputSchema = object(properties, { required: Object.keys(properties) });
    mcp.registerTool(name, { description, inputSchema }, async (args, ctx) => {
      try {
        return said(tell(await ctx.mcpReq.send({ method, params: params(args) })));
      } catch (error) {
        return said(`not supported, or failed: ${error.message}`);
      }
    });
  };
  const prompt = ({ prompt }) => sampling(prompt, 100);
  const model = ({ content }) => `LLM response: ${content?.text}`;
  asks("test_sampling", "Asks the model of the client", "sampling/createMessage", prompt, model, { prompt: STRING });

  const person = ({ action, content }) => `User response: action=${action}, content=${JSON.stringify(content ?? {})}`;
  const elicits = (name, description, params, properties) =>
    asks(name, description, "elicitation/create", params, person, properties);
  const question = ({ message }) => form(message, { response: { ...STRING, description: "User's response" } });
  elicits("test_elicitation", "Asks the user", question, { message: STRING });
  const done = ({ action, content }) =>
    `Elicitation completed: action=${action}, content=${JSON.stringify(content ?? {})}`;
  const fixed = (name, description, params) => asks(name, description, "elicitation/create", () => params, done);
  fixed("test_elicitation_sep1034_defaults", "Asks the user, with defaults (SEP-1034)", DEFAULTS);
  fixed("test_elicitation_sep1330_enums", "Asks the user to choose (SEP-1330)", ENUMS);

  const tool = (name, description, run) => mcp.registerTool(name, { description, inputSchema: object() }, run);
  tool("test_streaming_elicitation", "Answers at once, and asks nothing", () => said("Nothing was asked."));
  // Where the client has not declared sampling, the SDK answers -32021.
  tool("test_missing_capability", "Needs sampling", (_args, ctx) => {
    if (ctx.mcpReq.inputResponses?.answer !== undefined) return said("Sampled.");
    return inputRequired({ inputRequests: { answer: inputRequired.createMessage(sampling("Say something", 16)) } });
  });
}

/** The suite changes the lists with these tools, and looks who is told. */
function addChanges(mcp) {
  const trigger = (name, kind, announce) =>
    mcp.registerTool(name, { description: `Changes the ${kind}`, inputSchema: object() }, () => {
      changes[kind] += 1;
      announce();
      return said("Announced.");
    });
  trigger("test_trigger_tool_change", "tools", () => modern.notify.toolsChanged());
  trigger("test_trigger_prompt_change", "prompts", () => modern.notify.promptsChanged());
  // The SDK's fixture announces changes without making any. A weir lists again, finds none and tells nobody.
  const description = (kind) => `Changed ${changes[kind]} times`;
  mcp.registerTool("test_changing_tool", { description: description("tools"), inputSchema: object() }, () => said("."));
  mcp.registerPrompt("test_changing_prompt", { description: description("prompts") }, () => ({ messages: [] }));
}

function addHandlers(mcp) {
  // On the session's GET stream, if there is one.
  const log = (data) => {
    const params = { level: "info", logger: "weir-conformance-sdk", data };
    mcp.server.notification({ method: "notifications/message", params }).catch(() => {});
  };
  for (const method of ["resources/subscribe", "resources/unsubscribe", "logging/setLevel"]) {
    mcp.server.setRequestHandler(method, ({ params }) => {
      log(`${method}: ${params.uri ?? params.level}`);
      return {};
    });
  }
  const completion = { values: [], total: 0, hasMore: false };
  mcp.server.setRequestHandler("completion/complete", () => ({ completion }));
}

/** The events of one session, for clients that come back with Last-Event-ID. Their ids name their stream. */
function eventStore() {
  const events = [];
  return {
    storeEvent: async (stream, message) => {
      const id = `${stream}::${events.length}`;
      events.push({ id, stream, message });
      return id;
    },
    replayEventsAfter: async (last, { send }) => {
      const [stream, from] = last.split("::");
      for (const event of events.slice(Number(from) + 1)) {
        const priming = Object.keys(event.message).length === 0;
        if (event.stream === stream && !priming) await send(event.id, event.message);
      }
      return stream;
    },
  };
}

async function open() {
  const transport = new NodeStreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    eventStore: eventStore(),
    retryInterval: RETRY_MS,
    onsessioninitialized: (session) => void sessions.set(session, transport),
  });
  transport.onclose = () => sessions.delete(transport.sessionId);
  await create().connect(transport);
  return transport;
}

function refuse(res, status, code, message) {
  const body = JSON.stringify({ jsonrpc: "2.0", error: { code, message }, id: null });
  res.writeHead(status, { "Content-Type": "application/json" }).end(body);
}

const modern = createMcpHandler(create);
const handleModern = toNodeHandler(modern);
const hostIsLocal = localhostHostValidation();

async function body(req) {
  const pieces = [];
  for await (const piece of req) pieces.push(piece);
  return pieces.length > 0 ? JSON.parse(Buffer.concat(pieces).toString()) : undefined;
}

async function handle(req, res) {
  if (!hostIsLocal(req, res)) return;
  const message = await body(req);
  const { headers, method: httpMethod } = req;
  const id = headers["mcp-session-id"];
  if (httpMethod === "POST") {
    const [protocolVersionHeader, mcpMethodHeader] = [headers["mcp-protocol-version"], headers["mcp-method"]];
    const inbound = classifyInboundRequest({ httpMethod, protocolVersionHeader, mcpMethodHeader, body: message });
    if (inbound.kind !== "legacy") return handleModern(req, res, message);
    if (id === undefined && isInitializeRequest(message)) return (await open()).handleRequest(req, res, message);
  }
  const session = sessions.get(id);
  if (session) return session.handleRequest(req, res, message);
  if (id !== undefined) return refuse(res, 404, -32001, "Session not found");
  refuse(res, 400, -32000, "Bad Request: Session ID required");
}

const server = createServer((req, res) => {
  handle(req, res).catch((error) => {
    if (res.headersSent) return res.destroy();
    const malformed = error instanceof SyntaxError;
    refuse(res, malformed ? 400 : 500, malformed ? -32700 : -32603, malformed ? "Parse error" : "Internal error");
  });
});
server.listen(Number(process.argv[2] ?? 0), "127.0.0.1", () => {
  console.log(`ready http://127.0.0.1:${server.address().port}/mcp`);
});
