// The tasks extension (SEP-2663), modern era only: the server answers a call with a task, and the client asks how it
// fares. The SDK lets the methods through and has nothing else of it.

import {
  fromJsonSchema,
  inputRequired,
  MissingRequiredClientCapabilityError,
  ProtocolError,
} from "@modelcontextprotocol/server";
import { randomUUID } from "node:crypto";

import { object, said, sleep } from "./content.mjs";

const EXTENSION = "io.modelcontextprotocol/tasks";
const NEEDS_TASKS = new Set([
  "failing_job",
  "protocol_error_job",
  "confirm_delete",
  "multi_input",
  "test_tool_with_task",
]);

/** All tasks of this process: each request has a server of its own. */
const tasks = new Map();

function declared(ctx) {
  return ctx.mcpReq.envelope?.["io.modelcontextprotocol/clientCapabilities"]?.extensions?.[EXTENSION] !== undefined;
}

function demand(ctx) {
  const requiredCapabilities = { extensions: { [EXTENSION]: {} } };
  if (!declared(ctx)) throw new MissingRequiredClientCapabilityError({ requiredCapabilities });
}

function change(task, members) {
  const ended = ["completed", "failed", "cancelled"].includes(task.status);
  if (!ended) Object.assign(task, members, { lastUpdatedAt: new Date().toISOString() });
  if (task.status !== "input_required") delete task.inputRequests;
}

function start(members = {}) {
  const now = new Date().toISOString();
  const task = {
    taskId: randomUUID(),
    status: "working",
    createdAt: now,
    lastUpdatedAt: now,
    ttlMs: 600_000,
    pollIntervalMs: 100,
  };
  tasks.set(task.taskId, task);
  const created = { resultType: "task", ...task };
  change(task, members);
  return { task, created };
}

function startFor(ms, end) {
  const { task, created } = start();
  setTimeout(() => change(task, end), ms).unref();
  return created;
}

const elicit = (message, name) =>
  inputRequired.elicit({
    message,
    requestedSchema: { type: "object", properties: { [name]: { type: "string" } }, required: [name] },
  });

function addTools(mcp) {
  const tool = (name, description, run, inputSchema = object()) =>
    mcp.registerTool(name, { description, inputSchema }, run);
  const string = { type: "string" };

  tool("greet", "Greets", ({ name }) => said(`Hello, ${name}!`), object({ name: string }, { required: ["name"] }));
  tool(
    "slow_compute",
    "Takes its time",
    async ({ seconds = 0, label = "" }, ctx) => {
      const result = said(`Computed ${label} in ${seconds} s`);
      if (declared(ctx)) return startFor(seconds * 1000, { status: "completed", result });
      await sleep(Math.min(seconds, 2) * 1000); // a proxy that loses the extension shall not hold up the run
      return result;
    },
    object({ seconds: { type: "number" }, label: string }),
  );
  tool("failing_job", "Fails as a tool does", () =>
    startFor(200, { status: "completed", result: { ...said("It did not work"), isError: true } }),
  );
  tool("protocol_error_job", "Fails as a server does", () =>
    startFor(200, { status: "failed", error: { code: -32603, message: "It broke" } }),
  );
  const asks = (name, description, inputRequests, inputSchema) =>
    tool(name, description, () => start({ status: "input_required", inputRequests }).created, inputSchema);
  asks(
    "confirm_delete",
    "Asks before it is done",
    { confirm: elicit("Really?", "confirm") },
    object({ filename: string }),
  );
  asks("multi_input", "Asks two things", { one: elicit("One?", "name"), two: elicit("Two?", "name") });
  tool("test_tool_with_task", "Asks, and then takes its time", (_args, ctx) => {
    const name = ctx.mcpReq.inputResponses?.user_name?.content?.name;
    return typeof name === "string"
      ? startFor(200, { status: "completed", result: said(`Hello, ${name}!`) })
      : inputRequired({ inputRequests: { user_name: elicit("What is your name?", "name") } });
  });
}

function addMethods(mcp) {
  const params = fromJsonSchema({ type: "object", properties: { taskId: { type: "string" } }, required: ["taskId"] });
  const method = (name, run) =>
    mcp.server.setRequestHandler(name, { params }, ({ taskId, inputResponses }, ctx) => {
      demand(ctx);
      const task = tasks.get(taskId);
      if (!task) throw new ProtocolError(-32602, "There is no such task");
      return run(task, ctx.mcpReq.inputResponses ?? inputResponses ?? {}) ?? {};
    });
  method("tasks/get", (task) => ({ ...task }));
  method("tasks/cancel", (task) => change(task, { status: "cancelled" }));
  method("tasks/update", (task, responses) => {
    const open = Object.entries(task.inputRequests ?? {}).filter(([key]) => !(key in responses));
    if (task.status !== "input_required") return;
    const result = said("Thank you");
    change(task, open.length > 0 ? { inputRequests: Object.fromEntries(open) } : { status: "completed", result });
  });
}

/** Before any tool is registered: the SDK makes an `isError` of what a tool throws, and this has to be an error. */
function guardCalls(mcp) {
  const set = mcp.server.setRequestHandler.bind(mcp.server);
  mcp.server.setRequestHandler = (method, ...rest) => {
    if (method !== "tools/call") return set(method, ...rest);
    set(method, (request, ctx) => {
      if (NEEDS_TASKS.has(request.params.name)) demand(ctx);
      return rest[0](request, ctx);
    });
  };
}

export function addTasks(mcp) {
  mcp.server.registerCapabilities({ extensions: { [EXTENSION]: {} } });
  guardCalls(mcp);
  addTools(mcp);
  addMethods(mcp);
}
