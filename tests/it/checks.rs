//! Conformance: one test for each of the main rules of the specification, from outside.
//!
//! Two things are missing, because weir cannot do them yet:
//!
//! - Callers that log in: 401, 403, sessions that belong to another caller, lists that differ by
//!   caller. It is tested that no credentials of a caller cross weir.
//! - Requests of a modern server to a legacy caller, and of a legacy server to a modern one. It is
//!   tested that such a call ends with the documented -32603 and does not hang.
//!
//! `face_modern`, `face_legacy`, `streams` and others test the details of each rule.

mod chains;
mod faults;
mod lists;
mod requests;
mod sessions;
mod streams;

use crate::support::client::{Ask, Legacy, Modern, Reply};
use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

const CLAIM: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const INFO: &str = "io.modelcontextprotocol/clientInfo";
const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// Weir over one modern upstream with three tools under the prefix `jira__`.
struct Rig {
    jira: Upstream,
    weir: Weir,
    modern: Modern,
}

impl Rig {
    async fn start() -> Self {
        let jira = Upstream::named("jira").tools(["search", "get", "close"]);
        let jira = jira.modern().start().await;
        let weir = Weir::over([&jira]).start().await;
        let modern = weir.modern();
        Self { jira, weir, modern }
    }

    async fn legacy(&self) -> Legacy {
        self.weir.legacy("2025-11-25").await
    }

    /// Makes a correct call.
    fn call(&self) -> Ask<'_> {
        self.modern.ask(
            "tools/call",
            r#"{"name":"jira__search","arguments":{"q":"x"}}"#,
        )
    }

    /// Asserts that nothing reached the upstream but weir's own requests.
    fn unasked(&self) {
        let methods = ["tools/call", "prompts/get", "resources/read", ""];
        let seen = self.jira.log().seen();
        let asked: usize = methods.iter().map(|method| seen.count(method)).sum();
        assert_eq!(asked, 0, "{seen:#?}");
    }
}

/// The only header of a call that has to do with its id is this id: a refusal must bring it back.
const ID: &str = "\"my id\"";

/// Sends it under [`ID`] and expects a refusal of that id.
async fn refused(ask: Ask<'_>, status: u16, code: i64) -> Reply {
    let what = ask.body();
    let reply = ask.id(ID).send().await;
    assert_eq!(
        (reply.status, reply.code()),
        (status, code),
        "{what}: {reply:?}"
    );
    assert_eq!(reply.id().as_deref(), Some(ID), "{reply:?}");
    is_json(&reply);
    reply
}

fn is_json(reply: &Reply) {
    assert_eq!(
        reply.header("content-type"),
        Some("application/json"),
        "{reply:?}"
    );
}
