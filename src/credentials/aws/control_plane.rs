//! The control plane of AgentCore gateways: has their targets read again (AgentCore control plane
//! API reference, "SynchronizeGatewayTargets").

use parking_lot::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::config::AwsCredentials;
use crate::credentials::aws::api::{AGENTCORE_CONTROL, Api, ApiError, ApiRequest};
use crate::credentials::aws::context::AwsContext;
use crate::credentials::context::CredentialsContext;
use crate::credentials::error::SetupError;
use crate::credentials::secrets::{OpenSecret, SecretUnavailable};

/// The shortest pause between two synchronizations: each makes every target list its server.
const MIN_PAUSE: Duration = Duration::from_secs(60);
/// The first pause between two requests for the status of a target; it doubles each time.
const FIRST_POLL_PAUSE: Duration = Duration::from_millis(500);
/// The longest of these pauses.
const MAX_POLL_PAUSE: Duration = Duration::from_secs(5);
/// The most pages of targets that are read.
const MAX_PAGES: usize = 20;
/// The most targets of a gateway that are read; AgentCore allows 100.
const MAX_TARGETS: usize = 1000;

/// The control plane of one gateway.
#[derive(Debug)]
pub struct ControlPlane {
    api: Api,
    gateway: String,
    last: Mutex<Option<Instant>>,
}

/// How many targets were synchronized.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncReport {
    /// Targets that now list what their servers have.
    pub done: usize,
    /// Targets that cannot be synchronized: they wait for a person's consent, have a schema of
    /// their own, are busy, or are not for MCP.
    pub skipped: usize,
    /// Targets whose synchronization failed.
    pub failed: usize,
}

/// The reason why the targets were not synchronized. Contains no text of a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SyncError(pub Box<str>);

impl From<ApiError> for SyncError {
    fn from(error: ApiError) -> Self {
        Self(error.to_string().into())
    }
}

/// The result for one target.
enum TargetOutcome {
    Done,
    Skipped,
    Failed,
}

impl ControlPlane {
    /// Creates the client for the gateway with this id. Opens no connection.
    ///
    /// # Errors
    /// A mistake in the config.
    pub fn new(
        gateway: &str,
        region: Option<&str>,
        credentials: &AwsCredentials,
        context: &CredentialsContext,
    ) -> Result<Self, SetupError> {
        let open = context.secrets.opener();
        Ok(Self::with_context(
            gateway,
            region,
            credentials,
            &context.into(),
            &open,
        )?)
    }

    /// Creates a client that may find AWS services at another endpoint, see
    /// [`AwsContext::endpoint`].
    ///
    /// # Errors
    /// A key of the config that cannot be opened.
    pub fn with_context(
        gateway: &str,
        region: Option<&str>,
        credentials: &AwsCredentials,
        context: &AwsContext,
        open: &OpenSecret<'_>,
    ) -> Result<Self, SecretUnavailable> {
        Ok(Self {
            api: Api::new(AGENTCORE_CONTROL, region, credentials, context, open)?,
            gateway: percent_encode(gateway),
            last: Mutex::default(),
        })
    }

    /// Has every target list its server again (`SynchronizeGatewayTargets`), one after the other,
    /// and waits until each is ready. Does nothing and returns `Ok(None)` if the last call was less
    /// than a minute ago.
    ///
    /// # Errors
    /// A call of the control plane failed, or the targets were not ready before `deadline`.
    pub async fn synchronize(&self, deadline: Instant) -> Result<Option<SyncReport>, SyncError> {
        {
            let mut last = self.last.lock();
            if last.is_some_and(|last| last.elapsed() < MIN_PAUSE) {
                return Ok(None);
            }
            *last = Some(Instant::now());
        }
        let round = async {
            let mut report = SyncReport::default();
            for target in self.list_targets(deadline).await? {
                match self.synchronize_target(&target, deadline).await? {
                    TargetOutcome::Done => report.done += 1,
                    TargetOutcome::Skipped => report.skipped += 1,
                    TargetOutcome::Failed => report.failed += 1,
                }
            }
            Ok(Some(report))
        };
        let timed_out = || SyncError("the gateway's targets were not synchronized in time".into());
        let ended = tokio::time::timeout_at(deadline, round).await;
        ended.unwrap_or_else(|_| Err(timed_out()))
    }

