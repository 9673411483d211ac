// The official TypeScript client 2.x. plan.mode: "legacy" (initialize), "auto" (server/discover
// first, initialize if that fails) or a modern revision, which is then pinned.

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { ABLE, pages, person, run } from "./checks.mjs";

await run(async (plan) => {
  const mode = plan.mode === "legacy" || plan.mode === "auto" ? plan.mode : { pin: plan.mode };
  const capabilities = plan.person ? ABLE : {};
  const options = { capabilities, versionNegotiation: { mode } };
  const client = new Client({ name: "weir-interop-ts2", version: "1.0.0" }, options);
  const asked = [];
  for (const method of plan.person ? ["elicitation/create", "sampling/createMessage", "roots/list"] : []) {
    client.setRequestHandler(method, ({ params }) => {
      asked.push(method);
      return person({ method, params });
    });
  }
  const transport = new StreamableHTTPClientTransport(new URL(plan.url));
  await client.connect(transport);
  const modern = client.getProtocolEra() === "modern";
  // Without a cursor this client reads all pages by itself; `refresh` keeps its cache out of it.
  const fresh = { cacheMode: "refresh" };
  return {
    asked,
    version: client.getNegotiatedProtocolVersion(),
    tools: () => pages((page) => client.listTools(page, fresh), "tools"),
    prompts: () => pages((page) => client.listPrompts(page, fresh), "prompts"),
    resources: () => pages((page) => client.listResources(page, fresh), "resources"),
    templates: () => pages((page) => client.listResourceTemplates(page, fresh), "resourceTemplates"),
    call: (name, args, options) => client.callTool({ name, arguments: args }, options),
    prompt: (name, args) => client.getPrompt({ name, arguments: args }),
    read: (uri) => client.readResource({ uri }, fresh),
    complete: (params) => client.complete(params),
    ping: () => client.ping(),
    watchTools: async (announce) => {
      client.setNotificationHandler("notifications/tools/list_changed", announce);
      const subscription = modern ? await client.listen({ toolsListChanged: true }) : undefined;
      return async () => {
        client.removeNotificationHandler("notifications/tools/list_changed");
        await subscription?.close();
      };
    },
    watchResource: async (uri, announce) => {
      client.setNotificationHandler("notifications/resources/updated", ({ params }) => announce(params.uri));
      await client.subscribeResource({ uri });
      return () => client.unsubscribeResource({ uri });
    },
    close: async () => {
      if (!modern) await transport.terminateSession();
      await client.close();
    },
  };
});
