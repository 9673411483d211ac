// Tools that ask back. In the modern era a handler returns what it wants to know (SEP-2322) and is called again with
// the answers; in a legacy session it asks the client while the call runs. For the `test_input_required_*` tools the
// SDK does the latter by itself.

import { acceptedContent, createRequestStateCodec, inputRequired } from "@modelcontextprotocol/server";
import { randomBytes } from "node:crypto";

import { object, said, sleep, text } from "./content.mjs";

// One key for all instances of the server: every modern request gets a new one.
const states = createRequestStateCodec({ key: randomBytes(32) });
export const requestState = { verify: states.verify };

export const form = (message, properties, required = Object.keys(properties)) => ({
  message,
  requestedSchema: { type: "object", properties, required },
});
export const sampling = (prompt, maxTokens) => ({ messages: [{ role: "user", content: text(prompt) }], maxTokens });
const STRING = { type: "string" };
const NAME = form("What is your name?", { name: STRING });

export const DEFAULTS = form(
  "Please review the form fields with defaults",
  {
    name: { type: "string", description: "User name", default: "John Doe" },
    age: { type: "integer", description: "User age", default: 30 },
    score: { type: "number", description: "User score", default: 95.5 },
    status: { type: "string", enum: ["active", "inactive", "pending"], default: "active" },
    verified: { type: "boolean", description: "Verification status", default: true },
  },
  [],
);

const titled = (...titles) => titles.map((title, index) => ({ const: `value${index + 1}`, title }));
export const ENUMS = form(
  "Please select options from the enum fields",
  {
    untitledSingle: { type: "string", enum: ["option1", "option2", "option3"] },
    titledSingle: { type: "string", oneOf: titled("First Option", "Second Option", "Third Option") },
    legacyEnum: {
      type: "string",
      enum: ["opt1", "opt2", "opt3"],
      enumNames: ["Option One", "Option Two", "Option Three"],
    },
    untitledMulti: {
      type: "array",
      minItems: 1,
      maxItems: 3,
      items: { type: "string", enum: ["option1", "option2", "option3"] },
    },
    titledMulti: {
      type: "array",
      minItems: 1,
      maxItems: 3,
      items: { anyOf: titled("First Choice", "Second Choice", "Third Choice") },
    },
  },
  [],
);

/** What the client said it can do: in this request, or in the `initialize` of its session. */
function capabilities(mcp, ctx) {
  const envelope = ctx.mcpReq.envelope;
  return (envelope ? envelope["io.modelcontextprotocol/clientCapabilities"] : mcp.server.getClientCapabilities()) ?? {};
}

/** The answer to a sampling or roots request, if it looks like one. */
function answer(ctx, key, member) {
  const value = ctx.mcpReq.inputResponses?.[key];
  return value !== null && typeof value === "object" && member in value ? value : undefined;
}

/** The same question in both eras; `tell` makes the result of the answer. */
async function ask(ctx, method, params, tell) {
  if (!ctx.mcpReq.envelope) return tell(await ctx.mcpReq.send({ method, params }));
  const given = ctx.mcpReq.inputResponses?.answer;
  if (given) return tell(given);
  const make = method === "elicitation/create" ? inputRequired.elicit : inputRequired.createMessage;
  return inputRequired({ inputRequests: { answer: make(params) } });
}

export function addInput(mcp) {
  const tool = (name, description, run, inputSchema = object()) =>
    mcp.registerTool(name, { description, inputSchema }, run);

  tool(
    "test_sampling",
    "Asks the model of the client",
    ({ prompt }, ctx) =>
      ask(ctx, "sampling/createMessage", sampling(prompt, 100), ({ content }) =>
        said(`LLM response: ${content.text ?? "No response"}`),
      ),
    object({ prompt: STRING }, { required: ["prompt"] }),
  );
  const elicits = (name, description, params, inputSchema) =>
    tool(
      name,
      description,
      (args, ctx) =>
        ask(ctx, "elicitation/create", params(args), ({ action, content }) =>
          said(`Elicitation completed: action=${action}, content=${JSON.stringify(content ?? {})}`),
        ),
      inputSchema,
    );
  elicits(
    "test_elicitation",
    "Asks the user",
    ({ message }) => form(message, { response: { type: "string", description: "User's response" } }),
    object({ message: STRING }, { required: ["message"] }),
  );
  elicits("test_elicitation_sep1034_defaults", "Asks the user, with defaults (SEP-1034)", () => DEFAULTS);
  elicits("test_elicitation_sep1330_enums", "Asks the user to choose (SEP-1330)", () => ENUMS);
  tool("test_streaming_elicitation", "Reports progress, then asks the user", async (_args, ctx) => {
    const progressToken = ctx.mcpReq._meta?.progressToken;
    if (progressToken !== undefined) {
      const params = { progressToken, progress: 1, total: 2 };
      await ctx.mcpReq.notify({ method: "notifications/progress", params });
      await sleep(20);
    }
    return ask(ctx, "elicitation/create", NAME, ({ action }) => said(`Streaming complete: ${action}`));
  });
  // Where the client has not declared sampling, the SDK answers -32021.
  tool("test_missing_capability", "Needs sampling", (_args, ctx) =>
    ask(ctx, "sampling/createMessage", sampling("Say something", 50), () => said("Success")),
  );
  addRounds(mcp);
}

