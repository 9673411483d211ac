// The official TypeScript SDK 1.x as a client: legacy era only.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  ResourceUpdatedNotificationSchema,
  ToolListChangedNotificationSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { ABLE, pages, person, run } from "./checks.mjs";

await run(async (plan) => {
  const capabilities = plan.person ? ABLE : {};
  const client = new Client({ name: "weir-interop-ts1", version: "1.0.0" }, { capabilities });
  const asked = [];
  const answer = (request) => {
    asked.push(request);
    return person(request);
  };
  for (const schema of plan.person ? [ElicitRequestSchema, CreateMessageRequestSchema, ListRootsRequestSchema] : []) {
    client.setRequestHandler(schema, answer);
  }
  const transport = new StreamableHTTPClientTransport(new URL(plan.url));
  await client.connect(transport);
  return {
    asked,
    version: transport.protocolVersion,
    tools: () => pages((page) => client.listTools(page), "tools"),
    prompts: () => pages((page) => client.listPrompts(page), "prompts"),
    resources: () => pages((page) => client.listResources(page), "resources"),
    templates: () => pages((page) => client.listResourceTemplates(page), "resourceTemplates"),
    call: (name, args, options) => client.callTool({ name, arguments: args }, undefined, options),
    prompt: (name, args) => client.getPrompt({ name, arguments: args }),
    read: (uri) => client.readResource({ uri }),
    complete: (params) => client.complete(params),
    ping: () => client.ping(),
    watchTools: async (announce) => {
      client.setNotificationHandler(ToolListChangedNotificationSchema, announce);
      return async () => client.removeNotificationHandler("notifications/tools/list_changed");
    },
    watchResource: async (uri, announce) => {
      client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => announce(params.uri));
      await client.subscribeResource({ uri });
      return () => client.unsubscribeResource({ uri });
    },
    close: async () => {
      await transport.terminateSession();
      await client.close();
    },
  };
});
