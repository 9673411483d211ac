//! The servers of the demo: the upstreams over HTTP, and what they checked.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;
use reqwest::StatusCode;

use super::access::{AccessCheck, RequiredCredential};
use super::client::PATIENCE;
use super::error::DemoError;
use super::frame::format_duration;
use super::secrets::random_secret;
use super::state::DemoState;
use super::tokens::{self, DemoTokenServer};
use super::tools::{CRM, DemoProfile, NOTES, OFFICE, WAREHOUSE};
use super::upstream::{self, DemoUpstream};
use super::weir::{self, Endpoints};
use crate::cli::output::count;
use crate::sigv4;

/// The access checks of the upstreams, and the server that issues tokens for one of them.
pub(super) struct AccessChecks {
    office: Arc<AccessCheck>,
    warehouse: Arc<AccessCheck>,
    tokens: Arc<DemoTokenServer>,
    crm: Arc<AccessCheck>,
}

/// A request without credentials, which has to be refused.
pub(super) struct UnauthenticatedRequest {
    pub name: &'static str,
    pub url: String,
    /// The expected status.
    pub refusal: StatusCode,
    pub without: &'static str,
}

/// Starts the upstreams over HTTP. Returns their access checks, and how to reach them.
pub(super) async fn start(
    state: &DemoState,
    warehouse: &DemoUpstream,
    program: PathBuf,
) -> Result<(AccessChecks, Endpoints), DemoError> {
    let secret = || random_secret().ok_or(DemoError::Random);
    let (office_key, client_secret, crm_key) = (secret()?, secret()?, secret()?);
    let access_key_id = "AKIADEMODEMODEMODEMO".to_owned();
    let office = AccessCheck::new(RequiredCredential::Signature(Box::new(sigv4::Verifier {
        access_key_id: access_key_id.clone(),
        secret_access_key: office_key.expose().to_owned(),
        session_token: None,
        region: weir::REGION.to_owned(),
        service: "bedrock-agentcore".to_owned(),
    })));
    let tokens = DemoTokenServer::new(client_secret.clone());
    let checks = AccessChecks {
        office,
        warehouse: AccessCheck::new(RequiredCredential::Token(Arc::clone(&tokens))),
        crm: AccessCheck::new(RequiredCredential::Key(crm_key.clone())),
        tokens,
    };
    let granting = Arc::clone(&checks.tokens);
    let grant =
        move |headers: HeaderMap, body: Bytes| async move { granting.grant(&headers, &body) };
    let granted = Router::new().route(tokens::PATH, post(grant));
    let (tasks, stop) = (&state.tasks, &state.stop);
    let tokens = upstream::serve(granted, tasks, stop).await;
    let name = "token endpoint";
    let tokens = tokens.map_err(|source| DemoError::Listen { name, source })?;
    let endpoints = Endpoints {
        office: serve_upstream(state, &DemoUpstream::new(&OFFICE), "/mcp", &checks.office).await?,
        office_key: (access_key_id, office_key),
        warehouse: serve_upstream(
            state,
            warehouse,
            "/runtimes/{arn}/invocations",
            &checks.warehouse,
        )
        .await?,
        token_url: format!("{tokens}{}", tokens::PATH),
        warehouse_secret: client_secret,
        crm: serve_upstream(state, &DemoUpstream::new(&CRM), "/mcp", &checks.crm).await?,
        crm_key,
        program,
    };
    Ok((checks, endpoints))
}

async fn serve_upstream(
    state: &DemoState,
    upstream: &DemoUpstream,
    path: &str,
    check: &Arc<AccessCheck>,
) -> Result<String, DemoError> {
    let (tasks, stop) = (&state.tasks, &state.stop);
    let served = upstream
        .serve_http(path, Some(Arc::clone(check)), tasks, stop)
        .await;
    let name = upstream.profile().name;
    served.map_err(|source| DemoError::Listen { name, source })
}

impl AccessChecks {
    /// Describes what each upstream checked.
    pub(super) fn describe(&self) -> Vec<(&'static DemoProfile, String)> {
        let Self {
            office,
            warehouse,
            tokens,
            crm,
        } = self;
        let (signed, unsigned) = office.counts();
        let (shown, without) = warehouse.counts();
        let (issued, ended) = tokens.counts();
        let (keys, keyless) = crm.counts();
        let signatures = count(signed, "signature");
        let (shown, issued) = (count(shown, "token"), count(issued, "token"));
        let sessions = count(warehouse.machines(), "session");
        let life = format_duration(tokens::LIFE);
        vec![
            (
                &OFFICE,
                format!(
                    "{signatures} verified against the bytes that arrived; {unsigned} rejected"
                ),
            ),
            (
                &WAREHOUSE,
                format!("{shown} checked, in {sessions}; {without} rejected"),
            ),
            (
                &WAREHOUSE,
                format!("{issued} issued for {life} each; {ended} expired by now"),
            ),
            (
                &CRM,
                format!("{} compared; {keyless} rejected", count(keys, "key")),
            ),
            (
                &NOTES,
                "a child process, which only weir can reach".to_owned(),
            ),
        ]
    }
}

/// Returns one for each upstream that requires credentials.
pub(super) fn unauthenticated_requests(endpoints: &Endpoints) -> [UnauthenticatedRequest; 3] {
    let warehouse = &endpoints.warehouse;
    [
        UnauthenticatedRequest {
            name: OFFICE.name,
            url: format!("{}/mcp", endpoints.office),
            refusal: StatusCode::FORBIDDEN,
            without: "without a signature",
        },
        UnauthenticatedRequest {
            name: WAREHOUSE.name,
            url: format!("{warehouse}{}", weir::runtime_target()),
            refusal: StatusCode::UNAUTHORIZED,
            without: "without a token",
        },
        UnauthenticatedRequest {
            name: CRM.name,
            url: format!("{}/mcp", endpoints.crm),
            refusal: StatusCode::UNAUTHORIZED,
            without: "without its x-api-key",
        },
    ]
}

impl UnauthenticatedRequest {
    /// Sends the request. Fails unless it is refused.
    pub(super) async fn expect_refusal(&self, http: &reqwest::Client) -> Result<(), DemoError> {
        let name = self.name;
        let asked = http.post(&self.url).timeout(PATIENCE).send().await;
        let answer = asked.map_err(|source| DemoError::NoAnswer { name, source })?;
        match answer.status() {
            status if status == self.refusal => Ok(()),
            status => Err(DemoError::Open { name, status }),
        }
    }
}