export function addRounds(mcp) {
  const tool = (name, description, run, inputSchema = object()) =>
    mcp.registerTool(name, { description, inputSchema }, run);
  const elicit = inputRequired.elicit;
  const confirmation = form("Please confirm", { ok: { type: "boolean" } });
  const filled = (ctx, key, field) => {
    const value = acceptedContent(ctx.mcpReq.inputResponses, key)?.[field];
    return typeof value === "string" ? value : undefined;
  };

  tool("test_input_required_result_elicitation", "Asks for a name", (_args, ctx) => {
    const name = filled(ctx, "user_name", "name");
    return name === undefined ? inputRequired({ inputRequests: { user_name: elicit(NAME) } }) : said(`Hello, ${name}!`);
  });
  tool("test_input_required_result_sampling", "Asks the model", (_args, ctx) => {
    const sample = answer(ctx, "capital_question", "content");
    if (sample) return said(`Sampling result: ${sample.content.text ?? "no response"}`);
    const question = inputRequired.createMessage(sampling("What is the capital of France?", 100));
    return inputRequired({ inputRequests: { capital_question: question } });
  });
  tool("test_input_required_result_list_roots", "Asks for roots", (_args, ctx) => {
    const roots = answer(ctx, "client_roots", "roots");
    return roots
      ? said(`Found ${roots.roots.length} root(s): ${roots.roots.map((root) => root.uri).join(", ")}`)
      : inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } });
  });

  for (const [name, kind, done] of [
    ["test_input_required_result_request_state", "request-state", "state-ok: requestState validated"],
    ["test_input_required_result_tampered_state", "tamper-test", "integrity-ok: state verified"],
  ]) {
    tool(name, "Asks, and gives state along", async (_args, ctx) => {
      const state = ctx.mcpReq.requestState();
      if (state?.kind === kind && acceptedContent(ctx.mcpReq.inputResponses, "confirm")) return said(done);
      return inputRequired({
        inputRequests: { confirm: elicit(confirmation) },
        requestState: await states.mint({ kind }, ctx),
      });
    });
  }
  tool("test_input_required_result_multiple_inputs", "Asks three things at once", async (_args, ctx) => {
    const name = filled(ctx, "user_name", "name");
    const greeting = answer(ctx, "greeting", "content");
    const roots = answer(ctx, "client_roots", "roots");
    if (ctx.mcpReq.requestState() && name !== undefined && greeting && roots) {
      return said(`Name: ${name}; Greeting: ${greeting.content.text}; Roots: ${roots.roots.length}`);
    }
    return inputRequired({
      inputRequests: {
        user_name: elicit(NAME),
        greeting: inputRequired.createMessage(sampling("Generate a greeting", 50)),
        client_roots: inputRequired.listRoots(),
      },
      requestState: await states.mint({ kind: "multiple-inputs" }, ctx),
    });
  });
  tool("test_input_required_result_multi_round", "Asks one thing after the other", async (_args, ctx) => {
    const state = ctx.mcpReq.requestState();
    const name = state?.name ?? filled(ctx, "step1", "name");
    const color = filled(ctx, "step2", "color");
    if (name !== undefined && color !== undefined) return said(`Complete: ${name} likes ${color}`);
    const [step, question] =
      name === undefined
        ? ["step1", form("Step 1: What is your name?", { name: STRING })]
        : ["step2", form("Step 2: What is your favorite color?", { color: STRING })];
    return inputRequired({
      inputRequests: { [step]: elicit(question) },
      requestState: await states.mint({ step, name }, ctx),
    });
  });
  tool("test_input_required_result_capabilities", "Asks only what the client can answer", async (_args, ctx) => {
    const given = Object.keys(ctx.mcpReq.inputResponses ?? {});
    if (given.length > 0) return said(`capabilities-ok: received ${given.join(",")}`);
    const can = capabilities(mcp, ctx);
    const inputRequests = {};
    if (can.elicitation) inputRequests.elicit_input = elicit(form("Elicitation input", { value: STRING }));
    if (can.sampling) inputRequests.sample_input = inputRequired.createMessage(sampling("Sample request", 50));
    return Object.keys(inputRequests).length > 0
      ? inputRequired({ inputRequests })
      : said("No supported capabilities declared");
  });
  mcp.registerPrompt(
    "test_input_required_result_prompt",
    { description: "A prompt that asks for its context" },
    (ctx) => {
      const context = filled(ctx, "user_context", "context");
      if (context === undefined) {
        const question = form("What context should the prompt use?", { context: STRING });
        return inputRequired({ inputRequests: { user_context: elicit(question) } });
      }
      return { messages: [{ role: "user", content: text(`Prompt with context: ${context}`) }] };
    },
  );
}
