//! Who is on stage: the upstreams over HTTP behind their doors, and what the doors have to say.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::routing::post;
use reqwest::StatusCode;

use super::client::PATIENCE;
use super::doors::{Door, Lock};
use super::frame::latency;
use super::tokens::{self, Tokens};
use super::tools::{CRM, NOTES, OFFICE, Profile, WAREHOUSE};
use super::upstream::{self, Upstream};
use super::weir::{self, Endpoints};
use super::{DemoError, Stage, random};
use crate::cli::output::count;
use crate::sigv4;

/// The doors, and what gives out the tokens for one of them.
pub(super) struct Doors {
    office: Arc<Door>,
    warehouse: Arc<Door>,
    tokens: Arc<Tokens>,
    crm: Arc<Door>,
}

/// Somebody at a door who shows nothing.
pub(super) struct Knock {
    pub name: &'static str,
    pub url: String,
    /// What there has to be for an answer.
    pub refusal: StatusCode,
    pub without: &'static str,
}

/// Upstreams behind doors, and how to get in.
pub(super) async fn open(
    stage: &Stage,
    warehouse: &Upstream,
    program: PathBuf,
) -> Result<(Doors, Endpoints), DemoError> {
    let secret = || random().ok_or(DemoError::Random);
    let (office_key, client_secret, crm_key) = (secret()?, secret()?, secret()?);
    let access_key_id = "AKIADEMODEMODEMODEMO".to_owned();
    let office = Door::new(Lock::Signature(Box::new(sigv4::Door {
        access_key_id: access_key_id.clone(),
        secret_access_key: office_key.expose().to_owned(),
        session_token: None,
        region: weir::REGION.to_owned(),
        service: "bedrock-agentcore".to_owned(),
    })));
    let tokens = Tokens::new(client_secret.clone());
    let doors = Doors {
        office,
        warehouse: Door::new(Lock::Token(Arc::clone(&tokens))),
        crm: Door::new(Lock::Key(crm_key.clone())),
        tokens,
    };
    let granting = Arc::clone(&doors.tokens);
    let grant =
        move |headers: HeaderMap, body: Bytes| async move { granting.grant(&headers, &body) };
    let granted = Router::new().route(tokens::PATH, post(grant));
    let (tasks, stop) = (&stage.tasks, &stage.stop);
    let tokens = upstream::serve(granted, tasks, stop).await;
    let name = "token endpoint";
    let tokens = tokens.map_err(|source| DemoError::Listen { name, source })?;
    let endpoints = Endpoints {
        office: serve(stage, &Upstream::new(&OFFICE), "/mcp", &doors.office).await?,
        office_key: (access_key_id, office_key),
        warehouse: serve(
            stage,
            warehouse,
            "/runtimes/{arn}/invocations",
            &doors.warehouse,
        )
        .await?,
        token_url: format!("{tokens}{}", tokens::PATH),
        warehouse_secret: client_secret,
        crm: serve(stage, &Upstream::new(&CRM), "/mcp", &doors.crm).await?,
        crm_key,
        program,
    };
    Ok((doors, endpoints))
}

async fn serve(
    stage: &Stage,
    upstream: &Upstream,
    path: &str,
    door: &Arc<Door>,
) -> Result<String, DemoError> {
    let (tasks, stop) = (&stage.tasks, &stage.stop);
    let served = upstream
        .serve_http(path, Some(Arc::clone(door)), tasks, stop)
        .await;
    let name = upstream.profile().name;
    served.map_err(|source| DemoError::Listen { name, source })
}

impl Doors {
    /// What each has checked.
    pub(super) fn saw(&self) -> Vec<(&'static Profile, String)> {
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
        let life = latency(tokens::LIFE);
        vec![
            (
                &OFFICE,
                format!(
                    "{signatures} recomputed from the bytes that arrived; {unsigned} turned away"
                ),
            ),
            (
                &WAREHOUSE,
                format!("{shown} checked, in {sessions}; {without} turned away"),
            ),
            (
                &WAREHOUSE,
                format!("{issued} issued for {life} each; {ended} over by now"),
            ),
            (
                &CRM,
                format!("{} compared; {keyless} turned away", count(keys, "key")),
            ),
            (
                &NOTES,
                "a child process: nobody but weir reaches it".to_owned(),
            ),
        ]
    }
}

/// One for each door.
pub(super) fn knocks(endpoints: &Endpoints) -> [Knock; 3] {
    let warehouse = &endpoints.warehouse;
    [
        Knock {
            name: OFFICE.name,
            url: format!("{}/mcp", endpoints.office),
            refusal: StatusCode::FORBIDDEN,
            without: "without a signature",
        },
        Knock {
            name: WAREHOUSE.name,
            url: format!("{warehouse}{}", weir::runtime_target()),
            refusal: StatusCode::UNAUTHORIZED,
            without: "without a token",
        },
        Knock {
            name: CRM.name,
            url: format!("{}/mcp", endpoints.crm),
            refusal: StatusCode::UNAUTHORIZED,
            without: "without its x-api-key",
        },
    ]
}

impl Knock {
    /// Asks for something; it has to be refused.
    pub(super) async fn on(&self, http: &reqwest::Client) -> Result<(), DemoError> {
        let name = self.name;
        let asked = http.post(&self.url).timeout(PATIENCE).send().await;
        let answer = asked.map_err(|source| DemoError::Door { name, source })?;
        match answer.status() {
            status if status == self.refusal => Ok(()),
            status => Err(DemoError::Open { name, status }),
        }
    }
}
