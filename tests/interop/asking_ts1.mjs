// A server that asks, on the official TypeScript SDK 1.x: sessions only.
//
//     node asking_ts1.mjs ASKS_JSON NAME legacy [PORT]     without PORT on stdin and stdout
//
// What all such servers have is in asks.json: tools, and what they ask in each round. Here are also the tools that only
// some SDKs can have. Their names and what they do are the same in asking_ts2.mjs and asking_py.py.

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { InMemoryTaskMessageQueue, InMemoryTaskStore } from "@modelcontextprotocol/sdk/experimental/tasks";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import {
  CallToolRequestSchema,
  CompleteRequestSchema,
  GetPromptRequestSchema,
  ListPromptsRequestSchema,
  ListResourcesRequestSchema,
  ListToolsRequestSchema,
  ReadResourceRequestSchema,
  ResultSchema,
  SubscribeRequestSchema,
  UnsubscribeRequestSchema,
  UrlElicitationRequiredError,
} from "@modelcontextprotocol/sdk/types.js";
import { eventStore } from "./asking_events.mjs";

const [, , asksFile, me, , port] = process.argv;
const { asks, tools: scripts } = JSON.parse(readFileSync(asksFile, "utf8"));
const NOTE = `ask://${me}/note`;

const sleep = (ms, signal) =>
  new Promise((resolve, reject) => {
    setTimeout(resolve, ms).unref();
    signal?.addEventListener("abort", () => reject(new Error("aborted")));
  });
const said = (value) => ({ content: [{ type: "text", text: typeof value === "string" ? value : JSON.stringify(value) }] });
const failed = (value) => ({ ...said(value), isError: true });
const codeOf = (error) => `${error.code ?? "no code"}: ${error.message}`;

/** The servers of all sessions, and which of them follow the resource. */
const servers = new Set();
const followers = new Set();
const fates = new Map();
const refusals = new Map();
let gone = false;

/** The same on the stream of the call, and, for `push`, outside of it: on the GET stream of the session. */
const ask = (extra, name, options) => extra.sendRequest(withId(asks[name]), ResultSchema, options);
const push = (server, name) => server.request(withId(asks[name]), ResultSchema);

/** In 2025-11-25 a URL has an id, and `complete` names it. */
function withId(asked) {
  if (asked.params?.mode !== "url") return asked;
  return { ...asked, params: { ...asked.params, elicitationId: randomUUID() } };
}

async function rounds(name, one) {
  const answers = [];
  for (const round of scripts[name]) answers.push(await Promise.all(round.map(one)));
  return said(answers);
}

const more = {
  // Row 3: outside of the stream of the call.
  push: async (server) => rounds("form", (name) => push(server, name)),
  push_roots: async (server) => rounds("roots", (name) => push(server, name)),
  // Row 6: asks whatever the client declares; `end` says what becomes of the call when it is refused.
  unchecked: async (server, extra, { ask: name, end }) => {
    try {
      return said([[await ask(extra, name)]]);
    } catch (error) {
      if (end === "plan B") return said("plan B");
      if (end === "error") throw error;
      return failed(`refused, ${codeOf(error)}`);
    }
  },
  // Row 10: takes its question back after a while.
  impatient: async (server, extra) => {
    try {
      return said([[await ask(extra, "form", { timeout: 400 })]]);
    } catch {
      return failed("nobody answered");
    }
  },
  // Row 12: closes the stream of the call while the question is open, and goes on where its reader comes back.
  pause: async (server, extra) => {
    const answer = ask(extra, "form");
    await sleep(50);
    extra.closeSSEStream?.();
    return said([[await answer]]);
  },
  // Row 13: refuses the call until somebody has been to a page.
  demand: async (server, extra, { note, complete }) => {
    const before = refusals.get(note) ?? 0;
    refusals.set(note, before + 1);
    if (before > 0) return said("been there");
    const elicitationId = randomUUID();
    if (complete) {
      const params = { elicitationId };
      const tell = () => server.notification({ method: "notifications/elicitation/complete", params });
      setTimeout(() => void tell().catch(() => {}), 700).unref();
    }
    throw new UrlElicitationRequiredError([{ ...asks.url.params, elicitationId }]);
  },
  // Row 14: reports before and after the question.
  steps: async (server, extra) => {
    const progressToken = extra._meta?.progressToken;
    const report = async (progress) => {
      const params = { progressToken, progress, total: 3 };
      if (progressToken !== undefined) await extra.sendNotification({ method: "notifications/progress", params });
    };
    await report(1);
    const answer = await ask(extra, "form");
    await report(2);
    await report(3);
    return said([[answer]]);
  },
  // Row 14: whatever level was asked for, on both streams.
  logs: async (server, extra) => {
    for (const level of ["debug", "info", "warning", "error"]) {
      const log = (data) => ({ method: "notifications/message", params: { level, data } });
      await extra.sendNotification(log(`post ${level}`));
      await server.notification(log(`get ${level}`));
    }
    await sleep(100); // The streams are two.
    return said("logged");
  },
  // Row 15: works on for a while after its answer; `fate` says what became of it.
  slow: async (server, extra, { note }) => {
    fates.set(note, "asked");
    extra.signal.addEventListener("abort", () => fates.set(note, "cancelled"));
    if (note.startsWith("late")) await sleep(15_000, extra.signal);
    await ask(extra, "form").catch(() => {});
    if (fates.get(note) === "asked") fates.set(note, "answered");
    await sleep(15_000, extra.signal);
    return said("slept");
  },
  fate: async (server, extra, { note }) => said(fates.get(note) ?? "unknown"),
  // Row 16.
  large: async (server, extra) => {
    const params = { ...asks.form.params, message: "x".repeat(1 << 20) };
    const asked = extra.sendRequest({ method: asks.form.method, params }, ResultSchema);
    return said(await asked.then(() => "answered", (error) => `refused, ${error.code}`));
  },
  // Row 17: tells those who follow the resource, each once.
  touch: async () => {
    const told = [...followers];
    await Promise.all(told.map((server) => server.sendResourceUpdated({ uri: NOTE })));
    return said(`told ${told.length}`);
  },
  // Row 18: the tool `vanishing` asks, and goes away with this one.
  vanishing: async (server, extra) => rounds("form", (name) => ask(extra, name)),
  vanish: async () => {
    gone = !gone;
    for (const server of servers) void server.sendToolListChanged().catch(() => {});
    return said(gone ? "gone" : "back");
  },
};

