//! The script of an upstream: what it has, how it answers, and what goes wrong with it.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderMap;
use tokio::sync::Semaphore;

use crate::support::token_server::TokenServer;
use crate::support::{fields, quote, unquote};

/// The four kinds of thing a server lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Tools,
    Prompts,
    Resources,
    Templates,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    pub const fn method(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Prompts => "prompts/list",
            Self::Resources => "resources/list",
            Self::Templates => "resources/templates/list",
        }
    }

    pub const fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// The member of a definition that identifies it.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }

    pub const fn changed(self) -> &'static str {
        match self {
            Self::Tools => "notifications/tools/list_changed",
            Self::Prompts => "notifications/prompts/list_changed",
            Self::Resources | Self::Templates => "notifications/resources/list_changed",
        }
    }

    /// The member of `subscriptions/listen` that asks for this kind.
    pub const fn wish(self) -> &'static str {
        match self {
            Self::Tools => "toolsListChanged",
            Self::Prompts => "promptsListChanged",
            Self::Resources | Self::Templates => "resourcesListChanged",
        }
    }

    pub fn listed_by(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.method() == method)
    }
}

/// The carriers of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Json,
    Sse,
}

/// The way in which lists are cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Paging {
    /// All in one page.
    Whole,
    /// Pages of these sizes; what is left over comes in a last page.
    Sizes(Vec<usize>),
    /// Every page names the same next cursor.
    Repeated,
    /// Every page has one more tool and names one more page.
    Endless,
    /// Pages of two, each beginning with the last item of the one before: something came in meanwhile.
    Shifting,
}

/// The number of times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    Next(usize),
    Forever,
}

impl Times {
    fn take(&mut self) -> bool {
        match self {
            Self::Forever => true,
            Self::Next(0) => false,
            Self::Next(left) => {
                *left -= 1;
                true
            }
        }
    }
}

/// Which requests a fault hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    Anything,
    /// Any of the four list methods.
    Lists,
    /// A JSON-RPC method.
    Method(String),
    /// Calls of one tool.
    Tool(String),
}

/// A fault of the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This status and no body.
    Status(u16),
    /// This status with plain text.
    Text(u16, String),
    /// 200 with a login page.
    Html,
    /// This status with a JSON-RPC error (raw `error` member).
    Error(u16, String),
    /// The right answer as JSON, with a byte order mark before it.
    Bom,
    /// This raw `result` under the right id.
    Result(String),
    /// The right answer under this raw id.
    ForeignId(String),
    /// A body that is no JSON-RPC, as `application/json`.
    Json(String),
    /// The connection is closed without an answer.
    Close,
    /// Nothing is answered.
    StallHeaders,
    /// Headers and half of the body, then nothing.
    StallBody,
    /// Headers and half of the body, then the connection is closed.
    CloseBody,
    /// An answer of so many bytes, in JSON or as one event; it does not say beforehand how long it is.
    Flood(usize, Shape),
    /// An event stream of comments, for ever.
    KeepAlives,
    /// An event stream with the right answer twice.
    Twice,
    /// The right answer in an array of messages, behind a notification, as JSON or as one event.
    Batch(Shape),
    /// This status, with `Retry-After`.
    Later(u16, String),
    /// The right answer, said to be in this content coding; `gzip` it is.
    Coded(String),
    /// This status, with this `Location`.
    Redirect(u16, String),
}

#[derive(Clone, Debug)]
pub struct Rule {
    pub on: On,
    pub times: Times,
    pub fault: Fault,
}

/// The answer of a tool (or a prompt, or a resource).
#[derive(Clone, Debug, Default)]
pub enum Outcome {
    /// Says who answered and what it was given.
    #[default]
    Echo,
    /// Raw text of `result`.
    Result(String),
    /// Raw text of `error`.
    Error(String),
    /// Modern: asks for input; completes once `inputResponses` and the exact `requestState` come back.
    AskInput,
}

#[derive(Clone, Debug, Default)]
pub struct Scripted {
    /// Progress notifications before the answer.
    pub progress: usize,
    /// The time before each of them.
    pub pause: std::time::Duration,
    /// Log messages before the answer, by level, whether or not they were asked for.
    pub logs: Vec<String>,
    /// The answer waits for a permit.
    pub gate: Option<Arc<Semaphore>>,
    pub outcome: Outcome,
}

