//! A server that asks, on the official Rust SDK (rmcp), held to one era.
//!
//! ```sh
//! cargo build --example asking
//! asking ASKS_JSON NAME legacy|modern [PORT]     # without PORT on stdin and stdout
//! ```
//!
//! All such servers have the tools of `asks.json`. In the modern era a tool returns what it wants to know and
//! is called again with the answers; in a legacy session it asks while it runs. `asking_ts1.mjs` says what
//! the other tools are for.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a server of tests: what should not be ends it"
)]
#![allow(
    deprecated,
    reason = "sampling, roots and logging (SEP-2577) are what is tested"
)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CancelTaskParams,
    CompleteRequestParams, CompleteResult, CompletionInfo, ContentBlock, CreateTaskResult,
    ErrorCode, GetPromptRequestParams, GetPromptResponse, GetPromptResult, GetTaskParams,
    GetTaskResult, InputRequiredResult, InputResponses, JsonObject, ListPromptsResult,
    ListResourcesResult, ListToolsResult, LoggingLevel, LoggingMessageNotificationParam,
    PaginatedRequestParams, ProgressNotificationParam, Prompt, PromptMessage, ProtocolVersion,
    ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, Resource,
    ResourceContents, ResourceUpdatedNotificationParam, Role, ServerCapabilities, ServerConfig,
    ServerRequest, SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, Tool,
    UnsubscribeRequestParams, UpdateTaskParams,
};
use rmcp::service::{
    NotificationContext, PeerRequestOptions, RequestContext, ServiceError, SubscriptionContext,
};
use rmcp::task_manager::{TaskExit, TaskManager, TaskOptions};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, Peer, RoleServer, ServerHandler, ServiceExt as _};
use serde_json::{Value, json};
use tokio::sync::broadcast;
use tokio_util::task::TaskTracker;

const VISIT: i32 = -32042;
const BOTH: [&str; 6] = ["steps", "logs", "slow", "fate", "touch", "vanish"];
/// The tool that `vanish` takes away and brings back.
const VANISHING: &str = "vanishing";
const LEGACY: [&str; 6] = [
    "push",
    "push_roots",
    "unchecked",
    "impatient",
    "large",
    "demand",
];
const MODERN: [&str; 7] = [
    "no_state",
    "state_only",
    "endless",
    "task",
    "task_fails",
    "task_asks",
    "task_sleeps",
];

/// The server of all sessions and requests.
#[derive(Clone)]
struct Server(Arc<State>);

struct State {
    /// The URI of the resource.
    note: String,
    asks: BTreeMap<String, Value>,
    scripts: BTreeMap<String, Vec<Vec<String>>>,
    is_modern: bool,
    fates: Mutex<BTreeMap<String, &'static str>>,
    refusals: Mutex<BTreeMap<String, u32>>,
    /// Whether `VANISHING` is not there.
    is_gone: AtomicBool,
    /// Those that are told of changes: of the tools in legacy sessions, of the resource those that follow it.
    peers: Mutex<Vec<Peer<RoleServer>>>,
    followers: Mutex<Vec<Peer<RoleServer>>>,
    /// The same for modern subscriptions.
    changes: broadcast::Sender<Change>,
    tasks: TaskManager,
    tracker: TaskTracker,
}

/// A change that clients are told of.
#[derive(Clone, Copy)]
enum Change {
    Tools,
    Note,
}

/// The outcome of a round.
enum Outcome {
    /// All answers, by rounds.
    Answered(Value),
    /// The questions that are still to be asked.
    Required(InputRequiredResult),
}

/// The answers that a modern request brings.
#[derive(Default)]
struct Given {
    responses: Option<InputResponses>,
    state: Option<String>,
}

fn said(value: &Value) -> CallToolResult {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    CallToolResult::success(vec![ContentBlock::text(text)])
}

/// The result of a tool that asks one question.
fn one(answer: &Value) -> CallToolResult {
    said(&json!([[answer]]))
}

fn failed(text: &str) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(text)])
}

fn refused(error: &ServiceError) -> String {
    if let ServiceError::McpError(error) = error {
        return format!("refused, {}", error.code.0);
    }
    format!("refused, {error}")
}

