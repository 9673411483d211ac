//! The method names weir knows, as the specification spells them.

/// Legacy handshake.
pub const INITIALIZE: &str = "initialize";
/// Modern discovery (`server/discover.mdx`).
pub const DISCOVER: &str = "server/discover";
/// Legacy liveness check, either direction.
pub const PING: &str = "ping";
/// Listing of tools.
pub const TOOLS_LIST: &str = "tools/list";
/// Call of a tool.
pub const TOOLS_CALL: &str = "tools/call";
/// Listing of prompts.
pub const PROMPTS_LIST: &str = "prompts/list";
/// Rendering of a prompt.
pub const PROMPTS_GET: &str = "prompts/get";
/// Listing of resources.
pub const RESOURCES_LIST: &str = "resources/list";
/// Listing of resource templates.
pub const TEMPLATES_LIST: &str = "resources/templates/list";
/// Reading of a resource.
pub const RESOURCES_READ: &str = "resources/read";
/// Argument completion.
pub const COMPLETE: &str = "completion/complete";
/// Modern subscription stream.
pub const LISTEN: &str = "subscriptions/listen";
/// Legacy: the client is ready.
pub const INITIALIZED: &str = "notifications/initialized";
/// Either era: a request is abandoned.
pub const CANCELLED: &str = "notifications/cancelled";
/// Either era: a request goes on.
pub const PROGRESS: &str = "notifications/progress";
/// Either era: a log message.
pub const LOG_MESSAGE: &str = "notifications/message";
/// The list of tools changed.
pub const TOOLS_CHANGED: &str = "notifications/tools/list_changed";
/// The list of prompts changed.
pub const PROMPTS_CHANGED: &str = "notifications/prompts/list_changed";
/// The list of resources or of templates changed.
pub const RESOURCES_CHANGED: &str = "notifications/resources/list_changed";
/// Modern: the first message of a subscription stream.
pub const LISTEN_ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
