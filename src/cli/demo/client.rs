//! The demo's MCP client: rmcp's, in the legacy era, where a list change arrives unasked.

use std::time::{Duration, Instant};

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientCapabilities, ClientConfig, ClientRequest,
    ContentBlock, ElicitRequestParams, ElicitResult, ElicitationAction, Implementation, JsonObject,
    PaginatedRequestParams, ProgressNotificationParam, ProgressToken, ProtocolVersion,
    ServerResult, Tool,
};
use rmcp::service::{
    ClientInitializeError, NotificationContext, PeerRequestOptions, RequestContext, RunningService,
    ServiceError,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{
    ClientCacheConfig, ClientHandler, ClientLifecycleMode, ClientServiceExt, ErrorData, RoleClient,
};
use serde_json::Value;
use tokio::sync::{mpsc, watch};

/// The longest wait for one request or notification.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How long after the answer the last progress notifications of a call may arrive.
const BEHIND: Duration = Duration::from_millis(200);
/// Most pages of a list; the demo's have fewer.
const PAGES: usize = 64;

/// A connected client.
#[derive(Debug)]
pub(super) struct DemoClient {
    service: RunningService<RoleClient, ClientEvents>,
    steps: mpsc::Receiver<(ProgressToken, ProgressUpdate)>,
    changes: watch::Receiver<u64>,
    /// The questions that the client was asked.
    questions: mpsc::Receiver<String>,
}

/// One progress notification.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ProgressUpdate {
    pub done: f64,
    pub total: Option<f64>,
    pub message: Option<String>,
}

/// The answer to a call.
#[derive(Debug)]
pub(super) struct CallAnswer {
    pub text: String,
    pub latency: Duration,
    /// How many progress notifications came.
    pub steps: usize,
}

/// Why a request of the client failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoClientError {
    /// No session could be opened.
    #[error("the client cannot connect to weir")]
    Connect(#[source] Box<ClientInitializeError>),
    /// A request failed.
    #[error("{what} failed")]
    Request {
        /// The method, or the tool called.
        what: String,
        /// The cause.
        #[source]
        source: Box<ServiceError>,
    },
    /// The list has too many pages.
    #[error("tools/list has more than {PAGES} pages")]
    Endless,
    /// The result of the tool is an error.
    #[error("{tool} reports an error: {text}")]
    Tool {
        /// The exposed name.
        tool: String,
        /// The text of the result.
        text: String,
    },
    /// The answer to a call is not a final result.
    #[error("{tool} asks for input, which it should not")]
    Unfinished {
        /// The exposed name.
        tool: String,
    },
    /// Nothing came for [`PATIENCE`].
    #[error("{what}: nothing for {} s", PATIENCE.as_secs())]
    Late {
        /// The awaited answer.
        what: String,
    },
}

/// Receives the notifications of weir.
#[derive(Debug)]
struct ClientEvents {
    steps: mpsc::Sender<(ProgressToken, ProgressUpdate)>,
    changes: watch::Sender<u64>,
    questions: mpsc::Sender<String>,
    /// The answer of a person to every form; without it the client cannot be asked.
    answer: Option<Value>,
}

impl ClientHandler for ClientEvents {
    fn get_info(&self) -> ClientConfig {
        let identity = Implementation::new("weir-demo", env!("CARGO_PKG_VERSION"));
        let capabilities = match self.answer {
            Some(_) => ClientCapabilities::builder().enable_elicitation().build(),
            None => ClientCapabilities::default(),
        };
        ClientConfig::new(capabilities, identity)
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let ElicitRequestParams::FormElicitationParams { message, .. } = request else {
            return Ok(ElicitResult::new(ElicitationAction::Decline));
        };
        // The channel is full when nobody wants to know.
        let _ = self.questions.try_send(message);
        let mut result = ElicitResult::new(ElicitationAction::Accept);
        result.content = self.answer.clone();
        Ok(result)
    }

    async fn on_progress(
        &self,
        params: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let ProgressNotificationParam {
            progress_token,
            progress,
            total,
            message,
            ..
        } = params;
        let step = ProgressUpdate {
            done: progress,
            total,
            message,
        };
        // The channel is full when no call reads it: the update is not needed.
        let _ = self.steps.try_send((progress_token, step));
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.changes.send_modify(|count| *count += 1);
    }
}