fn unknown(name: &str) -> ErrorData {
    ErrorData::invalid_params(format!("no tool {name}"), None)
}

fn internal(error: &ServiceError) -> ErrorData {
    ErrorData::internal_error(error.to_string(), None)
}

impl Server {
    /// The question of this name, as it is sent.
    fn ask(&self, name: &str) -> Value {
        let mut ask = self.0.asks[name].clone();
        if !self.0.is_modern && ask["params"]["mode"] == "url" {
            ask["params"]["elicitationId"] = json!(format!("visit-{name}"));
        }
        ask
    }

    /// Asks in a legacy session.
    async fn push(&self, peer: &Peer<RoleServer>, ask: Value) -> Result<Value, ServiceError> {
        let request: ServerRequest = serde_json::from_value(ask).unwrap();
        let answer = peer.send_request(request).await?;
        Ok(serde_json::to_value(answer).unwrap())
    }

    /// Asks the questions of a round at once.
    async fn push_all(
        &self,
        peer: &Peer<RoleServer>,
        round: &[String],
    ) -> Result<Vec<Value>, ServiceError> {
        let asks = round.iter().map(|name| self.push(peer, self.ask(name)));
        futures::future::try_join_all(asks).await
    }

    async fn run(
        &self,
        script: &[Vec<String>],
        given: Given,
        peer: &Peer<RoleServer>,
    ) -> Result<Outcome, ErrorData> {
        if self.0.is_modern {
            return Ok(self.next_round(script, given));
        }
        let mut answers = Vec::new();
        for round in script {
            let all = self.push_all(peer, round).await;
            answers.push(json!(all.map_err(|error| internal(&error))?));
        }
        Ok(Outcome::Answered(json!(answers)))
    }

    /// Takes the answers of a round; those of the earlier ones are in the state.
    fn next_round(&self, script: &[Vec<String>], given: Given) -> Outcome {
        let kept: Value = given
            .state
            .map_or(json!([[], {}]), |state| state.parse().unwrap());
        let (mut answers, mut part) = (
            kept[0].as_array().unwrap().clone(),
            kept[1].as_object().unwrap().clone(),
        );
        part.extend(given.responses.unwrap_or_default());
        if let Some(round) = script.get(answers.len())
            && round.iter().all(|name| part.contains_key(name))
        {
            answers.push(round.iter().map(|name| part[name].clone()).collect());
            part.clear();
        }
        let Some(round) = script.get(answers.len()) else {
            return Outcome::Answered(json!(answers));
        };
        let open = round.iter().filter(|name| !part.contains_key(*name));
        let asks: JsonObject = open.map(|name| (name.clone(), self.ask(name))).collect();
        Outcome::Required(required(
            Some(asks),
            Some(&json!([answers, part]).to_string()),
        ))
    }

    fn tool_names(&self) -> Vec<String> {
        let own: &[&str] = if self.0.is_modern { &MODERN } else { &LEGACY };
        let scripts = self.0.scripts.keys().map(String::as_str);
        let vanishing = (!self.0.is_gone.load(Ordering::Relaxed)).then_some(VANISHING);
        let names = scripts.chain(BOTH).chain(vanishing);
        let names = names.chain(own.iter().copied());
        names.map(str::to_owned).collect()
    }

    fn form(&self) -> &[Vec<String>] {
        &self.0.scripts["form"]
    }

    /// The tools that are more than a script.
    async fn call_other(
        &self,
        name: &str,
        note: String,
        given: Given,
        arguments: &JsonObject,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        match name {
            "steps" => self.steps(given, context).await,
            "logs" => logs(&context.peer).await,
            "slow" => self.slow(note, given, context).await,
            "fate" => {
                let fates = self.0.fates.lock();
                Ok(said(&json!(fates.get(&note).unwrap_or(&"unknown"))).into())
            }
            VANISHING => Ok(self.run(self.form(), given, &context.peer).await?.into()),
            "vanish" => {
                let was_gone = self.0.is_gone.fetch_xor(true, Ordering::Relaxed);
                self.tell(Change::Tools).await;
                Ok(said(&json!(if was_gone { "back" } else { "gone" })).into())
            }
            "touch" => {
                self.tell(Change::Note).await;
                Ok(said(&json!("told")).into())
            }
            "demand" => self.demand(&note),
            _ if self.0.is_modern => self.call_modern(name, given),
            _ => self.call_legacy(name, arguments, &context.peer).await,
        }
    }

