//! The demo's MCP client: rmcp's, in the legacy era, where a list change arrives unasked.

use std::time::{Duration, Instant};

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ClientConfig, ContentBlock, Implementation,
    JsonObject, PaginatedRequestParams, ProgressNotificationParam, Tool,
};
use rmcp::service::{ClientInitializeError, NotificationContext, RunningService, ServiceError};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientCacheConfig, ClientHandler, ClientLifecycleMode, ClientServiceExt, RoleClient};
use tokio::sync::{mpsc, watch};

/// The longest the demo waits for one thing.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// More pages than any of the demo's lists has.
const PAGES: usize = 64;

/// A connected client.
#[derive(Debug)]
pub(super) struct Client {
    service: RunningService<RoleClient, Ear>,
    steps: mpsc::Receiver<Step>,
    changes: watch::Receiver<u64>,
}

/// One progress notification.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    pub done: f64,
    pub total: Option<f64>,
    pub message: Option<String>,
}

/// What a call came to.
#[derive(Debug)]
pub(super) struct Answer {
    pub text: String,
    pub latency: Duration,
    /// Progress notifications that arrived before it.
    pub steps: usize,
}

/// Why the client did not get what it asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No session.
    #[error("the client cannot connect to weir")]
    Connect(#[source] Box<ClientInitializeError>),
    /// A request failed.
    #[error("{what} failed")]
    Request {
        /// The method, or the tool called.
        what: String,
        /// Why.
        #[source]
        source: Box<ServiceError>,
    },
    /// Paging does not come to an end.
    #[error("tools/list has more than {PAGES} pages")]
    Endless,
    /// The tool ran and says that it failed.
    #[error("{tool} reports an error: {text}")]
    Tool {
        /// The exposed name.
        tool: String,
        /// What it says.
        text: String,
    },
    /// The answer to a call is not its result.
    #[error("{tool} wants something first, which it should not")]
    Unfinished {
        /// The exposed name.
        tool: String,
    },
    /// Nothing came for [`PATIENCE`].
    #[error("{what}: nothing for {} s", PATIENCE.as_secs())]
    Late {
        /// What should have come.
        what: String,
    },
}

/// Hears what weir says unasked.
#[derive(Debug)]
struct Ear {
    steps: mpsc::Sender<Step>,
    changes: watch::Sender<u64>,
}

impl ClientHandler for Ear {
    fn get_info(&self) -> ClientConfig {
        let identity = Implementation::new("weir-demo", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(Default::default(), identity)
    }

    async fn on_progress(
        &self,
        params: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        let ProgressNotificationParam {
            progress,
            total,
            message,
            ..
        } = params;
        // A full channel means that nobody is looking.
        let _ = self.steps.try_send(Step {
            done: progress,
            total,
            message,
        });
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.changes.send_modify(|count| *count += 1);
    }
}

impl Client {
    /// Opens a session at `url`, in the legacy era.
    pub(super) async fn connect(http: reqwest::Client, url: &str) -> Result<Self, ClientError> {
        Self::connect_as(ClientLifecycleMode::Initialize, http, url).await
    }

    pub(super) async fn connect_as(
        lifecycle: ClientLifecycleMode,
        http: reqwest::Client,
        url: &str,
    ) -> Result<Self, ClientError> {
        let (step_sender, steps) = mpsc::channel(64);
        let (change_sender, changes) = watch::channel(0);
        let ear = Ear {
            steps: step_sender,
            changes: change_sender,
        };
        let config = StreamableHttpClientTransportConfig::with_uri(url);
        let transport = StreamableHttpClientTransport::with_client(http, config);
        let service = within(
            "connecting to weir",
            ear.serve_with_lifecycle(transport, lifecycle),
        )
        .await?;
        let service = service.map_err(|source| ClientError::Connect(Box::new(source)))?;
        // What is shown must come from weir, now.
        service
            .set_response_cache_config(ClientCacheConfig::disabled())
            .await;
        Ok(Self {
            service,
            steps,
            changes,
        })
    }

    /// All tools, over all pages.
    pub(super) async fn tools(&self) -> Result<Vec<Tool>, ClientError> {
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
        Err(ClientError::Endless)
    }

    /// How many prompts and resources are on the first page of each list.
    pub(super) async fn prompts_and_resources(&self) -> Result<(usize, usize), ClientError> {
        let prompts = ask("prompts/list", self.service.list_prompts(None)).await?;
        let resources = ask("resources/list", self.service.list_resources(None)).await?;
        Ok((prompts.prompts.len(), resources.resources.len()))
    }

    /// Calls a tool; `show` sees each progress notification in its order.
    pub(super) async fn call(
        &mut self,
        tool: &str,
        arguments: JsonObject,
        show: &mut dyn FnMut(&Step),
    ) -> Result<Answer, ClientError> {
        while self.steps.try_recv().is_ok() {}
        let request = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let begun = Instant::now();
        let call = ask(tool, self.service.call_tool_once(request));
        tokio::pin!(call);
        let mut seen = 0;
        let mut furthest = f64::NEG_INFINITY;
        // rmcp handles every notification in a task of its own, so that one may overtake another.
        let mut forward = |step: Step| {
            seen += 1;
            if step.done > furthest {
                furthest = step.done;
                show(&step);
            }
        };
        let response = loop {
            tokio::select! {
                biased;
                Some(step) = self.steps.recv() => forward(step),
                response = &mut call => break response?,
            }
        };
        let latency = begun.elapsed();
        while let Ok(step) = self.steps.try_recv() {
            forward(step);
        }
        let text = finished(tool, response)?;
        Ok(Answer {
            text,
            latency,
            steps: seen,
        })
    }

    /// How many list changes weir has announced so far.
    pub(super) fn changes(&self) -> u64 {
        *self.changes.borrow()
    }

    /// Waits for more list changes than `seen`.
    pub(super) async fn changed(&mut self, seen: u64) -> Result<(), ClientError> {
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
        // A weir that does not answer any more has no session to end.
        let _ = self
            .service
            .close_with_timeout(Duration::from_secs(1))
            .await;
    }
}

/// The text of a final result.
fn finished(tool: &str, response: CallToolResponse) -> Result<String, ClientError> {
    let CallToolResponse::Complete(result) = response else {
        return Err(ClientError::Unfinished {
            tool: tool.to_owned(),
        });
    };
    let texts = result.content.iter().filter_map(ContentBlock::as_text);
    let text = texts
        .map(|content| content.text.as_str())
        .collect::<Vec<_>>()
        .join("\n");
    if result.is_error == Some(true) {
        return Err(ClientError::Tool {
            tool: tool.to_owned(),
            text,
        });
    }
    Ok(text)
}

async fn ask<T>(
    what: &str,
    answer: impl Future<Output = Result<T, ServiceError>>,
) -> Result<T, ClientError> {
    within(what, answer)
        .await?
        .map_err(|source| ClientError::Request {
            what: what.to_owned(),
            source: Box::new(source),
        })
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> Result<T, ClientError> {
    let outcome = tokio::time::timeout(PATIENCE, future).await;
    outcome.map_err(|_| ClientError::Late {
        what: what.to_owned(),
    })
}