    /// Has the target with this name list its server again, and waits until it has.
    ///
    /// # Errors
    /// There is no such target, it cannot be synchronized now, a call of the control plane failed, or
    /// the target was not ready before `deadline`.
    pub async fn synchronize_one(&self, name: &str, deadline: Instant) -> Result<(), SyncError> {
        let round = async {
            let targets = self.list_targets(deadline).await?;
            let target = targets
                .iter()
                .find(|target| text(target, "name") == Some(name));
            let missing = || SyncError("the gateway has no target of this name".into());
            match self.synchronize_target(target.ok_or_else(missing)?, deadline).await? {
                TargetOutcome::Done => Ok(()),
                TargetOutcome::Skipped => Err(SyncError(
                    "the target cannot be synchronized now: it is busy, waits for consent, or has a schema of its own".into(),
                )),
                TargetOutcome::Failed => Err(SyncError(
                    "the gateway could not list the target: its status has the reason".into(),
                )),
            }
        };
        let timed_out = || SyncError("the target was not synchronized in time".into());
        let ended = tokio::time::timeout_at(deadline, round).await;
        ended.unwrap_or_else(|_| Err(timed_out()))
    }

    /// Lists the targets: all pages of `ListGatewayTargets`.
    async fn list_targets(&self, deadline: Instant) -> Result<Vec<Value>, SyncError> {
        let (mut targets, mut next) = (Vec::new(), None::<String>);
        for _ in 0..MAX_PAGES {
            let more = next.map_or(String::new(), |next| {
                format!("&nextToken={}", percent_encode(&next))
            });
            let target = format!("/gateways/{}/targets/?maxResults=100{more}", self.gateway);
            let mut page = self.call(Method::GET, &target, None, deadline).await?;
            if let Some(items) = page.get_mut("items").and_then(Value::as_array_mut) {
                targets.append(items);
            }
            next = text(&page, "nextToken").map(str::to_owned);
            if next.is_none() && targets.len() <= MAX_TARGETS {
                return Ok(targets);
            }
        }
        Err(SyncError(
            "the gateway lists more targets than it can have".into(),
        ))
    }

    async fn synchronize_target(
        &self,
        target: &Value,
        deadline: Instant,
    ) -> Result<TargetOutcome, SyncError> {
        let Some(id) = text(target, "targetId").filter(|_| is_synchronizable(target)) else {
            return Ok(TargetOutcome::Skipped);
        };
        let path = format!("/gateways/{}/synchronizeTargets", self.gateway);
        // The operation takes one target at a time.
        let body = json!({ "targetIdList": [id] });
        match self.call(Method::PUT, &path, Some(body), deadline).await {
            Ok(_) => {}
            // The target has a schema of its own, or was changed meanwhile.
            Err(ApiError::Rejected { status, kind, .. })
                if status == StatusCode::CONFLICT || kind == Some("ValidationException") =>
            {
                return Ok(TargetOutcome::Skipped);
            }
            Err(error) => return Err(error.into()),
        }
        let path = format!("/gateways/{}/targets/{}/", self.gateway, percent_encode(id));
        let mut pause = FIRST_POLL_PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_POLL_PAUSE);
            let answer = match self.call(Method::GET, &path, None, deadline).await {
                Ok(answer) => answer,
                Err(error) if error.is_temporary() => continue,
                Err(error) => return Err(error.into()),
            };
            match text(&answer, "status").unwrap_or_default() {
                "READY" => return Ok(TargetOutcome::Done),
                "SYNCHRONIZING" | "UPDATING" | "CREATING" => {}
                waiting if waiting.ends_with("PENDING_AUTH") => return Ok(TargetOutcome::Skipped),
                _ => return Ok(TargetOutcome::Failed),
            }
        }
    }

    async fn call(
        &self,
        method: Method,
        target: &str,
        body: Option<Value>,
        deadline: Instant,
    ) -> Result<Value, ApiError> {
        let body = body.map_or(Bytes::new(), |body| Bytes::from(body.to_string()));
        let call = ApiRequest {
            method,
            target,
            operation: None,
            body,
        };
        self.api.call(&call, deadline).await
    }
}

/// Returns whether AgentCore can synchronize a target: it is an MCP server whose listing is cached,
/// waits for no consent, and is not being changed.
fn is_synchronizable(target: &Value) -> bool {
    let kind = text(target, "targetType")
        .is_none_or(|kind| matches!(kind, "MCP_SERVER" | "AGENTCORE_RUNTIME"));
    let cached = text(target, "listingMode").is_none_or(|mode| mode == "DEFAULT");
    let status = text(target, "status").is_some_and(|status| {
        matches!(
            status,
            "READY" | "SYNCHRONIZE_UNSUCCESSFUL" | "UPDATE_UNSUCCESSFUL"
        )
    });
    kind && cached && status
}

fn text<'v>(value: &'v Value, member: &str) -> Option<&'v str> {
    value.get(member).and_then(Value::as_str)
}

/// Encodes a text as part of a path or a query (RFC 3986 §2.1).
pub(super) fn percent_encode(text: &str) -> String {
    let bytes = text.bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    });
    bytes.collect()
}