    async fn call_legacy(
        &self,
        name: &str,
        arguments: &JsonObject,
        peer: &Peer<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let result = match name {
            "push" | "push_roots" => {
                // In a task of its own: rmcp knows the call by the task that it runs in.
                let (server, peer) = (self.clone(), peer.clone());
                let ask = self.ask(if name == "push" { "form" } else { "roots" });
                let outside = async move { server.push(&peer, ask).await };
                let answer = self.0.tracker.spawn(outside).await.unwrap();
                one(&answer.map_err(|error| internal(&error))?)
            }
            "unchecked" => {
                let ask = self.ask(arguments["ask"].as_str().unwrap());
                let end = arguments.get("end").and_then(Value::as_str);
                match (self.push(peer, ask).await, end) {
                    (Ok(answer), _) => one(&answer),
                    (Err(_), Some("plan B")) => said(&json!("plan B")),
                    (Err(error), Some("error")) => return Err(internal(&error)),
                    (Err(error), _) => failed(&refused(&error)),
                }
            }
            "impatient" => {
                let options = PeerRequestOptions::with_timeout(Duration::from_millis(400));
                let request: ServerRequest = serde_json::from_value(self.ask("form")).unwrap();
                let sent = peer.send_request_with_option(request, options).await;
                let sent = sent.map_err(|error| internal(&error))?;
                match sent.await_response().await {
                    Ok(answer) => one(&serde_json::to_value(answer).unwrap()),
                    Err(_) => failed("nobody answered"),
                }
            }
            "large" => {
                let mut ask = self.ask("form");
                ask["params"]["message"] = json!("x".repeat(1 << 20));
                match self.push(peer, ask).await {
                    Ok(_) => said(&json!("answered")),
                    Err(error) => said(&json!(refused(&error))),
                }
            }
            _ => return Err(unknown(name)),
        };
        Ok(result.into())
    }

    fn call_modern(&self, name: &str, given: Given) -> Result<CallToolResponse, ErrorData> {
        let asks = || {
            [("form".to_owned(), self.ask("form"))]
                .into_iter()
                .collect()
        };
        Ok(match name {
            "no_state" => match given.responses {
                Some(responses) => one(&responses["form"]).into(),
                None => required(Some(asks()), None).into(),
            },
            "state_only" => match given.state {
                Some(_) => said(&json!(json!(given.responses).to_string())).into(),
                None => required(None, Some("again")).into(),
            },
            "endless" => {
                let rounds: u32 = given.state.map_or(0, |state| state.parse().unwrap());
                required(Some(asks()), Some(&(rounds + 1).to_string())).into()
            }
            "task" | "task_fails" | "task_asks" | "task_sleeps" => self.begin(name).into(),
            _ => return Err(unknown(name)),
        })
    }

    async fn tell(&self, change: Change) {
        let _ = self.0.changes.send(change);
        let told = match change {
            Change::Tools => &self.0.peers,
            Change::Note => &self.0.followers,
        };
        let told = told.lock().clone();
        for peer in told {
            let _ = match change {
                Change::Tools => peer.notify_tool_list_changed().await,
                Change::Note => {
                    let note = ResourceUpdatedNotificationParam::new(self.0.note.as_str());
                    peer.notify_resource_updated(note).await
                }
            };
        }
    }

    async fn steps(
        &self,
        given: Given,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let report = async |steps: &[u32]| {
            for done in steps {
                if let Some(token) = context.meta.get_progress_token() {
                    let progress = ProgressNotificationParam::new(token, f64::from(*done));
                    let _ = context.peer.notify_progress(progress.with_total(3.0)).await;
                }
            }
        };
        let is_first = given.responses.is_none();
        match (self.0.is_modern, is_first) {
            (true, false) => report(&[1, 2, 3]).await, // a new request counts anew
            _ => report(&[1]).await,
        }
        let outcome = self.run(self.form(), given, &context.peer).await?;
        if !self.0.is_modern {
            report(&[2, 3]).await;
        }
        Ok(outcome.into())
    }

