//! The control plane of AgentCore gateways.

use parking_lot::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::config::{AwsCredentials, SecretRef};
use crate::credentials::aws::With;
use crate::credentials::aws::api::{AGENTCORE_CONTROL, Api, ApiError, Call};
use crate::credentials::secrets::{SecretCell, SecretError};
use crate::credentials::{Around, SetupError};

/// Between two rounds: every target costs its server a listing.
const SPACING: Duration = Duration::from_secs(60);
/// Between two looks at a target, the first and the longest.
const LOOK: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];
/// Most pages of targets, and most targets (AgentCore allows 100 a gateway).
const PAGES: usize = 20;
const TARGETS: usize = 1000;

/// The control plane of one gateway.
#[derive(Debug)]
pub struct Control {
    api: Api,
    gateway: String,
    last: Mutex<Option<Instant>>,
}

/// What became of the targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synchronized {
    /// So many list what their servers have now.
    pub done: usize,
    /// So many were left alone: waiting for a person's consent, with a schema of their own, busy, or not for MCP.
    pub skipped: usize,
    /// So many could not be synchronized.
    pub failed: usize,
}

/// Why targets were not synchronized. Never a peer's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SyncError(pub Box<str>);

impl From<ApiError> for SyncError {
    fn from(error: ApiError) -> Self {
        Self(error.to_string().into())
    }
}

/// What became of one target.
enum End {
    Done,
    Skipped,
    Failed,
}

impl Control {
    /// Of the gateway with this id. Opens nothing.
    ///
    /// # Errors
    /// What shows in the config.
    pub fn new(
        gateway: &str,
        region: Option<&str>,
        credentials: &AwsCredentials,
        around: &Around,
    ) -> Result<Self, SetupError> {
        let open = |secret: &SecretRef| around.secrets.open(secret);
        Ok(Self::with(
            gateway,
            region,
            credentials,
            &around.into(),
            &open,
        )?)
    }

    /// The same, where AWS services may be elsewhere.
    ///
    /// # Errors
    /// A key of the config that cannot be opened.
    pub fn with(
        gateway: &str,
        region: Option<&str>,
        credentials: &AwsCredentials,
        with: &With,
        open: &dyn Fn(&SecretRef) -> Result<SecretCell, SecretError>,
    ) -> Result<Self, SecretError> {
        Ok(Self {
            api: Api::new(AGENTCORE_CONTROL, region, credentials, with, open)?,
            gateway: encoded(gateway),
            last: Mutex::default(),
        })
    }

    /// Has every target list what its server has now (`SynchronizeGatewayTargets`), one after the other, and waits
    /// until each is ready. Asked again within a minute it does nothing (`Ok(None)`).
    ///
    /// # Errors
    /// The control plane could not be asked, or not until `deadline`.
    pub async fn synchronize(&self, deadline: Instant) -> Result<Option<Synchronized>, SyncError> {
        {
            let mut last = self.last.lock();
            if last.is_some_and(|last| last.elapsed() < SPACING) {
                return Ok(None);
            }
            *last = Some(Instant::now());
        }
        let round = async {
            let mut ends = Synchronized::default();
            for target in self.targets(deadline).await? {
                match self.target(&target, deadline).await? {
                    End::Done => ends.done += 1,
                    End::Skipped => ends.skipped += 1,
                    End::Failed => ends.failed += 1,
                }
            }
            Ok(Some(ends))
        };
        let slow = || SyncError("the gateway's targets were not synchronized in time".into());
        let ended = tokio::time::timeout_at(deadline, round).await;
        ended.unwrap_or_else(|_| Err(slow()))
    }

    /// `ListGatewayTargets`, all pages.
    async fn targets(&self, deadline: Instant) -> Result<Vec<Value>, SyncError> {
        let (mut targets, mut next) = (Vec::new(), None::<String>);
        for _ in 0..PAGES {
            let more = next.map_or(String::new(), |next| {
                format!("&nextToken={}", encoded(&next))
            });
            let target = format!("/gateways/{}/targets/?maxResults=100{more}", self.gateway);
            let mut page = self.call(Method::GET, &target, None, deadline).await?;
            if let Some(items) = page.get_mut("items").and_then(Value::as_array_mut) {
                targets.append(items);
            }
            next = text(&page, "nextToken").map(str::to_owned);
            if next.is_none() && targets.len() <= TARGETS {
                return Ok(targets);
            }
        }
        Err(SyncError(
            "the gateway lists more targets than it can have".into(),
        ))
    }

    async fn target(&self, target: &Value, deadline: Instant) -> Result<End, SyncError> {
        let Some(id) = text(target, "targetId").filter(|_| is_synchronizable(target)) else {
            return Ok(End::Skipped);
        };
        let path = format!("/gateways/{}/synchronizeTargets", self.gateway);
        // One at a time is all that the operation takes.
        let body = json!({ "targetIdList": [id] });
        match self.call(Method::PUT, &path, Some(body), deadline).await {
            Ok(_) => {}
            // A schema of its own, or changed meanwhile.
            Err(ApiError::Refused { status, kind, .. })
                if status == StatusCode::CONFLICT || kind == Some("ValidationException") =>
            {
                return Ok(End::Skipped);
            }
            Err(error) => return Err(error.into()),
        }
        let path = format!("/gateways/{}/targets/{}/", self.gateway, encoded(id));
        let [mut pause, longest] = LOOK;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
            let said = match self.call(Method::GET, &path, None, deadline).await {
                Ok(said) => said,
                Err(error) if error.is_passing() => continue,
                Err(error) => return Err(error.into()),
            };
            match text(&said, "status").unwrap_or_default() {
                "READY" => return Ok(End::Done),
                "SYNCHRONIZING" | "UPDATING" | "CREATING" => {}
                waiting if waiting.ends_with("PENDING_AUTH") => return Ok(End::Skipped),
                _ => return Ok(End::Failed),
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
        let call = Call {
            method,
            target,
            operation: None,
            body,
        };
        self.api.call(&call, deadline).await
    }
}

/// Whether AgentCore takes the operation for a target like this: an MCP server with a cached listing, not waiting for
/// a person's consent, not in the middle of something else.
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

/// As part of a path or a query.
fn encoded(text: &str) -> String {
    let bytes = text.bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        other => format!("%{other:02X}"),
    });
    bytes.collect()
}
