// A server that asks, on the official TypeScript SDK 2.x, held to one era.
//
//     node asking_ts2.mjs ASKS_JSON NAME legacy|modern PORT
//
// What all such servers have is in asks.json. A tool returns what it wants to know (`inputRequired`) and is called again
// with the answers; in a legacy session the SDK makes requests of that by itself. See asking_ts1.mjs for the other tools.

import { randomBytes, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { toNodeHandler } from "@modelcontextprotocol/node";
import {
  createMcpHandler,
  createRequestStateCodec,
  fromJsonSchema,
  inputRequired,
  McpServer,
  UrlElicitationRequiredError,
  WebStandardStreamableHTTPServerTransport,
} from "@modelcontextprotocol/server";
import { eventStore } from "./asking_events.mjs";

const [, , asksFile, me, era, port] = process.argv;
const { asks, tools: scripts } = JSON.parse(readFileSync(asksFile, "utf8"));
const NOTE = `ask://${me}/note`;
const states = createRequestStateCodec({ key: randomBytes(32) }); // one for all requests, each of which has a new server
const inputSchema = fromJsonSchema({ type: "object", properties: { note: {}, ask: {}, end: {}, complete: {} } });

const sleep = (ms, signal) =>
  new Promise((resolve, reject) => {
    setTimeout(resolve, ms).unref();
    signal?.addEventListener("abort", () => reject(new Error("aborted")));
  });
const said = (value) => ({ content: [{ type: "text", text: typeof value === "string" ? value : JSON.stringify(value) }] });
const failed = (value) => ({ ...said(value), isError: true });

const sessions = new Map();
const fates = new Map();
const refusals = new Map();
let gone = false;

/** What is there of the answers: those of earlier rounds are in the state, those of this one in the request. */
function answered(ctx, script) {
  const { answers = [], part = {} } = ctx.mcpReq.requestState() ?? {};
  const all = { ...part, ...ctx.mcpReq.inputResponses };
  const round = script[answers.length] ?? [];
  const known = Object.fromEntries(round.filter((name) => all[name] !== undefined).map((name) => [name, all[name]]));
  const open = round.filter((name) => known[name] === undefined);
  if (round.length === 0 || open.length > 0) return { answers, part: known, open };
  answers.push(round.map((name) => known[name]));
  return { answers, part: {}, open: script[answers.length] ?? [] };
}

async function run(ctx, script, done) {
  const { answers, part, open } = answered(ctx, script);
  if (open.length === 0) return done(answers);
  const inputRequests = Object.fromEntries(open.map((name) => [name, asks[name]]));
  return inputRequired({ inputRequests, requestState: await states.mint({ answers, part }, ctx) });
}

const send = (ctx, name, options) => ctx.mcpReq.send(asks[name], options);

/** What both eras have. */
const both = {
  steps: async (mcp, ctx) => {
    const progressToken = ctx.mcpReq._meta?.progressToken;
    const report = async (...all) => {
      for (const progress of progressToken === undefined ? [] : all) {
        const params = { progressToken, progress, total: 3 };
        await ctx.mcpReq.notify({ method: "notifications/progress", params });
      }
    };
    const isFirst = ctx.mcpReq.inputResponses === undefined;
    if (isFirst) await report(1);
    // A new request counts anew; a legacy call is one request, however often it asks.
    else await report(...(era === "modern" ? [1, 2, 3] : [2, 3]));
    return run(ctx, scripts.form, said);
  },
  logs: async (mcp, ctx) => {
    for (const level of ["debug", "info", "warning", "error"]) {
      const params = { level, data: `post ${level}` };
      if (era === "modern") await ctx.mcpReq.log(level, params.data); // what the request asks for, and nothing else
      else await ctx.mcpReq.notify({ method: "notifications/message", params });
    }
    return said("logged");
  },
  slow: async (mcp, ctx, { note }) => {
    fates.set(note, ctx.mcpReq.inputResponses === undefined ? "asked" : "answered");
    ctx.mcpReq.signal.addEventListener("abort", () => fates.set(note, "cancelled"));
    if (note.startsWith("late")) await sleep(15_000, ctx.mcpReq.signal);
    return run(ctx, scripts.form, async () => {
      await sleep(15_000, ctx.mcpReq.signal);
      return said("slept");
    });
  },
  fate: async (mcp, ctx, { note }) => said(fates.get(note) ?? "unknown"),
  vanishing: (mcp, ctx) => run(ctx, scripts.form, said),
  vanish: async () => {
    gone = !gone;
    modern.notify.toolsChanged();
    for (const { vanishing } of sessions.values()) vanishing.update({ enabled: !gone });
    return said(gone ? "gone" : "back");
  },
  touch: async () => {
    modern.notify.resourceUpdated(NOTE);
    const told = [...sessions.values()].filter(({ follows }) => follows);
    await Promise.all(told.map(({ mcp }) => mcp.server.sendResourceUpdated({ uri: NOTE })));
    return said("told");
  },
};

const legacyOnly = {
  push: async (mcp) => said([[await mcp.server.elicitInput(asks.form.params)]]),
  push_roots: async (mcp) => said([[await mcp.server.listRoots()]]),
  unchecked: async (mcp, ctx, { ask: name, end }) => {
    try {
      return said([[await send(ctx, name)]]);
    } catch (error) {
      if (end === "plan B") return said("plan B");
      if (end === "error") throw error;
      return failed(`refused, ${error.code}`);
    }
  },
  pause: async (mcp, ctx) => {
    const answer = send(ctx, "form");
    await sleep(50);
    sessions.get(ctx.sessionId).transport.closeSSEStream(ctx.mcpReq.id);
    return said([[await answer]]);
  },
  impatient: async (mcp, ctx) => {
    try {
      return said([[await send(ctx, "form", { timeout: 400 })]]);
    } catch {
      return failed("nobody answered");
    }
  },
  demand: async (mcp, ctx, { note, complete }) => {
    const before = refusals.get(note) ?? 0;
    refusals.set(note, before + 1);
    if (before > 0) return said("been there");
    const elicitationId = randomUUID();
    if (complete) {
      const params = { elicitationId };
      const tell = () => mcp.server.notification({ method: "notifications/elicitation/complete", params });
      setTimeout(() => void tell().catch(() => {}), 700).unref();
    }
    throw new UrlElicitationRequiredError([{ ...asks.url.params, elicitationId }]);
  },
  large: async (mcp, ctx) => {
    const params = { ...asks.form.params, message: "x".repeat(1 << 20) };
    const asked = ctx.mcpReq.send({ method: asks.form.method, params });
    return said(await asked.then(() => "answered", (error) => `refused, ${error.code}`));
  },
};

const modernOnly = {
  // Row 20.
  no_state: async (mcp, ctx) => {
    const { form } = ctx.mcpReq.inputResponses ?? {};
    return form === undefined ? inputRequired({ inputRequests: { form: asks.form } }) : said([[form]]);
  },
  state_only: async (mcp, ctx) => {
    if (ctx.mcpReq.requestState() !== undefined) return said(JSON.stringify(ctx.mcpReq.inputResponses ?? null));
    return inputRequired({ requestState: await states.mint({ answers: [] }, ctx) });
  },
  endless: async (mcp, ctx) => {
    const { rounds = 0 } = ctx.mcpReq.requestState() ?? {};
    fates.set("endless", rounds);
    const requestState = await states.mint({ rounds: rounds + 1 }, ctx);
    return inputRequired({ inputRequests: { form: asks.form }, requestState });
  },
};

const more = { ...both, ...(era === "modern" ? modernOnly : legacyOnly) };

/** A server for one legacy session or one modern request. */
function create() {
  const capabilities = { tools: { listChanged: true }, resources: { subscribe: true }, logging: {}, completions: {} };
  const options = { capabilities, requestState: { verify: states.verify } };
  const mcp = new McpServer({ name: `asking-ts2-${era}`, version: "1.0.0" }, options);
  const about = (name) => ({ description: name, inputSchema });
  for (const [name, script] of Object.entries(scripts)) {
    mcp.registerTool(name, about(name), (_args, ctx) => run(ctx, script, said));
  }
  const tools = {};
  for (const [name, call] of Object.entries(more)) {
    tools[name] = mcp.registerTool(name, about(name), (args, ctx) => call(mcp, ctx, args));
  }
  if (gone) tools.vanishing.disable();
  mcp.registerPrompt("asking", { description: "Asks" }, (ctx) =>
    run(ctx, scripts.form, ([[{ content }]]) => ({
      messages: [{ role: "user", content: { type: "text", text: `paint it ${content?.colour}` } }],
    })),
  );
  mcp.registerResource("note", NOTE, { description: "Asks" }, (_uri, ctx) =>
    run(ctx, scripts.form, ([[{ content }]]) => ({ contents: [{ uri: NOTE, text: `it is ${content?.colour}` }] })),
  );
  return { mcp, vanishing: tools.vanishing };
}

async function legacy(request) {
  const id = request.headers.get("mcp-session-id");
  const known = sessions.get(id);
  if (known) return known.transport.handleRequest(request);
  if (id !== null) {
    const error = { code: -32001, message: "Session not found" };
    return Response.json({ jsonrpc: "2.0", error, id: null }, { status: 404 });
  }
  const { mcp, vanishing } = create();
  const transport = new WebStandardStreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    eventStore: eventStore(),
    retryInterval: 100,
    onsessioninitialized: (session) => void sessions.set(session, { transport, mcp, vanishing, follows: false }),
  });
  const follow = (follows) => () => {
    sessions.get(transport.sessionId).follows = follows;
    return {};
  };
  mcp.server.setRequestHandler("resources/subscribe", follow(true));
  mcp.server.setRequestHandler("resources/unsubscribe", follow(false));
  mcp.server.setRequestHandler("completion/complete", async (_request, ctx) => {
    const value = await send(ctx, "roots").then(() => "answered", (error) => `refused, ${error.code}`);
    return { completion: { values: [value] } };
  });
  transport.onclose = () => sessions.delete(transport.sessionId);
  await mcp.connect(transport);
  const response = await transport.handleRequest(request);
  if (transport.sessionId === undefined) await mcp.close(); // it was no initialize
  return response;
}

const modern = createMcpHandler(() => create().mcp, { legacy: "reject" });
const answers = { modern: (request) => modern.fetch(request), legacy }[era];
createServer(toNodeHandler({ fetch: answers })).listen(Number(port), "127.0.0.1");