impl DemoClient {
    /// Opens a session at `url`, in the legacy era.
    pub(super) async fn connect(http: reqwest::Client, url: &str) -> Result<Self, DemoClientError> {
        Self::connect_as(ClientLifecycleMode::Initialize, http, url, None).await
    }

    /// Connects in the modern era. A person answers every form like this.
    pub(super) async fn connect_modern(
        http: reqwest::Client,
        url: &str,
        answer: Value,
    ) -> Result<Self, DemoClientError> {
        let lifecycle = ClientLifecycleMode::Discover {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        };
        Self::connect_as(lifecycle, http, url, Some(answer)).await
    }

    pub(super) async fn connect_as(
        lifecycle: ClientLifecycleMode,
        http: reqwest::Client,
        url: &str,
        answer: Option<Value>,
    ) -> Result<Self, DemoClientError> {
        let (step_sender, steps) = mpsc::channel(64);
        let (change_sender, changes) = watch::channel(0);
        let (question_sender, questions) = mpsc::channel(64);
        let events = ClientEvents {
            steps: step_sender,
            changes: change_sender,
            questions: question_sender,
            answer,
        };
        let config = StreamableHttpClientTransportConfig::with_uri(url);
        let transport = StreamableHttpClientTransport::with_client(http, config);
        let service = within(
            "connecting to weir",
            events.serve_with_lifecycle(transport, lifecycle),
        )
        .await?;
        let service = service.map_err(|source| DemoClientError::Connect(Box::new(source)))?;
        // The demo must show the current answers of weir, not cached ones.
        service
            .set_response_cache_config(ClientCacheConfig::disabled())
            .await;
        Ok(Self {
            service,
            steps,
            changes,
            questions,
        })
    }

    /// Lists all tools, over all pages.
    pub(super) async fn tools(&self) -> Result<Vec<Tool>, DemoClientError> {
        let mut tools = Vec::new();
        let mut cursor = None;
        for _ in 0..PAGES {
            let request = PaginatedRequestParams::default().with_cursor(cursor);
            let page = ask("tools/list", self.service.list_tools(Some(request))).await?;
            tools.extend(page.tools);
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(tools),
            }
        }
        Err(DemoClientError::Endless)
    }

    /// Returns how many prompts and resources are on the first page of each list.
    pub(super) async fn prompts_and_resources(&self) -> Result<(usize, usize), DemoClientError> {
        let prompts = ask("prompts/list", self.service.list_prompts(None)).await?;
        let resources = ask("resources/list", self.service.list_resources(None)).await?;
        Ok((prompts.prompts.len(), resources.resources.len()))
    }

    /// Calls a tool. `show` is called for each progress notification, in order.
    pub(super) async fn call(
        &mut self,
        tool: &str,
        arguments: JsonObject,
        show: &mut dyn FnMut(&ProgressUpdate),
    ) -> Result<CallAnswer, DemoClientError> {
        while self.steps.try_recv().is_ok() {}
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let begun = Instant::now();
        let options = PeerRequestOptions::no_options();
        // Boxed: rmcp's futures are large.
        let send = self.service.send_cancellable_request(request, options);
        let sent = Box::pin(ask(tool, send)).await?;
        let mut steps = ProgressTracker::of(sent.progress_token.clone(), show);
        let mut call = Box::pin(ask(tool, sent.await_response()));
        let response = loop {
            tokio::select! {
                biased;
                Some(step) = self.steps.recv() => steps.take(step),
                response = &mut call => break response?,
            }
        };
        let latency = begun.elapsed();
        let last = async {
            while steps.lacks_some() {
                let Some(step) = self.steps.recv().await else {
                    break;
                };
                steps.take(step);
            }
        };
        // If some do not come in time, a line of output is missing and nothing is wrong.
        let _ = tokio::time::timeout(BEHIND, last).await;
        let seen = steps.seen;
        let text = finished(tool, response)?;
        Ok(CallAnswer {
            text,
            latency,
            steps: seen,
        })
    }

    /// Calls a tool that may ask something. Returns its answer, and what it asked.
    pub(super) async fn call_and_answer(
        &mut self,
        tool: &str,
        arguments: JsonObject,
    ) -> Result<(CallAnswer, Vec<String>), DemoClientError> {
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let begun = Instant::now();
        let result = Box::pin(ask(tool, self.service.call_tool(params))).await?;
        let latency = begun.elapsed();
        let asked = std::iter::from_fn(|| self.questions.try_recv().ok()).collect();
        let answer = CallAnswer {
            text: finished(tool, ServerResult::CallToolResult(result))?,
            latency,
            steps: 0,
        };
        Ok((answer, asked))
    }

    /// Returns how many list changes weir has announced so far.
    pub(super) fn changes(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Waits for more list changes than `seen`.
    pub(super) async fn changed(&mut self, seen: u64) -> Result<(), DemoClientError> {
        // The sender lives in `service`, as long as `self`.
        let wait = self.changes.wait_for(|count| *count > seen);
        within("notifications/tools/list_changed", wait)
            .await
            .map(|_| ())
    }

    #[cfg(test)]
    pub(super) async fn subscribe(
        &self,
        filter: rmcp::model::SubscriptionFilter,
    ) -> Result<rmcp::service::Subscription, ServiceError> {
        self.service.listen(filter).await
    }

    /// Ends the session.
    pub(super) async fn close(mut self) {
        // If weir does not answer any more, there is no session to end.
        let _ = self
            .service
            .close_with_timeout(Duration::from_secs(1))
            .await;
    }
}

