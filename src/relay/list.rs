//! Lists of tools, prompts, resources and templates. The pages were rendered when the snapshot was
//! made; no upstream is asked.

use bytes::Bytes;

use crate::catalog::{Cursor, Kind};
use crate::json;
use crate::live::View;
use crate::protocol::era::Era;
use crate::protocol::error::Fault;
use crate::protocol::message::{self, Request};
use crate::protocol::meta;
use crate::relay::back::ReplySource;
use crate::relay::{Payload, Scope};

/// Answers with one page. A cursor names the generation of its pages, so a caller that pages while
/// the catalog changes misses no item and gets none twice.
///
/// # Errors
/// [`Fault::Cursor`] for a cursor that weir did not make, or whose pages are not kept any more.
pub(super) fn list(
    scope: &Scope<'_>,
    kind: Kind,
    request: &Request<'_>,
) -> Result<ReplySource, Fault> {
    let view = scope.view();
    let cursor = cursor_of(request)?;
    let mut head = Vec::with_capacity(96);
    message::begin_result(&request.id, &mut head);
    head.extend_from_slice(match scope.era() {
        Era::Legacy => b"{\"".as_slice(),
        Era::Modern => b"{\"resultType\":\"complete\",\"".as_slice(),
    });
    head.extend_from_slice(kind.member().as_bytes());
    head.extend_from_slice(b"\":[");
    let mut chunks = vec![Bytes::from(head)];
    let next = view.write_page(kind, scope.era(), cursor, &mut chunks);
    let next = next.ok_or(Fault::Cursor)?;
    let next = next.map(|next| next.encode());
    chunks.push(tail(scope.era(), next, view).into());
    Ok(ReplySource::Result(Payload::ok(chunks)))
}

/// Returns the end of a page, after the last item.
fn tail(era: Era, next: Option<String>, view: View<'_>) -> String {
    let mut tail = "]".to_owned();
    if let Some(next) = next {
        tail.push_str(&format!(",\"nextCursor\":\"{next}\""));
    }
    if era == Era::Modern {
        let (ttl, key, weir) = (
            view.ttl().as_millis(),
            meta::SERVER_INFO,
            view.server_info(),
        );
        tail.push_str(&format!(
            ",\"ttlMs\":{ttl},\"cacheScope\":\"private\",\"_meta\":{{\"{key}\":{weir}}}"
        ));
    }
    tail.push_str("}}");
    tail
}

/// Returns the cursor of a request, if it has one.
fn cursor_of(request: &Request<'_>) -> Result<Option<Cursor>, Fault> {
    match request.params.value("cursor") {
        None => Ok(None),
        Some(text) => {
            let text = json::string(text).ok_or(Fault::Cursor)?;
            let cursor = Cursor::decode(&text).map_err(|_| Fault::Cursor)?;
            Ok(Some(cursor))
        }
    }
}
