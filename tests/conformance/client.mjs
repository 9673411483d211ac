// The client of the client scenarios, on the official SDK: `node client.mjs URL`, with MCP_CONFORMANCE_SCENARIO and the
// other variables that the suite sets. It does what the scenario expects of a good client; the suite, behind the URL or
// behind a weir, watches. WEIR_CLIENT_ERA=legacy|modern overrides the era that belongs to the protocol version.

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";

const { MCP_CONFORMANCE_SCENARIO: scenario, MCP_CONFORMANCE_PROTOCOL_VERSION: version } = process.env;
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? "{}");
const era = process.env.WEIR_CLIENT_ERA ?? (version === "2026-07-28" ? "modern" : "legacy");

async function callAll(client, calls) {
  for (const [name, args] of calls) await client.callTool({ name, arguments: args }, { timeout: 15_000 });
}

/** An argument for every required property, of the type that the schema names. */
function fill({ required = [], properties = {} }) {
  const samples = { string: "text", number: 1.5, integer: 1, boolean: true, array: [], object: {}, null: null };
  return Object.fromEntries(required.map((name) => [name, samples[properties[name]?.type] ?? "text"]));
}

async function callEveryTool(client) {
  const { tools } = await client.listTools();
  await callAll(
    client,
    tools.map((tool) => [tool.name, fill(tool.inputSchema)]),
  );
}

const scenarios = {
  initialize: (client) => client.listTools(),
  "request-metadata": (client) => client.listTools(),
  "json-schema-ref-no-deref": (client) => client.listTools(),
  tools_call: (client) => callAll(client, [["add_numbers", { a: 2, b: 3 }]]),
  "sse-retry": (client) => callAll(client, [["test_reconnection", {}]]),
  "http-invalid-tool-headers": callEveryTool,
  async "http-standard-headers"(client) {
    await callEveryTool(client);
    const { resources } = await client.listResources();
    for (const { uri } of resources) await client.readResource({ uri });
    const { prompts } = await client.listPrompts();
    for (const { name } of prompts) await client.getPrompt({ name });
  },
  async "http-custom-headers"(client) {
    await client.listTools(); // the schemas say which arguments are headers too
    await callAll(
      client,
      context.toolCalls.map((call) => [call.name, call.arguments]),
    );
  },
  async "json-schema-2020-12-preservation"(client) {
    const { tools } = await client.listTools();
    const { inputSchema } = tools.find((tool) => tool.name === "json_schema_2020_12_tool");
    await callAll(client, [["json_schema_echo", { schema: inputSchema }]]);
  },
  async "sep-2322-client-request-state"(client) {
    // The other tool is called between the rounds: it must see nothing of their state.
    client.setRequestHandler("elicitation/create", async () => {
      await callAll(client, [["test_mrtr_unrelated", {}]]);
      return { action: "accept", content: { confirmed: true } };
    });
    await callAll(client, [
      ["test_mrtr_echo_state", {}],
      ["test_mrtr_no_state", {}],
    ]);
    // Its result has no resultType. This SDK may refuse that; it must not take it for a question.
    await callAll(client, [["test_mrtr_no_result_type", {}]]).catch((error) => console.error(error.message));
  },
  async "elicitation-sep1034-client-defaults"(client) {
    client.setRequestHandler("elicitation/create", () => ({ action: "accept", content: {} }));
    await callAll(client, [["test_client_elicitation_defaults", {}]]);
  },
};

const capabilities = {
  "sep-2322-client-request-state": { elicitation: {} },
  "elicitation-sep1034-client-defaults": { elicitation: { form: { applyDefaults: true } } },
}[scenario];

const client = new Client(
  { name: "weir-conformance-client", version: "1.0.0" },
  { capabilities, versionNegotiation: { mode: era === "modern" ? "auto" : "legacy" } },
);
const transport = new StreamableHTTPClientTransport(new URL(process.argv.at(-1)));
await client.connect(transport);
if (client.getProtocolEra() !== era) throw new Error(`wanted the ${era} era, got ${client.getProtocolEra()}`);
// The auth scenarios are about what comes before.
await (scenario.startsWith("auth/") ? callEveryTool : scenarios[scenario])(client);
await client.close();
