//! The names of attributes. Those of OpenTelemetry are of `open-telemetry/semantic-conventions-genai`
//! (MCP, generative AI; in development) and of `open-telemetry/semantic-conventions` (the rest).

macro_rules! names {
    ($($const:ident = $name:literal $doc:literal;)*) => {
        $(#[doc = $doc] pub const $const: &str = $name;)*
        /// All names, with what they mean.
        pub const ALL: &[(&str, &str)] = &[$(($name, $doc)),*];
    };
}

names! {
    METHOD = "mcp.method.name" "The method.";
    PROTOCOL = "mcp.protocol.version" "The revision of MCP that is spoken.";
    SESSION = "mcp.session.id" "A name of the session that opens none; legacy only.";
    RESOURCE = "mcp.resource.uri" "The URI of a resource.";
    TOOL = "gen_ai.tool.name" "The tool: exposed in a SERVER span, original in a CLIENT span.";
    PROMPT = "gen_ai.prompt.name" "The prompt, likewise.";
    OPERATION = "gen_ai.operation.name" "`execute_tool`, for `tools/call`.";
    REQUEST_ID = "jsonrpc.request.id" "The id of the JSON-RPC request, as text.";
    STATUS_CODE = "rpc.response.status_code" "The code of the JSON-RPC error.";
    ERROR_TYPE = "error.type" "Why it failed: the code of the JSON-RPC error, `tool_error`, or one of few words such as `timeout`, `cancelled`, `circuit_open`.";
    TRANSPORT = "network.transport" "`tcp`, `unix`, or `pipe` for stdio.";
    NETWORK_PROTOCOL = "network.protocol.name" "`http`.";
    CLIENT_ADDRESS = "client.address" "The address of the caller.";
    SERVER_ADDRESS = "server.address" "The host of the upstream.";
    SERVER_PORT = "server.port" "Its port.";
    USER_SESSION = "session.id" "The session of the user, as the caller says (`baggage`, or the session of AgentCore Runtime).";
    UPSTREAM = "weir.upstream" "The upstream.";
    CONNECTOR = "weir.connector" "Its kind.";
    GENERATION = "weir.generation" "The number of the snapshot that decided.";
    WEIR_REQUEST_ID = "weir.request_id" "The id of the request across hops (`x-request-id`).";
    ATTEMPT = "weir.attempt" "The number of the attempt, from 1 on.";
    BLAME = "weir.blame" "The party that has to act on an error: `caller`, `upstream`, `weir`.";
    HOPS = "weir.hops" "How many weirs the request has been through before.";
    ERA = "weir.era" "`legacy` or `modern`.";
    CALLER = "weir.caller" "A name of the caller that the config knows: the id of its API key, or its OAuth client.";
    DECISION = "weir.policy.decision" "What policy decided.";
    OUTCOME = "weir.outcome" "`ok`, `error`, `failed`, `cancelled`.";
    LATENCY = "weir.latency_ms" "How long the request took, in milliseconds.";
}
