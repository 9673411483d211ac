//! One of the demo's upstreams: an rmcp server made of a [`Profile`], over Streamable HTTP or stdio.
//!
//! One type serves all of them, because every further type would build rmcp's generics again. It speaks
//! both eras, as rmcp does, unless its profile is of a legacy server.

use parking_lot::{Mutex, RwLock};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::middleware;
use axum::serve::ListenerExt;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientResult, ContentBlock,
    ElicitRequest, ElicitRequestParams, ElicitationSchema, GetPromptRequestParams,
    GetPromptResponse, GetPromptResult, Implementation, JsonObject, ListPromptsResult,
    ListResourcesResult, ListToolsResult, PaginatedRequestParams, ProgressNotificationParam,
    PromptArgument, PromptMessage, ProtocolVersion, ReadResourceRequestParams,
    ReadResourceResponse, ReadResourceResult, ResourceContents, Role, ServerCapabilities,
    ServerConfig, ServerRequest, SubscriptionFilter, ToolAnnotations,
};
use rmcp::service::{
    NotificationContext, RequestContext, ServerInitializeError, ServiceError, SubscriptionContext,
};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, Peer, RoleServer, ServerHandler, ServiceExt};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::access::AccessCheck;
use super::tools::{DemoArgument, DemoProfile, DemoTool};

/// How long each step of a tool takes.
const STEP: Duration = Duration::from_millis(140);

/// A server that can gain tools while it runs. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct DemoUpstream(Arc<UpstreamState>);

#[derive(Debug)]
struct UpstreamState {
    profile: &'static DemoProfile,
    tools: RwLock<Vec<DemoTool>>,
    /// Counts the changes of `tools`; modern listen streams follow it.
    changes: watch::Sender<u64>,
    /// Legacy peers, which are notified of changes one by one.
    peers: Mutex<Vec<Peer<RoleServer>>>,
    /// How many peers have subscribed to changes.
    followers: watch::Sender<usize>,
    /// The arguments of the last call, as JSON text.
    last_arguments: Mutex<String>,
}

impl DemoUpstream {
    pub(super) fn new(profile: &'static DemoProfile) -> Self {
        Self(Arc::new(UpstreamState {
            profile,
            tools: RwLock::new(profile.tools.to_vec()),
            changes: watch::Sender::new(0),
            peers: Mutex::default(),
            followers: watch::Sender::new(0),
            last_arguments: Mutex::default(),
        }))
    }

    pub(super) fn profile(&self) -> &'static DemoProfile {
        self.0.profile
    }

    /// Returns the arguments of the last call, as JSON text.
    pub(super) fn last_arguments(&self) -> String {
        self.0.last_arguments.lock().clone()
    }

    /// Waits until this many peers have subscribed to changes. A peer that has only just connected may not
    /// have done so yet, and would miss a change made now.
    pub(super) async fn wait_for_followers(&self, peers: usize) {
        // The sender lives in `self`, so that the wait cannot fail.
        let mut followers = self.0.followers.subscribe();
        let _ = followers.wait_for(|count| *count >= peers).await;
    }

    /// Adds a tool, and notifies all subscribed peers.
    pub(super) async fn add_tool(&self, tool: DemoTool) {
        {
            let mut tools = self.0.tools.write();
            tools.push(tool);
        }
        self.0.changes.send_modify(|count| *count += 1);
        let peers = {
            let mut peers = self.0.peers.lock();
            peers.retain(|peer| !peer.is_transport_closed());
            peers.clone()
        };
        for peer in peers {
            // A peer that has gone meanwhile needs no notification.
            let _ = peer.notify_tool_list_changed().await;
        }
    }

    /// Serves Streamable HTTP at `path` on a free port of loopback until `stop`, behind an access check if
    /// there is one. Returns the URL without the path.
    pub(super) async fn serve_http(
        &self,
        path: &str,
        check: Option<Arc<AccessCheck>>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> std::io::Result<String> {
        let mut sessions = LocalSessionManager::default();
        // The default ends sessions after 5 minutes without a message, although their stream is open.
        sessions.session_config.keep_alive = None;
        let config =
            StreamableHttpServerConfig::default().with_cancellation_token(stop.child_token());
        let server = self.clone();
        let service =
            StreamableHttpService::new(move || Ok(server.clone()), Arc::new(sessions), config);
        let mut router = axum::Router::new().route_service(path, service);
        if let Some(check) = check {
            router = router.layer(middleware::from_fn(move |request, next| {
                Arc::clone(&check).pass(request, next)
            }));
        }
        serve(router, tasks, stop).await
    }

    /// Serves stdin and stdout until stdin ends. Returns false if they do not carry MCP.
    pub(super) async fn serve_stdio(&self) -> bool {
        match self.clone().serve(rmcp::transport::io::stdio_pipes()).await {
            Ok(service) => service.waiting().await.is_ok(),
            // The client left without a request, or after `server/discover`.
            Err(ServerInitializeError::ConnectionClosed(_)) => true,
            Err(_) => false,
        }
    }

    fn tools(&self) -> Vec<DemoTool> {
        self.0.tools.read().clone()
    }

    fn tool(&self, name: &str) -> Option<DemoTool> {
        self.tools().into_iter().find(|tool| tool.name == name)
    }
}