/** Row 28: tools that are tasks, and nothing else. */
const tasks = {
  task: async () => said("done as a task"),
  task_fails: async () => failed("failed as a task"),
  task_asks: async (server, taskId, store) => {
    const relatedTask = { taskId };
    const answer = server.request(asks.form, ResultSchema, { relatedTask });
    await store.updateTaskStatus(taskId, "input_required");
    return said([[await answer]]);
  },
  task_sleeps: async () => {
    await sleep(15_000);
    return said("slept");
  },
};

async function begin(server, extra, name) {
  const task = await extra.taskStore.createTask({ ttl: 60_000, pollInterval: 100 });
  fates.set(name, "working");
  const work = async () => {
    const result = await tasks[name](server, task.taskId, extra.taskStore).catch((error) => failed(codeOf(error)));
    await extra.taskStore.storeTaskResult(task.taskId, result.isError ? "failed" : "completed", result);
  };
  void work().catch((error) => fates.set(name, `${error.message}`));
  return { task };
}

function create() {
  const capabilities = {
    tools: { listChanged: true },
    prompts: {},
    resources: { subscribe: true },
    logging: {},
    completions: {},
    tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } },
  };
  const stores = { taskStore: new InMemoryTaskStore(), taskMessageQueue: new InMemoryTaskMessageQueue() };
  const server = new Server({ name: "asking-ts1", version: "1.0.0" }, { capabilities, ...stores });
  servers.add(server);

  const properties = { note: {}, ask: {}, end: {}, complete: {} };
  const tool = (name) => ({ name, inputSchema: { type: "object", properties } });
  server.setRequestHandler(ListToolsRequestSchema, () => {
    const there = Object.keys(more).filter((name) => name !== "vanishing" || !gone);
    const plain = [...Object.keys(scripts), ...there].map(tool);
    const required = Object.keys(tasks).map((name) => ({ ...tool(name), execution: { taskSupport: "required" } }));
    return { tools: [...plain, ...required] };
  });
  server.setRequestHandler(CallToolRequestSchema, async ({ params }, extra) => {
    const { name, arguments: given = {} } = params;
    if (params.task && tasks[name]) return begin(server, extra, name);
    if (scripts[name]) return rounds(name, (asked) => ask(extra, asked));
    return more[name] ? more[name](server, extra, given) : failed(`no tool ${name}`);
  });

  server.setRequestHandler(ListPromptsRequestSchema, () => ({ prompts: [{ name: "asking" }] }));
  server.setRequestHandler(GetPromptRequestSchema, async (_request, extra) => {
    const { content } = await ask(extra, "form");
    return { messages: [{ role: "user", content: { type: "text", text: `paint it ${content?.colour}` } }] };
  });
  server.setRequestHandler(ListResourcesRequestSchema, () => ({ resources: [{ uri: NOTE, name: "note" }] }));
  server.setRequestHandler(ReadResourceRequestSchema, async (_request, extra) => {
    const { content } = await ask(extra, "form");
    return { contents: [{ uri: NOTE, text: `it is ${content?.colour}` }] };
  });
  server.setRequestHandler(SubscribeRequestSchema, () => (followers.add(server), {}));
  server.setRequestHandler(UnsubscribeRequestSchema, () => (followers.delete(server), {}));
  server.setRequestHandler(CompleteRequestSchema, async (_request, extra) => {
    const value = await ask(extra, "roots").then(() => "answered", (error) => `refused, ${error.code}`);
    return { completion: { values: [value] } };
  });
  server.onclose = () => {
    servers.delete(server);
    followers.delete(server);
  };
  return server;
}

const sessions = new Map();

async function handle(req, res) {
  const id = req.headers["mcp-session-id"];
  if (sessions.has(id)) return sessions.get(id).handleRequest(req, res);
  if (id !== undefined) {
    const error = { code: -32001, message: "Session not found" };
    return void res.writeHead(404, { "content-type": "application/json" }).end(JSON.stringify({ jsonrpc: "2.0", error, id: null }));
  }
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    eventStore: eventStore(),
    retryInterval: 100,
    onsessioninitialized: (session) => void sessions.set(session, transport),
  });
  const server = create();
  await server.connect(transport);
  // The server has put its own handler there.
  const closed = transport.onclose;
  transport.onclose = () => {
    sessions.delete(transport.sessionId);
    closed?.();
  };
  await transport.handleRequest(req, res);
  if (transport.sessionId === undefined) await server.close(); // it was no initialize
}

if (port === undefined) {
  await create().connect(new StdioServerTransport());
} else {
  createServer((req, res) => void handle(req, res).catch(() => res.destroy())).listen(Number(port), "127.0.0.1");
}
