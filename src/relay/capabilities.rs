//! Weir's capabilities as a server.

use std::sync::Arc;

use crate::caller::Caller;
use crate::json::Object;
use crate::live::View;
use crate::protocol::era::Era;
use crate::protocol::meta;
use crate::upstream::Peer;

/// Returns weir's `ServerCapabilities` as JSON text, for `initialize` and `server/discover`. Tasks
/// and extensions are there if an upstream that is connected now has them.
#[must_use]
pub fn capabilities(view: View<'_>, caller: &Caller, era: Era) -> String {
    let mut all = "{\"tools\":{\"listChanged\":true},\"prompts\":{\"listChanged\":true},\
        \"resources\":{\"subscribe\":true,\"listChanged\":true},\"completions\":{},\"logging\":{}"
        .to_owned();
    let [modern, legacy] = [Era::Modern, Era::Legacy].map(|of| view.peers(of, era));
    // Apps are tools and resources, which cross eras. Tasks of 2025-11-25 are no extension.
    let mut extensions = Object::new();
    let apps = find_extension(modern.iter().chain(&legacy), meta::APPS);
    let tasks = match era {
        Era::Modern => find_extension(modern.iter(), meta::TASKS),
        Era::Legacy => None,
    };
    // No other extension is announced, because weir does not route the methods that it may have:
    // a client that saw it would use them, and get -32601.
    for (name, settings) in [(meta::APPS, apps), (meta::TASKS, tasks)] {
        if let Some(settings) = settings {
            extensions.set(name, settings);
        }
    }
    if era == Era::Legacy && legacy.iter().any(|peer| peer.capabilities.tasks) {
        // See `tasks/list`.
        let list = match caller.owner() {
            Some(_) => "",
            None => "\"list\":{},",
        };
        all.push_str(&format!(
            ",\"tasks\":{{{list}\"cancel\":{{}},\"requests\":{{\"tools\":{{\"call\":{{}}}}}}}}"
        ));
    }
    if !extensions.is_empty() {
        all.push_str(&format!(",\"extensions\":{}", extensions.to_text()));
    }
    all.push('}');
    all
}

/// Returns the member `instructions` of weir's introduction with a comma before it; empty if there
/// are no instructions.
#[must_use]
pub fn instructions(view: View<'_>, era: Era) -> String {
    let text = view.instructions(era);
    text.map_or_else(String::new, |text| format!(",\"instructions\":{text}"))
}

/// Returns what the first upstream with this extension says of it, as JSON text.
fn find_extension<'p>(
    mut peers: impl Iterator<Item = &'p Arc<Peer>>,
    name: &str,
) -> Option<String> {
    peers.find_map(|peer| {
        let extensions = Object::parse(&peer.extensions).ok()?;
        extensions.get(name).map(str::to_owned)
    })
}
