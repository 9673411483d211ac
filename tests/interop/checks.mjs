// Runs the steps of a plan against one server through one SDK client, and prints a line of JSON
// for each: {check, ok, detail}. What is tested is in scenario.py; how a client is driven is in
// client_*.mjs, which hand in `connect(plan)`. checks.py is the same for Python.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { isDeepStrictEqual } from "node:util";

const LEGAL_NAME = /^[A-Za-z0-9_.-]{1,64}$/;
const STEP_TIMEOUT = 15_000;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const print = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
const brief = (value) => (typeof value === "string" ? value : JSON.stringify(value) ?? "").slice(0, 300);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

function check(condition, message) {
  if (!condition) throw new Error(message);
}

function within(ms, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer after ${ms / 1000} s`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function textOf(result) {
  return (result.content ?? []).filter((block) => block.type === "text").map((block) => block.text).join("\n");
}

function checkText(text, step) {
  if (step.text !== undefined) check(text === step.text, `want ${brief(step.text)}, got ${brief(text)}`);
  for (const part of step.contains ?? []) check(text.includes(part), `want …${part}…, got ${brief(text)}`);
  return brief(text);
}

function checkList(ids, step) {
  const doubles = ids.filter((id, at) => ids.indexOf(id) !== at);
  check(doubles.length === 0, `listed twice: ${brief(doubles)}`);
  const missing = (step.expect ?? []).filter((id) => !ids.includes(id));
  check(missing.length === 0, `missing ${brief(missing)}; listed: ${brief(ids)}`);
  return `${ids.length} listed`;
}

async function failureOf(promise) {
  try {
    const result = await promise;
    if (result.isError) return { message: `isError: ${textOf(result)}` };
  } catch (error) {
    return { code: error.code, message: error.message };
  }
  throw new Error("it worked, but must not");
}

const steps = {
  async tools(client, step) {
    const names = (await client.tools()).map((tool) => tool.name);
    const illegal = names.filter((name) => !LEGAL_NAME.test(name));
    check(illegal.length === 0, `illegal names: ${brief(illegal)}`);
    const absent = (step.prefixes ?? []).filter((prefix) => !names.some((name) => name.startsWith(prefix)));
    check(absent.length === 0, `no tool of ${absent}; listed: ${brief(names)}`);
    return checkList(names, step);
  },

  async prompts(client, step) {
    return checkList((await client.prompts()).map((prompt) => prompt.name), step);
  },

  async resources(client, step) {
    return checkList((await client.resources()).map((resource) => resource.uri), step);
  },

  async templates(client, step) {
    return checkList((await client.templates()).map((template) => template.uriTemplate), step);
  },

  // One call; with `within`, tried again until it gives the right answer or the seconds are over.
  async call(client, step) {
    const deadline = Date.now() + (step.within ?? 0) * 1000;
    for (;;) {
      try {
        const result = await client.call(step.tool, step.arguments);
        check(!!result.isError === !!step.is_error, `isError is ${!!result.isError}: ${brief(textOf(result))}`);
        if (step.types) {
          const types = (result.content ?? []).map((block) => block.type);
          check(same(types, step.types), `want blocks ${step.types}, got ${types}`);
        }
        return checkText(textOf(result), step);
      } catch (error) {
        if (Date.now() > deadline) throw error;
        await sleep(300);
      }
    }
  },

  // A call that has to fail, as an error or as a result with isError; never with silence.
  async refused(client, step) {
    const failure = await failureOf(client.call(step.tool, step.arguments));
    check(step.code === undefined || failure.code === step.code, `want code ${step.code}, got ${brief(failure)}`);
    return brief(failure);
  },

  async progress(client, step) {
    const seen = [];
    const result = await client.call(step.tool, step.arguments, { onprogress: (p) => seen.push(p.progress) });
    const before = seen.length;
    await sleep(100);
    check(seen.length === before, `${seen.length - before} of ${seen.length} came after the result`);
    const wanted = Array.from({ length: step.steps }, (_, at) => at + 1);
    check(same(seen, wanted), `want ${brief(wanted)} in this order, got ${brief(seen)}`);
    return `${brief(seen)}, then ${checkText(textOf(result), step)}`;
  },

  // Many calls at once, each with its own answer.
  async parallel(client, step) {
    const numbers = Array.from({ length: step.times }, (_, at) => at);
    const calls = numbers.flatMap((a) => step.tools.map((tool) => client.call(tool, { a, b: 1000 })));
    const right = (a) => (step.text ?? "{sum}").replace("{a}", a).replace("{sum}", a + 1000);
    const wanted = numbers.flatMap((a) => step.tools.map(() => right(a)));
    const got = (await Promise.all(calls)).map(textOf);
    check(same(got, wanted), `mixed up: ${brief(got)}`);
    return `${got.length} calls`;
  },

  // A quick call does not wait for a slow one.
  async overtake(client, step) {
    const order = [];
    const slow = client.call(step.slow.tool, step.slow.arguments).then(() => order.push("slow"));
    const quick = client.call(step.quick.tool, step.quick.arguments).then(() => order.push("quick"));
    await Promise.all([slow, quick]);
    check(order[0] === "quick", "the quick call waited for the slow one");
    return order.join(", ");
  },

  // Giving a call up has to reach the server that works on it.
  async cancel(client, step) {
    const abort = new AbortController();
    const call = client.call(step.tool, { seconds: 20, key: step.key }, { signal: abort.signal });
    call.catch(() => {});
    const fate = async () => textOf(await client.call(step.fate, { key: step.key }));
    for (let tries = 0; tries < 20 && (await fate()) !== "running"; tries++) await sleep(100);
    abort.abort("not needed any more");
    await failureOf(call);
    for (let tries = 0; tries < 30; tries++) {
      if ((await fate()) === "cancelled") return `cancelled after ~${tries * 100} ms`;
      await sleep(100);
    }
    throw new Error(`the server still has it as ${await fate()} after 3 s`);
  },

  // A tool that appears while we are connected: announced, then listed, then callable.
  async grow(client, step) {
    let announce;
    const announced = new Promise((resolve) => (announce = resolve));
    const stop = await client.watchTools(announce);
    const start = Date.now();
    await client.call(step.tool, { tool: step.name });
    await announced;
    const after = Date.now() - start;
    const names = (await client.tools()).map((tool) => tool.name);
    await stop();
    check(names.includes(step.exposed), `announced, but ${step.exposed} is not listed`);
    checkText(textOf(await client.call(step.exposed, {})), step);
    return `announced after ${after} ms`;
  },

  // A resource that we subscribe to, and that the server says has changed.
  async updated(client, step) {
    let announce;
    const announced = new Promise((resolve) => (announce = resolve));
    const stop = await client.watchResource(step.uri, announce);
    await client.call(step.tool, {});
    const uri = await within(STEP_TIMEOUT - 2000, announced);
    await client.call(step.tool, {});
    await stop();
    check(uri === step.uri, `want ${step.uri}, got ${brief(uri)}`);
    return uri;
  },

  async prompt(client, step) {
    const { messages } = await client.prompt(step.name, step.arguments);
    return checkText(messages.map((message) => message.content.text ?? "").join("\n"), step);
  },

  async read(client, step) {
    const { contents } = await client.read(step.uri);
    return checkText(contents.map((content) => content.text ?? "").join("\n"), step);
  },

  // Two servers have a resource of one name at one URI: both must be there and readable.
  async collision(client, step) {
    const uris = (await client.resources()).filter((resource) => resource.name === step.name).map((r) => r.uri);
    check(uris.length === step.texts.length, `want ${step.texts.length} named ${step.name}, got ${brief(uris)}`);
    const texts = [];
    for (const uri of uris) texts.push((await client.read(uri)).contents[0].text);
    check(same(texts.sort(), [...step.texts].sort()), `got ${brief(texts)} from ${brief(uris)}`);
    return brief(uris);
  },

  async complete(client, step) {
    const ref = step.prompt ? { type: "ref/prompt", name: step.prompt } : { type: "ref/resource", uri: step.uri };
    const { completion } = await client.complete({ ref, argument: { name: step.argument, value: step.value } });
    check(same(completion.values, step.values), `want ${brief(step.values)}, got ${brief(completion.values)}`);
    return brief(completion.values);
  },

  // A call, a prompt or a resource that asks the person at this client, who answers.
  async asked(client, step) {
    const before = client.asked.length;
    if (step.tool) {
      const result = await client.call(step.tool, {});
      check(!result.isError, `isError: ${brief(textOf(result))}`);
      const said = JSON.parse(textOf(result));
      check(isDeepStrictEqual(said, step.answers), `want ${brief(step.answers)}, got ${brief(said)}`);
    } else {
      const found = step.name ? await client.prompt(step.name) : await client.read(step.uri);
      check(JSON.stringify(found).includes(step.part), `want …${step.part}…, got ${brief(found)}`);
    }
    const asks = client.asked.length - before;
    check(asks === step.asks, `asked ${asks} times, not ${step.asks}`);
    return `asked ${asks} times`;
  },

  async ping(client) {
    await client.ping();
    return "";
  },
};

async function perform(client, step) {
  if (step.do === "pause") {
    print({ pause: step.say });
    await lines.next();
    return;
  }
  const start = Date.now();
  const patience = (step.timeout ?? (step.within ?? 0) + STEP_TIMEOUT / 1000) * 1000;
  try {
    const detail = await within(patience, steps[step.do](client, step));
    print({ check: step.check, ok: true, detail, ms: Date.now() - start });
  } catch (error) {
    const code = error.code === undefined ? "" : ` (code ${error.code})`;
    print({ check: step.check, ok: false, detail: `${error.message}${code}`, ms: Date.now() - start });
  }
}

export const ABLE = { elicitation: { form: {}, url: {} }, sampling: { tools: {} }, roots: {} };

// What everybody here answers: the message says it, in brackets. row_callers.py is the same for Python.
export function person({ method, params = {} }) {
  const said = JSON.stringify(params);
  if (method === "roots/list") return { roots: [{ uri: "file:///srv", name: "srv" }] };
  if (method === "sampling/createMessage") {
    return { role: "assistant", content: { type: "text", text: "hello" }, model: "m", stopReason: "endTurn" };
  }
  if (params.mode === "url") return { action: "accept" };
  const word = ["accept", "decline", "cancel"].find((word) => said.includes(`[${word}]`)) ?? "cancel";
  return word === "accept" ? { action: "accept", content: { colour: "blue" } } : { action: word };
}

// All pages of one list method.
export async function pages(list, member) {
  const items = [];
  let cursor;
  for (let page = 0; page < 100; page++) {
    const result = await list(cursor === undefined ? undefined : { cursor });
    items.push(...result[member]);
    cursor = result.nextCursor;
    if (cursor === undefined) return items;
  }
  throw new Error("the list does not end: 100 pages read");
}

export async function run(connect) {
  const plan = JSON.parse(readFileSync(process.argv[2], "utf8"));
  let client;
  try {
    client = await within(STEP_TIMEOUT, connect(plan));
    const ok = plan.version === undefined || client.version === plan.version;
    print({ check: "connect", ok, detail: `protocol ${client.version}, wanted ${plan.version ?? "any"}` });
  } catch (error) {
    print({ check: "connect", ok: false, detail: `${error.message}${error.cause ? `: ${error.cause}` : ""}` });
    process.exit(1);
  }
  for (const step of plan.steps) await perform(client, step);
  try {
    await within(STEP_TIMEOUT, client.close());
    print({ check: "close", ok: true, detail: "" });
  } catch (error) {
    print({ check: "close", ok: false, detail: error.message });
  }
  process.exit(0);
}
