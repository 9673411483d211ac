//! The two connectors of AWS: the peculiarities of gateways and runtimes, behind servers that
//! recompute signatures.

mod gateway;
mod in_front;
mod runtime;

use serde_json::Value;

use crate::support::agentcore::{Agentcore, Arrived};
use crate::support::client::Reply;
use crate::support::weir::Weir;

/// A weir in front of one of them, `corp`.
async fn over(yaml: &str) -> Weir {
    Weir::with(yaml).start().await
}

/// The text of a call's result.
fn text(reply: &Reply) -> String {
    let value = reply.value();
    let text = value["content"][0]["text"].as_str();
    text.unwrap_or_else(|| panic!("no text: {reply:?}"))
        .to_owned()
}

/// Fails if a signature was rejected.
fn all_let_in(double: &Agentcore) {
    let refused: Vec<_> = double.arrived();
    let refused: Vec<_> = refused
        .iter()
        .filter_map(|one| one.refused.clone())
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
}

/// One member of `/upstreams`.
async fn told(weir: &Weir, member: &str) -> Value {
    weir.told("corp").await[member].clone()
}

fn headers(arrived: &[Arrived], name: &str) -> Vec<Option<String>> {
    let header = |one: &Arrived| one.header(name).map(str::to_owned);
    arrived.iter().map(header).collect()
}
