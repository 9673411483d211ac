//! Messages between a caller and an upstream besides calls and their answers: requests of
//! upstreams, sessions, log levels, subscriptions, tasks, resumed streams.

mod asked;
mod chained;
mod extensions;
mod sessions;
mod spellings;
mod streams;
mod subscriptions;
mod tasks;
mod unasked;

use crate::support::asking::{Asking, Call};
use crate::support::client::{Ask, Legacy, Stream, call_params};
use crate::support::weir::Weir;

const V: &str = "2025-11-25";
/// The capabilities of a client that answers every request.
const ABLE: &str = r#"{"sampling":{"tools":{}},"elicitation":{"form":{},"url":{}},"roots":{"listChanged":true},"experimental":{"x":1e400}}"#;

/// Starts a weir over these upstreams.
async fn over<const N: usize>(upstreams: [&Asking; N]) -> Weir {
    let yaml: Vec<String> = upstreams.iter().map(|up| up.yaml()).collect();
    Weir::with(&yaml.concat()).start().await
}

/// Opens a session of a caller that answers every request.
async fn able(weir: &Weir) -> Legacy {
    Legacy::open_with(weir.url(), V, ABLE).await
}

/// Makes a call of a tool without arguments.
fn calls<'c>(caller: &'c Legacy, tool: &str) -> Ask<'c> {
    caller.ask("tools/call", &call_params(tool, "{}"))
}

/// Begins a call whose upstream sends the message `first` before anything else.
async fn begun(ask: Ask<'_>, up: &Asking, first: &str) -> (Stream, Call) {
    let upstream = async {
        let call = up.call().await;
        call.say(first).await;
        call
    };
    tokio::join!(ask.stream(), upstream)
}