/// Real servers' ways of refusing the modern probe (measured).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sdk {
    /// mcp (Python) 1.30, with sessions.
    PyStateful,
    /// mcp (Python) 1.30, stateless.
    PyStateless,
    /// @modelcontextprotocol/sdk 1.32, with sessions.
    TsStateful,
    /// @modelcontextprotocol/sdk 1.32, stateless.
    TsStateless,
}

impl Sdk {
    pub const fn stateless(self) -> bool {
        matches!(self, Self::PyStateless | Self::TsStateless)
    }
}

/// A scripted upstream's whole state.
#[derive(Clone, Debug)]
pub struct Script {
    pub name: String,
    /// Legacy versions spoken; the first is offered to clients that ask for another.
    pub legacy: Vec<String>,
    pub modern: bool,
    pub sdk: Option<Sdk>,
    pub shape: Shape,
    /// Bodies are written in pieces of so many bytes.
    pub dribble: Option<usize>,
    /// The system is given so many bytes at a time.
    pub send_buffer: Option<u32>,
    /// Definitions by kind, as raw JSON, with the name they go by.
    pub items: HashMap<Kind, Vec<(String, String)>>,
    pub paging: Paging,
    pub ttl_ms: u64,
    pub cache_scope: &'static str,
    /// Whether list changes are announced (capability, GET stream, listen).
    pub announces: bool,
    /// Announces a change after every list.
    pub restless: bool,
    /// Ends each stream of changes as soon as it is open.
    pub brief_streams: bool,
    pub floods: Option<String>,
    pub mutating: bool,
    /// Says that it has tasks, in either era.
    pub tasks: bool,
    /// The instructions for models in its handshake.
    pub instructions: Option<String>,
    /// Sets a cookie in each answer: `w=METHOD.SESSION`.
    pub cookies: bool,
    /// Sets so many cookies more in each answer, each with another name.
    pub more_cookies: usize,
    /// Answers `GET` with this status.
    pub get_status: Option<u16>,
    /// Redirects `/mcp` with this status to `/moved`, where it serves.
    pub moved: Option<u16>,
    /// Refuses `initialize` with a version that it does not speak, with this error.
    pub version_error: Option<String>,
    pub scripted: HashMap<(Kind, String), Scripted>,
    pub rules: Vec<Rule>,
    /// Lists answered as if nothing was there.
    pub empty: Times,
    /// Headers without which nothing is answered, and what 401 says.
    pub doors: Vec<(String, String)>,
    /// The server whose live tokens are let in, if it is a matter of tokens.
    pub tokens: Option<TokenServer>,
}

