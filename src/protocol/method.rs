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
/// The beginning of the name of every notification.
pub const NOTIFICATIONS: &str = "notifications/";
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
/// Legacy: which log messages a session wants.
pub const SET_LEVEL: &str = "logging/setLevel";
/// Legacy: wants to be told of a resource.
pub const SUBSCRIBE: &str = "resources/subscribe";
/// Legacy: the opposite.
pub const UNSUBSCRIBE: &str = "resources/unsubscribe";
/// Either era: a resource changed.
pub const RESOURCE_UPDATED: &str = "notifications/resources/updated";
/// Legacy: the caller's roots changed.
pub const ROOTS_CHANGED: &str = "notifications/roots/list_changed";
/// Either era: a server asks a person something, by a form or a URL.
pub const ELICIT: &str = "elicitation/create";
/// Either era: a server wants a message of the client's model.
pub const SAMPLE: &str = "sampling/createMessage";
/// Either era: a server wants the client's roots.
pub const ROOTS_LIST: &str = "roots/list";
/// Legacy (2025-11-25): a person is done at a URL.
pub const ELICITATION_COMPLETE: &str = "notifications/elicitation/complete";
/// Either era: state of a task, polled.
pub const TASKS_GET: &str = "tasks/get";
/// Modern (SEP-2663): input for a task.
pub const TASKS_UPDATE: &str = "tasks/update";
/// Either era: a task is to end.
pub const TASKS_CANCEL: &str = "tasks/cancel";
/// Legacy (2025-11-25): the result of a task, once it is there.
pub const TASKS_RESULT: &str = "tasks/result";
/// Legacy (2025-11-25): all tasks.
pub const TASKS_LIST: &str = "tasks/list";
/// Legacy (2025-11-25): a task's state changed.
pub const TASKS_STATUS: &str = "notifications/tasks/status";
/// Modern (SEP-2663): a task's state changed.
pub const TASK_STATUS: &str = "notifications/tasks";

/// The methods of requests of callers, so that a name that came as text can be held without a copy.
const REQUESTS: [&str; 20] = [
    TOOLS_CALL,
    TOOLS_LIST,
    INITIALIZE,
    DISCOVER,
    PING,
    PROMPTS_LIST,
    PROMPTS_GET,
    RESOURCES_LIST,
    TEMPLATES_LIST,
    RESOURCES_READ,
    COMPLETE,
    LISTEN,
    SET_LEVEL,
    SUBSCRIBE,
    UNSUBSCRIBE,
    TASKS_GET,
    TASKS_UPDATE,
    TASKS_CANCEL,
    TASKS_RESULT,
    TASKS_LIST,
];

/// Returns the name of a request's method as a constant; `None` for a method that weir does not know.
#[must_use]
pub fn known(name: &str) -> Option<&'static str> {
    REQUESTS.into_iter().find(|known| *known == name)
}