    async fn slow(
        &self,
        note: String,
        given: Given,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let fate = |word| {
            self.0.fates.lock().insert(note.clone(), word);
        };
        let work = async {
            fate("asked");
            if note.starts_with("late") {
                tokio::time::sleep(Duration::from_secs(15)).await;
            }
            let outcome = self.run(self.form(), given, &context.peer).await?;
            if matches!(outcome, Outcome::Answered(_)) {
                fate("answered");
                tokio::time::sleep(Duration::from_secs(15)).await;
            }
            Ok(outcome.into())
        };
        tokio::select! {
            result = work => result,
            () = context.ct.cancelled() => {
                fate("cancelled");
                Err(ErrorData::internal_error("cancelled", None))
            }
        }
    }

    /// Refuses the call until somebody has been to a page.
    fn demand(&self, note: &str) -> Result<CallToolResponse, ErrorData> {
        let mut refusals = self.0.refusals.lock();
        let before = refusals.entry(note.to_owned()).or_default();
        *before += 1;
        if *before > 1 {
            return Ok(said(&json!("been there")).into());
        }
        let elicitation = self.ask("url")["params"].take();
        let data = json!({ "elicitations": [elicitation] });
        Err(ErrorData::new(ErrorCode(VISIT), "visit", Some(data)))
    }

    /// A tool whose result is a task (SEP-2663).
    fn begin(&self, name: &str) -> CreateTaskResult {
        let (server, name) = (self.clone(), name.to_owned());
        let options = TaskOptions::new().with_poll_interval_ms(100);
        let task = self.0.tasks.spawn(options, move |context| {
            Box::pin(async move {
                match name.as_str() {
                    "task" => Ok(said(&json!("done as a task"))),
                    "task_fails" => Ok(failed("failed as a task")),
                    "task_asks" => {
                        let ask = serde_json::from_value(server.ask("form")).unwrap();
                        let answer = context.request_input("form", ask).await?;
                        Ok(said(&json!([[answer]])))
                    }
                    _ => {
                        context.cancelled().await;
                        Err(TaskExit::Cancelled)
                    }
                }
            })
        });
        CreateTaskResult::new(task)
    }
}

fn required(asks: Option<JsonObject>, state: Option<&str>) -> InputRequiredResult {
    let asks = asks.map(|asks| serde_json::from_value(Value::Object(asks)).unwrap());
    InputRequiredResult::new(asks, state.map(str::to_owned))
}

