//! Weir's capabilities as a server.

use crate::json::Object;
use crate::live::View;
use crate::protocol::era::Era;

/// Returns weir's `ServerCapabilities` as JSON text, for `initialize` and `server/discover`. Tasks
/// and extensions are there if an upstream that is connected now has them.
#[must_use]
pub fn capabilities(view: View<'_>, era: Era) -> String {
    let mut all = "{\"tools\":{\"listChanged\":true},\"prompts\":{\"listChanged\":true},\
        \"resources\":{\"subscribe\":true,\"listChanged\":true},\"completions\":{},\"logging\":{}"
        .to_owned();
    let peers = view.peers(era);
    match era {
        Era::Legacy if peers.iter().any(|peer| peer.capabilities.tasks) => all.push_str(
            ",\"tasks\":{\"list\":{},\"cancel\":{},\"requests\":{\"tools\":{\"call\":{}}}}",
        ),
        Era::Legacy => {}
        Era::Modern => {
            let extensions = peers.iter().map(|peer| Object::parse(&peer.extensions));
            let extensions: Vec<_> = extensions.flatten().collect();
            let mut union = Object::new();
            for (key, value) in extensions.iter().flat_map(Object::iter) {
                if !union.contains(key) {
                    union.set(key, value);
                }
            }
            if !union.is_empty() {
                all.push_str(&format!(",\"extensions\":{}", union.to_text()));
            }
        }
    }
    all.push('}');
    all
}

/// Returns the member `instructions` of weir's introduction with a comma before it; empty if there
/// are no instructions.
#[must_use]
pub fn instructions(view: View<'_>) -> String {
    let text = view.instructions();
    text.map_or_else(String::new, |text| format!(",\"instructions\":{text}"))
}