/// Serves on a free port of loopback until `stop`. Returns the URL without a path.
pub(super) async fn serve(
    router: axum::Router,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> std::io::Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    // Without this, small answers wait for the acknowledgement of the previous one.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let stop = stop.clone();
    tasks.spawn(async move {
        tokio::select! {
            _ = axum::serve(listener, router) => {}
            () = stop.cancelled() => {}
        }
    });
    Ok(format!("http://{address}"))
}

/// Counts a subscribed peer for as long as it lives.
struct Follower(DemoUpstream);

impl Follower {
    fn new(upstream: &DemoUpstream) -> Self {
        upstream.0.followers.send_modify(|count| *count += 1);
        Self(upstream.clone())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.0
            .0
            .followers
            .send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl ServerHandler for DemoUpstream {
    fn get_info(&self) -> ServerConfig {
        let profile = self.profile();
        let mut capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .build();
        if !profile.prompts.is_empty() {
            capabilities.prompts = Some(Default::default());
        }
        if !profile.resources.is_empty() {
            capabilities.resources = Some(Default::default());
        }
        let identity =
            Implementation::new(profile.name, env!("CARGO_PKG_VERSION")).with_title(profile.title);
        ServerConfig::new(capabilities)
            .with_server_info(identity)
            .with_instructions(profile.instructions)
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(match self.profile().is_legacy {
            true => ProtocolVersion::known_up_to(&ProtocolVersion::V_2025_11_25),
            false => ProtocolVersion::KNOWN_VERSIONS,
        })
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        self.0.peers.lock().push(context.peer);
        self.0.followers.send_modify(|count| *count += 1);
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(requested.supported_by(&self.get_info().capabilities))
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut changes = self.0.changes.subscribe();
        let _follower = Follower::new(self);
        loop {
            tokio::select! {
                () = context.cancelled() => return Ok(()),
                changed = changes.changed() => {
                    if changed.is_err() || context.sink().notify_tool_list_changed().await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.tools();
        let cursor = request.and_then(|request| request.cursor);
        let (page, next) = page(&tools, self.profile().pages, cursor.as_deref())
            .ok_or_else(|| ErrorData::invalid_params("this cursor is not of this server", None))?;
        let mut result = ListToolsResult::with_all_items(page.iter().map(definition).collect());
        result.next_cursor = next;
        Ok(result)
    }

    fn get_tool(&self, name: &str) -> Option<rmcp::model::Tool> {
        self.tool(name).as_ref().map(definition)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let unknown = || ErrorData::invalid_params(format!("unknown tool: {}", request.name), None);
        let tool = self.tool(&request.name).ok_or_else(unknown)?;
        tokio::select! {
            () = run_steps(&tool, &context) => {}
            () = context.ct.cancelled() => return Err(ErrorData::internal_error("cancelled", None)),
        }
        let mut arguments = request.arguments.unwrap_or_default();
        ask(&tool, &context, &mut arguments).await?;
        *self.0.last_arguments.lock() = json!(arguments).to_string();
        let result = match (tool.answer)(&arguments) {
            Ok(text) => CallToolResult::success(vec![ContentBlock::text(text)]),
            Err(text) => CallToolResult::error(vec![ContentBlock::text(text)]),
        };
        Ok(result.into())
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let prompts = self.profile().prompts.iter().map(|prompt| {
            let argument = PromptArgument::new(prompt.argument.name)
                .with_description(prompt.argument.description)
                .with_required(true);
            rmcp::model::Prompt::new(prompt.name, Some(prompt.description), Some(vec![argument]))
        });
        Ok(ListPromptsResult::with_all_items(prompts.collect()))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let prompt = self
            .profile()
            .prompts
            .iter()
            .find(|prompt| prompt.name == request.name);
        let prompt = prompt.ok_or_else(|| ErrorData::invalid_params("unknown prompt", None))?;
        let text = (prompt.text)(&request.arguments.unwrap_or_default())
            .map_err(|error| ErrorData::invalid_params(error, None))?;
        Ok(GetPromptResult::new(vec![PromptMessage::new_text(Role::User, text)]).into())
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let resources = self.profile().resources.iter().map(|resource| {
            rmcp::model::Resource::new(resource.uri, resource.name)
                .with_description(resource.description)
                .with_mime_type("text/plain")
        });
        Ok(ListResourcesResult::with_all_items(resources.collect()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let resource = self
            .profile()
            .resources
            .iter()
            .find(|resource| resource.uri == request.uri);
        let resource =
            resource.ok_or_else(|| ErrorData::resource_not_found("unknown resource", None))?;
        Ok(
            ReadResourceResult::new(vec![ResourceContents::text(resource.text, resource.uri)])
                .into(),
        )
    }
}

/// Runs the tool's steps, and reports each if the caller sent a progress token.
async fn run_steps(tool: &DemoTool, context: &RequestContext<RoleServer>) {
    let token = context.meta.get_progress_token();
    let total = u32::try_from(tool.steps.len()).map_or(0.0, f64::from);
    for (done, step) in (1_u32..).zip(tool.steps) {
        tokio::time::sleep(STEP).await;
        if let Some(token) = &token {
            let progress = ProgressNotificationParam::new(token.clone(), f64::from(done))
                .with_total(total)
                .with_message(*step);
            // If the caller has gone, the call is cancelled.
            let _ = context.peer.notify_progress(progress).await;
        }
    }
}

/// Asks the client what the tool wants to know, if it can be asked. Its answer becomes an argument.
async fn ask(
    tool: &DemoTool,
    context: &RequestContext<RoleServer>,
    arguments: &mut JsonObject,
) -> Result<(), ErrorData> {
    let client = context.peer.peer_info();
    let can_be_asked = client.is_some_and(|client| client.capabilities.elicitation.is_some());
    let Some(question) = tool.question.filter(|_| can_be_asked) else {
        return Ok(());
    };
    let schema = ElicitationSchema::builder().required_string(question.field);
    let asked = ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: question.message.to_owned(),
        requested_schema: schema.build_unchecked(),
    };
    let asked = ServerRequest::ElicitRequest(ElicitRequest::new(asked));
    let answered = context.peer.send_request(asked).await;
    let failed = |error: ServiceError| ErrorData::internal_error(error.to_string(), None);
    if let ClientResult::ElicitResult(answer) = answered.map_err(failed)?
        && let Some(said) = answer
            .content
            .as_ref()
            .and_then(|all| all.get(question.field))
    {
        arguments.insert(question.field.to_owned(), said.clone());
    }
    Ok(())
}

fn definition(tool: &DemoTool) -> rmcp::model::Tool {
    let properties = tool.arguments.iter().map(|argument| {
        let DemoArgument {
            name,
            kind,
            description,
        } = argument;
        (
            (*name).to_owned(),
            json!({ "type": kind, "description": description }),
        )
    });
    let required: Vec<&str> = tool
        .arguments
        .iter()
        .map(|argument| argument.name)
        .collect();
    let mut schema = JsonObject::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties.collect()));
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema.insert("additionalProperties".to_owned(), json!(false));
    rmcp::model::Tool::new(tool.name, tool.description, schema).with_annotations(
        ToolAnnotations::new()
            .read_only(tool.read_only)
            .destructive(false),
    )
}

/// Returns the page at `cursor` and the cursor of the next one; `None` if no page begins there.
fn page<'a>(
    tools: &'a [DemoTool],
    sizes: &[usize],
    cursor: Option<&str>,
) -> Option<(&'a [DemoTool], Option<String>)> {
    let sizes = sizes.iter().copied().filter(|size| *size > 0);
    let mut start = 0;
    for size in sizes.cycle().chain([tools.len()]) {
        let end = (start + size).min(tools.len());
        let here = cursor.is_none() || cursor == Some(cursor_at(start).as_str());
        if here {
            let next = (end < tools.len()).then(|| cursor_at(end));
            return tools.get(start..end).map(|page| (page, next));
        }
        if end == tools.len() {
            return None;
        }
        start = end;
    }
    None
}

fn cursor_at(start: usize) -> String {
    format!("from-{start}")
}

#[cfg(test)]
mod tests {
    use rmcp::ClientLifecycleMode;
    use rmcp::model::ServerNotification;

    use super::super::access::{KEY_HEADER, RequiredCredential};
    use super::super::client::{DemoClient, DemoClientError};
    use super::super::tools::{CRM, RESERVE_STOCK, WAREHOUSE};
    use super::*;
    use crate::secret::Secret;

    struct Hosted {
        upstream: DemoUpstream,
        url: String,
        stop: CancellationToken,
    }

    impl Drop for Hosted {
        fn drop(&mut self) {
            self.stop.cancel();
        }
    }

    async fn host(profile: &'static DemoProfile, key: Option<Secret>) -> Hosted {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let upstream = DemoUpstream::new(profile);
        let stop = CancellationToken::new();
        let check = key.map(|key| AccessCheck::new(RequiredCredential::Key(key)));
        let origin = upstream
            .serve_http("/mcp", check, &TaskTracker::new(), &stop)
            .await
            .unwrap();
        let url = format!("{origin}/mcp");
        Hosted {
            upstream,
            url,
            stop,
        }
    }

    fn http(key: Option<&'static str>) -> reqwest::Client {
        let mut headers = reqwest::header::HeaderMap::new();
        if let Some(key) = key {
            headers.insert(KEY_HEADER, reqwest::header::HeaderValue::from_static(key));
        }
        reqwest::Client::builder()
            .no_proxy()
            .default_headers(headers)
            .build()
            .unwrap()
    }

    fn modern() -> ClientLifecycleMode {
        ClientLifecycleMode::Discover {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
        }
    }

    #[test]
    fn pages_are_as_uneven_as_the_profile_says_and_lose_nothing() {
        let mut tools = WAREHOUSE.tools.to_vec();
        tools.push(RESERVE_STOCK);
        let (mut cursor, mut sizes, mut names) = (None, Vec::new(), Vec::new());
        loop {
            let (page, next) = page(&tools, WAREHOUSE.pages, cursor.as_deref()).unwrap();
            sizes.push(page.len());
            names.extend(page.iter().map(|tool| tool.name));
            match next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        assert_eq!(sizes, [3, 1, 4, 1]);
        assert_eq!(
            names,
            tools.iter().map(|tool| tool.name).collect::<Vec<_>>()
        );
        assert!(page(&tools, WAREHOUSE.pages, Some("from-2")).is_none());
        let (nothing, next) = page(&[], &[], None).unwrap();
        assert!(nothing.is_empty() && next.is_none());
    }

    #[tokio::test]
    async fn the_door_opens_for_the_key_and_for_nothing_else() {
        let crm = host(&CRM, Some(Secret::new("open sesame"))).await;
        for key in [None, Some("open barley")] {
            let error = DemoClient::connect(http(key), &crm.url).await.unwrap_err();
            assert!(matches!(error, DemoClientError::Connect(_)), "{error:?}");
            let answer = http(key).post(&crm.url).send().await.unwrap();
            assert_eq!(answer.status(), 401);
        }
        let client = DemoClient::connect(http(Some("open sesame")), &crm.url)
            .await
            .unwrap();
        assert_eq!(client.tools().await.unwrap().len(), CRM.tools.len());
        assert_eq!(client.prompts_and_resources().await.unwrap(), (1, 0));
    }

    #[tokio::test]
    async fn a_slow_tool_reports_every_step_in_order() {
        let warehouse = host(&WAREHOUSE, None).await;
        for lifecycle in [ClientLifecycleMode::Initialize, modern()] {
            let mut client = DemoClient::connect_as(lifecycle, http(None), &warehouse.url, None)
                .await
                .unwrap();
            assert_eq!(client.tools().await.unwrap().len(), WAREHOUSE.tools.len());
            let mut seen = Vec::new();
            let site = json!({ "site": "leeds" }).as_object().unwrap().clone();
            let answer = client
                .call("stock_report", site, &mut |step| seen.push(step.done))
                .await
                .unwrap();
            assert!(answer.text.starts_with("leeds: "), "{}", answer.text);
            assert_eq!(seen, [1.0, 2.0, 3.0, 4.0, 5.0]);
        }
    }

    #[tokio::test]
    async fn a_tool_that_fails_says_why() {
        let warehouse = host(&WAREHOUSE, None).await;
        let mut client = DemoClient::connect(http(None), &warehouse.url)
            .await
            .unwrap();
        let error = client
            .call("stock_report", JsonObject::new(), &mut |_| {})
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "stock_report reports an error: `site` must be a string"
        );
    }

    #[tokio::test]
    async fn a_legacy_server_asks_a_client_that_can_be_asked() {
        let crm = host(&CRM, None).await;
        let answer = json!({ "deal": "closing" });
        for (answer, logged) in [
            (Some(answer), "logged on ada@x, closing: hello"),
            (None, "logged on ada@x: hello"),
        ] {
            let asks = usize::from(answer.is_some());
            let lifecycle = ClientLifecycleMode::Initialize;
            let client = DemoClient::connect_as(lifecycle, http(None), &crm.url, answer);
            let mut client = client.await.unwrap();
            let arguments = json!({ "contact": "ada@x", "note": "hello" });
            let arguments = arguments.as_object().unwrap().clone();
            let called = client.call_and_answer("log_activity", arguments).await;
            let (answer, asked) = called.unwrap();
            assert_eq!(answer.text, logged);
            assert_eq!(asked.len(), asks);
        }
        let modern = DemoClient::connect_as(modern(), http(None), &crm.url, None).await;
        assert!(modern.is_err(), "it speaks no modern version");
    }

    #[tokio::test]
    async fn peers_of_both_eras_hear_of_a_new_tool() {
        let warehouse = host(&WAREHOUSE, None).await;
        let mut legacy = DemoClient::connect(http(None), &warehouse.url)
            .await
            .unwrap();
        let modern = DemoClient::connect_as(modern(), http(None), &warehouse.url, None)
            .await
            .unwrap();
        let filter = SubscriptionFilter::builder().tools_list_changed().build();
        let mut subscription = modern.subscribe(filter).await.unwrap();
        warehouse.upstream.wait_for_followers(2).await;
        warehouse.upstream.add_tool(RESERVE_STOCK).await;
        legacy.changed(0).await.unwrap();
        let heard = subscription.next().await.unwrap();
        assert!(
            matches!(
                heard,
                Some(ServerNotification::ToolListChangedNotification(_))
            ),
            "{heard:?}"
        );
        for client in [&legacy, &modern] {
            let tools = client.tools().await.unwrap();
            assert!(tools.iter().any(|tool| tool.name == RESERVE_STOCK.name));
        }
    }
}