async fn logs(peer: &Peer<RoleServer>) -> Result<CallToolResponse, ErrorData> {
    for level in ["debug", "info", "warning", "error"] {
        let severity: LoggingLevel = serde_json::from_value(json!(level)).unwrap();
        let log = LoggingMessageNotificationParam::new(severity, json!(format!("post {level}")));
        let _ = peer.notify_logging_message(log).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await; // what comes on another stream may be later
    Ok(said(&json!("logged")).into())
}

impl From<Outcome> for CallToolResponse {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Answered(answers) => said(&answers).into(),
            Outcome::Required(required) => required.into(),
        }
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_prompts()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_logging()
            .enable_completions();
        ServerConfig::new(match self.0.is_modern {
            true => capabilities.enable_tasks().build(),
            false => capabilities.build(),
        })
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(match self.0.is_modern {
            true => &[ProtocolVersion::V_2026_07_28],
            false => ProtocolVersion::known_up_to(&ProtocolVersion::V_2025_11_25),
        })
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        self.0.peers.lock().push(context.peer);
    }

    async fn subscribe(
        &self,
        _request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.0.followers.lock().push(context.peer);
        Ok(())
    }

    async fn unsubscribe(
        &self,
        _request: UnsubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.0.followers.lock().clear();
        Ok(())
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(requested.supported_by(&self.get_info().capabilities))
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.0.changes.subscribe();
        loop {
            let change = tokio::select! {
                () = context.cancelled() => return Ok(()),
                change = changes.recv() => change,
            };
            let sink = context.sink();
            // What nobody has asked for is not sent: that is no error.
            let _ = match change {
                Ok(Change::Tools) => sink.notify_tool_list_changed().await,
                Ok(Change::Note) => sink.notify_resource_updated(self.0.note.as_str()).await,
                Err(_) => return Ok(()),
            };
        }
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema = json!({"type": "object", "properties": {"note": {}, "ask": {}, "end": {}, "complete": {}}});
        let schema: JsonObject = serde_json::from_value(schema).unwrap();
        let names = self.tool_names().into_iter();
        let tools = names.map(|name| Tool::new(name, "Asks", schema.clone()));
        Ok(ListToolsResult::with_all_items(tools.collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let given = Given {
            responses: request.input_responses,
            state: request.request_state,
        };
        if let Some(script) = self.0.scripts.get(request.name.as_ref()) {
            return Ok(self.run(script, given, &context.peer).await?.into());
        }
        let arguments = request.arguments.unwrap_or_default();
        let note = arguments.get("note").and_then(Value::as_str);
        let note = note.unwrap_or_default().to_owned();
        self.call_other(&request.name, note, given, &arguments, &context)
            .await
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let asking = Prompt::new("asking", Some("Asks"), None);
        Ok(ListPromptsResult::with_all_items(vec![asking]))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let given = Given {
            responses: request.input_responses,
            state: request.request_state,
        };
        Ok(match self.run(self.form(), given, &context.peer).await? {
            Outcome::Required(required) => required.into(),
            Outcome::Answered(answers) => {
                let colour = answers[0][0]["content"]["colour"].as_str();
                let text = format!("paint it {}", colour.unwrap_or_default());
                GetPromptResult::new(vec![PromptMessage::new_text(Role::User, text)]).into()
            }
        })
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(vec![Resource::new(
            self.0.note.as_str(),
            "note",
        )]))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let given = Given {
            responses: request.input_responses,
            state: request.request_state,
        };
        Ok(match self.run(self.form(), given, &context.peer).await? {
            Outcome::Required(required) => required.into(),
            Outcome::Answered(answers) => {
                let colour = answers[0][0]["content"]["colour"].as_str();
                let text = format!("it is {}", colour.unwrap_or_default());
                ReadResourceResult::new(vec![ResourceContents::text(text, self.0.note.as_str())])
                    .into()
            }
        })
    }

    async fn complete(
        &self,
        _request: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let value = match self.push(&context.peer, self.ask("roots")).await {
            Ok(_) => "answered".to_owned(),
            Err(error) => refused(&error),
        };
        Ok(CompleteResult::new(
            CompletionInfo::new(vec![value]).unwrap(),
        ))
    }

    async fn set_level(
        &self,
        _request: SetLevelRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        Ok(GetTaskResult::new(self.0.tasks.get_task(&request.task_id)?))
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.0
            .tasks
            .update_task(&request.task_id, request.input_responses)
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.0.tasks.cancel_task(&request.task_id)
    }
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let plan = std::fs::read_to_string(&arguments[1]).unwrap();
    let plan: Value = plan.parse().unwrap();
    let server = Server(Arc::new(State {
        note: format!("ask://{}/note", arguments[2]),
        asks: serde_json::from_value(plan["asks"].clone()).unwrap(),
        scripts: serde_json::from_value(plan["tools"].clone()).unwrap(),
        is_modern: arguments[3] == "modern",
        fates: Mutex::default(),
        refusals: Mutex::default(),
        is_gone: AtomicBool::new(false),
        peers: Mutex::default(),
        followers: Mutex::default(),
        changes: broadcast::Sender::new(16),
        tasks: TaskManager::new(),
        tracker: TaskTracker::new(),
    }));
    let Some(port) = arguments.get(4) else {
        let service = server.serve(rmcp::transport::io::stdio_pipes()).await;
        let _ = service.unwrap().waiting().await;
        return;
    };
    let sessions = Arc::new(LocalSessionManager::default());
    let config = StreamableHttpServerConfig::default();
    let service = StreamableHttpService::new(move || Ok(server.clone()), sessions, config);
    let router = axum::Router::new().route_service("/mcp", service);
    let address = format!("127.0.0.1:{port}");
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let _ = axum::serve(listener, router).await;
}
