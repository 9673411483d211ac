// The plain fixtures: tools that answer at once, prompts, resources, completion. The suite names every one of them
// and says what it wants back.

import { fromJsonSchema, ProtocolError, ResourceTemplate } from "@modelcontextprotocol/server";

const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";
const WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=";

export const text = (value) => ({ type: "text", text: value });
export const said = (value) => ({ content: [text(value)] });
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
export const object = (properties = {}, rest = {}) => fromJsonSchema({ type: "object", properties, ...rest });

const embedded = (uri, mimeType, value) => ({ type: "resource", resource: { uri, mimeType, text: value } });

// Word for word what the scenario json-schema-2020-12 wants to see in tools/list.
const EVERY_KEYWORD = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  type: "object",
  $defs: {
    address: {
      $anchor: "addressDef",
      type: "object",
      properties: { street: { type: "string" }, city: { type: "string" } },
    },
  },
  properties: {
    name: { type: "string" },
    address: { $ref: "#/$defs/address" },
    contactMethod: { type: "string", enum: ["phone", "email"] },
    phone: { type: "string" },
    email: { type: "string" },
  },
  allOf: [{ anyOf: [{ required: ["phone"] }, { required: ["email"] }] }],
  if: { properties: { contactMethod: { const: "phone" } }, required: ["contactMethod"] },
  then: { required: ["phone"] },
  else: { required: ["email"] },
  additionalProperties: false,
};

/** Each kind of content. */
export function addContentTools(mcp) {
  const tool = (name, description, run, inputSchema = object()) =>
    mcp.registerTool(name, { description, inputSchema }, run);

  tool("test_simple_text", "Answers with text", () => said("This is a simple text response for testing."));
  tool("test_image_content", "Answers with an image", () => ({
    content: [{ type: "image", data: PNG, mimeType: "image/png" }],
  }));
  tool("test_audio_content", "Answers with audio", () => ({
    content: [{ type: "audio", data: WAV, mimeType: "audio/wav" }],
  }));
  tool("test_embedded_resource", "Answers with a resource", () => ({
    content: [embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")],
  }));
  tool("test_multiple_content_types", "Answers with text, an image and a resource", () => ({
    content: [
      text("Multiple content types test:"),
      { type: "image", data: PNG, mimeType: "image/png" },
      embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
    ],
  }));
  tool(
    "json_schema_2020_12_tool",
    "Has every keyword in its schema",
    (args) => said(`JSON Schema 2020-12 tool called with: ${JSON.stringify(args)}`),
    fromJsonSchema(EVERY_KEYWORD),
  );
}

function addTools(mcp) {
  const tool = (name, description, run, inputSchema = object()) =>
    mcp.registerTool(name, { description, inputSchema }, run);

  addContentTools(mcp);
  tool("test_error_handling", "Fails", () => ({
    ...said("This tool intentionally returns an error for testing"),
    isError: true,
  }));
  tool("test_tool_with_logging", "Logs three times at level info", async (_args, ctx) => {
    for (const step of ["Tool execution started", "Tool processing data", "Tool execution completed"]) {
      await ctx.mcpReq.log("info", step);
      await sleep(50);
    }
    return said("Tool with logging executed successfully");
  });
  tool("test_logging_tool", "Logs once, if the request asks for logs", async (_args, ctx) => {
    await ctx.mcpReq.log("info", "Diagnostic trace logging activated");
    return said("Logging evaluated");
  });
  tool("test_tool_with_progress", "Reports progress three times", async (_args, ctx) => {
    const progressToken = ctx.mcpReq._meta?.progressToken;
    for (const progress of progressToken === undefined ? [] : [0, 50, 100]) {
      const message = `Completed step ${progress} of 100`;
      const params = { progressToken, progress, total: 100, message };
      await ctx.mcpReq.notify({ method: "notifications/progress", params });
      await sleep(50);
    }
    return said("Tool with progress executed successfully");
  });
  tool(
    "test_custom_header",
    "Wants an argument in a header too",
    ({ region }) => said(`region: ${region}`),
    object({ region: { type: "string", "x-mcp-header": "Region" } }, { required: ["region"] }),
  );
  // The stream is closed while the call runs; the answer waits for whoever comes back with Last-Event-ID.
  tool("test_reconnection", "Closes the stream before it answers (SEP-1699)", async (_args, ctx) => {
    ctx.http?.closeSSE?.();
    await sleep(100);
    return said("Reconnection test completed successfully.");
  });
}

export function addPrompts(mcp) {
  const user = (content) => ({ role: "user", content });
  const argument = (description) => ({ type: "string", description });

  mcp.registerPrompt("test_simple_prompt", { title: "Simple", description: "Has no arguments" }, () => ({
    messages: [user(text("This is a simple prompt for testing."))],
  }));
  mcp.registerPrompt(
    "test_prompt_with_arguments",
    {
      title: "With arguments",
      description: "Has two arguments",
      argsSchema: object(
        { arg1: argument("First test argument"), arg2: argument("Second test argument") },
        { required: ["arg1", "arg2"] },
      ),
    },
    ({ arg1, arg2 }) => ({ messages: [user(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`))] }),
  );
  mcp.registerPrompt(
    "test_prompt_with_embedded_resource",
    {
      title: "With a resource",
      description: "Has a resource in it",
      argsSchema: object({ resourceUri: argument("URI of the resource") }, { required: ["resourceUri"] }),
    },
    ({ resourceUri }) => ({
      messages: [
        user(embedded(resourceUri, "text/plain", "Embedded resource content for testing.")),
        user(text("Please process the embedded resource above.")),
      ],
    }),
  );
  mcp.registerPrompt("test_prompt_with_image", { title: "With an image", description: "Has an image in it" }, () => ({
    messages: [
      user({ type: "image", data: PNG, mimeType: "image/png" }),
      user(text("Please analyze the image above.")),
    ],
  }));
}

export function addResources(mcp) {
  const fixed = (name, uri, mimeType, content) =>
    mcp.registerResource(name, uri, { title: name, description: `The resource ${name}`, mimeType }, () => ({
      contents: [{ uri, mimeType, ...content }],
    }));
  fixed("static-text", "test://static-text", "text/plain", {
    text: "This is the content of the static text resource.",
  });
  fixed("static-binary", "test://static-binary", "image/png", { blob: PNG });
  fixed("watched-resource", "test://watched-resource", "text/plain", { text: "Watched resource content" });

  mcp.registerResource(
    "template",
    new ResourceTemplate("test://template/{id}/data", { list: undefined }),
    { title: "template", description: "Has an id in its URI", mimeType: "application/json" },
    (uri, { id }) => ({
      contents: [
        {
          uri: uri.href,
          mimeType: "application/json",
          text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` }),
        },
      ],
    }),
  );
}

function addCompletion(mcp) {
  const words = ["paris", "park", "party", "test", "testing"];
  mcp.server.registerCapabilities({ completions: {} });
  mcp.server.setRequestHandler("completion/complete", ({ params }) => {
    if (params.ref.type === "ref/prompt" && params.ref.name !== "test_prompt_with_arguments") {
      throw new ProtocolError(-32602, `nothing to complete in ${params.ref.name}`);
    }
    const values = words.filter((word) => word.startsWith(params.argument.value));
    return { completion: { values, total: values.length, hasMore: false } };
  });
}

export function addContent(mcp) {
  addTools(mcp);
  addPrompts(mcp);
  addResources(mcp);
  addCompletion(mcp);
}