/// The progress of one call. rmcp handles each notification in a task of its own, so that one may
/// overtake another, or the answer.
struct ProgressTracker<'s> {
    token: ProgressToken,
    show: &'s mut dyn FnMut(&ProgressUpdate),
    seen: usize,
    furthest: f64,
    total: f64,
}

impl<'s> ProgressTracker<'s> {
    fn of(token: ProgressToken, show: &'s mut dyn FnMut(&ProgressUpdate)) -> Self {
        Self {
            token,
            show,
            seen: 0,
            furthest: f64::NEG_INFINITY,
            total: f64::NEG_INFINITY,
        }
    }

    /// Shows an update, unless it belongs to another call or a later one has been shown.
    fn take(&mut self, (token, step): (ProgressToken, ProgressUpdate)) {
        if token != self.token {
            return;
        }
        self.seen += 1;
        self.total = step.total.unwrap_or(self.total);
        if step.done > self.furthest {
            self.furthest = step.done;
            (self.show)(&step);
        }
    }

    /// Returns whether updates are still to come, according to their totals.
    fn lacks_some(&self) -> bool {
        self.furthest < self.total
    }
}

/// Returns the text of a final result.
fn finished(tool: &str, response: ServerResult) -> Result<String, DemoClientError> {
    let ServerResult::CallToolResult(result) = response else {
        return Err(DemoClientError::Unfinished {
            tool: tool.to_owned(),
        });
    };
    let texts = result.content.iter().filter_map(ContentBlock::as_text);
    let text = texts
        .map(|content| content.text.as_str())
        .collect::<Vec<_>>()
        .join("\n");
    if result.is_error == Some(true) {
        return Err(DemoClientError::Tool {
            tool: tool.to_owned(),
            text,
        });
    }
    Ok(text)
}

async fn ask<T>(
    what: &str,
    answer: impl Future<Output = Result<T, ServiceError>>,
) -> Result<T, DemoClientError> {
    within(what, answer)
        .await?
        .map_err(|source| DemoClientError::Request {
            what: what.to_owned(),
            source: Box::new(source),
        })
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> Result<T, DemoClientError> {
    let outcome = tokio::time::timeout(PATIENCE, future).await;
    outcome.map_err(|_| DemoClientError::Late {
        what: what.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use rmcp::model::NumberOrString;

    use super::*;

    fn step(token: i64, done: f64) -> (ProgressToken, ProgressUpdate) {
        let step = ProgressUpdate {
            done,
            total: Some(3.0),
            message: None,
        };
        (ProgressToken(NumberOrString::Number(token)), step)
    }

    #[test]
    fn progress_of_another_call_is_not_shown_and_the_last_of_this_one_is_waited_for() {
        let mut shown = Vec::new();
        let mut show = |step: &ProgressUpdate| shown.push(step.done);
        let mut steps = ProgressTracker::of(step(2, 0.0).0, &mut show);
        assert!(!steps.lacks_some(), "nothing says that there is progress");
        steps.take(step(1, 3.0));
        assert!(!steps.lacks_some());
        steps.take(step(2, 2.0));
        steps.take(step(2, 1.0));
        assert!(steps.lacks_some());
        steps.take(step(2, 3.0));
        assert!(!steps.lacks_some());
        assert_eq!(steps.seen, 3);
        assert_eq!(shown, [2.0, 3.0]);
    }
}