impl Script {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            legacy: Vec::new(),
            modern: false,
            sdk: None,
            shape: Shape::Json,
            dribble: None,
            send_buffer: None,
            items: HashMap::new(),
            paging: Paging::Whole,
            ttl_ms: 600_000,
            cache_scope: "public",
            announces: true,
            restless: false,
            brief_streams: false,
            floods: None,
            mutating: false,
            tasks: false,
            instructions: None,
            cookies: false,
            more_cookies: 0,
            get_status: None,
            moved: None,
            version_error: None,
            scripted: HashMap::new(),
            rules: Vec::new(),
            empty: Times::Next(0),
            doors: Vec::new(),
            tokens: None,
        }
    }

    /// Adds a definition; it goes by what it calls itself.
    pub fn add(&mut self, kind: Kind, raw: &str) {
        let name = fields(raw)
            .and_then(|members| members.get(kind.key()).and_then(|name| unquote(name.get())))
            .unwrap_or_default();
        self.items
            .entry(kind)
            .or_default()
            .push((name, raw.to_owned()));
    }

    pub fn remove(&mut self, kind: Kind, name: &str) {
        self.items
            .entry(kind)
            .or_default()
            .retain(|(known, _)| known != name);
    }

    pub fn has(&self, kind: Kind, name: &str) -> bool {
        self.items
            .get(&kind)
            .is_some_and(|items| items.iter().any(|(known, _)| known == name))
    }

    pub fn listing(&self, kind: Kind) -> Vec<String> {
        let items = self.items.get(&kind).map(Vec::as_slice).unwrap_or_default();
        items.iter().map(|(_, raw)| raw.clone()).collect()
    }

    pub fn scripted(&self, kind: Kind, name: &str) -> Scripted {
        self.scripted
            .get(&(kind, name.to_owned()))
            .cloned()
            .unwrap_or_default()
    }

    pub fn edit(&mut self, kind: Kind, name: &str) -> &mut Scripted {
        self.scripted.entry((kind, name.to_owned())).or_default()
    }

    /// The fault that hits this request, used up by one.
    pub fn fault(&mut self, method: &str, tool: Option<&str>) -> Option<Fault> {
        let hits = |on: &On| match on {
            On::Anything => true,
            On::Lists => Kind::listed_by(method).is_some(),
            On::Method(name) => name == method,
            On::Tool(name) => method == "tools/call" && tool == Some(name),
        };
        self.rules
            .iter_mut()
            .find_map(|rule| (hits(&rule.on) && rule.times.take()).then(|| rule.fault.clone()))
    }

    pub fn takes_empty(&mut self) -> bool {
        self.empty.take()
    }

    /// Whether the request carries every credential asked for.
    pub fn opens(&self, headers: &HeaderMap) -> bool {
        let authorization = headers.get("authorization");
        let authorization = authorization.and_then(|value| value.to_str().ok());
        let is_live = |tokens: &TokenServer| authorization.is_some_and(|text| tokens.is_live(text));
        if !self.tokens.as_ref().is_none_or(is_live) {
            return false;
        }
        self.doors.iter().all(|(name, value)| {
            let mut values = headers.get_all(name).iter();
            values.next().is_some_and(|got| got == value) && values.next().is_none()
        })
    }

    /// The capabilities this server announces: what it has.
    pub fn capabilities(&self) -> String {
        let changed = self.announces;
        let has = |kind| self.items.get(&kind).is_some_and(|items| !items.is_empty());
        let mut members = vec![format!(
            r#""tools":{{"listChanged":{changed}}},"logging":{{}}"#
        )];
        if self.items.contains_key(&Kind::Prompts) {
            members.push(format!(r#""prompts":{{"listChanged":{changed}}}"#));
        }
        if self.items.contains_key(&Kind::Resources) || self.items.contains_key(&Kind::Templates) {
            members.push(format!(r#""resources":{{"listChanged":{changed}}}"#));
        }
        if has(Kind::Prompts) || has(Kind::Templates) {
            members.push(r#""completions":{}"#.to_owned());
        }
        if self.tasks {
            let tasks = r#""tasks":{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}"#;
            members.push(tasks.to_owned());
            members.push(r#""extensions":{"io.modelcontextprotocol/tasks":{}}"#.to_owned());
        }
        format!("{{{}}}", members.join(","))
    }

    /// The member `instructions` of a handshake, with a comma before it.
    pub fn instructions(&self) -> String {
        let text = self.instructions.as_ref();
        text.map_or_else(String::new, |text| {
            format!(r#","instructions":{}"#, quote(text))
        })
    }

    pub fn server_info(&self) -> String {
        format!(r#"{{"name":{},"version":"1.0.0"}}"#, quote(&self.name))
    }
}

/// A plain tool definition.
pub fn tool(name: &str) -> String {
    format!(
        r#"{{"name":{},"description":{},"inputSchema":{{"type":"object","properties":{{"q":{{"type":"string"}}}}}}}}"#,
        quote(name),
        quote(&format!("Does {name}."))
    )
}

pub fn prompt(name: &str) -> String {
    format!(
        r#"{{"name":{},"description":"A prompt.","arguments":[{{"name":"topic"}}]}}"#,
        quote(name)
    )
}

pub fn resource(uri: &str) -> String {
    format!(r#"{{"uri":{},"name":"a resource"}}"#, quote(uri))
}

pub fn template(uri: &str) -> String {
    format!(r#"{{"uriTemplate":{},"name":"a template"}}"#, quote(uri))
}
