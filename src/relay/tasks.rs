//! Tasks: their ids are their upstream's own, so a caller gets them with the upstream's name before them.
//!
//! Legacy (2025-11-25 `basic/utilities/tasks.mdx`) and modern (SEP-2663) have the same ids and different methods.
//! Ids carry all that is needed, so that any replica can find the upstream.

use std::sync::Arc;

use crate::json::{self, Object};
use crate::live::Snapshot;
use crate::name::{UpstreamId, UpstreamIndex};
use crate::protocol::era::Era;
use crate::protocol::error::Fault;
use crate::protocol::message::{self, Request};
use crate::protocol::{meta, method};
use crate::relay::call::{Target, forward, missing, takes_tasks};
use crate::relay::session::ask_seated;
use crate::relay::{Payload, Reply, Scope};
use crate::upstream::Link;

/// The id that callers see: `UPSTREAM.ID`.
pub fn exposed(upstream: &UpstreamId, id: &str) -> String {
    format!("{upstream}.{id}")
}

/// The upstream of an exposed id, by trying each name, and the id it knows.
pub fn find<'s, 'i>(
    snapshot: &'s Snapshot,
    id: &'i str,
) -> Option<(UpstreamIndex, &'s Arc<Link>, &'i str)> {
    let fits = |(index, link): (usize, &'s Arc<Link>)| {
        let rest = id.strip_prefix(link.id().as_str())?.strip_prefix('.')?;
        Some((UpstreamIndex::new(index), link, rest))
    };
    let found = snapshot.links.iter().enumerate().filter_map(fits);
    found.min_by_key(|(_, _, rest)| rest.len())
}

/// `tasks/get`, `tasks/result`, `tasks/update`, `tasks/cancel`.
///
/// # Errors
/// No such task, no such method in this era, an upstream that cannot be reached.
pub(super) async fn task(
    scope: &Scope<'_>,
    request: &Request<'_>,
    method: &'static str,
) -> Result<Reply, Fault> {
    let other_era = match scope.era() {
        Era::Legacy => method == method::TASKS_UPDATE,
        Era::Modern => method == method::TASKS_RESULT,
    };
    if other_era {
        return Err(Fault::Method(method.to_owned()));
    }
    if scope.era() == Era::Modern && !takes_tasks(request) {
        return Err(Fault::MissingExtension(meta::TASKS));
    }
    let mut params = request.params.clone();
    let id = params
        .string("taskId")
        .ok_or_else(|| missing("taskId"))?
        .into_owned();
    let (upstream_index, _, original) = find(&scope.snapshot, &id)
        .ok_or_else(|| Fault::UnknownTask(id.chars().take(200).collect()))?;
    params.set("taskId", json::quote(original));
    let target = Target {
        method,
        upstream_index,
        params,
        name: (scope.era() == Era::Modern).then_some(original.into()),
        route: None,
        wraps_tasks: true,
    };
    forward(scope, request, target).await
}

/// `tasks/list`, legacy only: upstream after upstream, page by page.
///
/// # Errors
/// A cursor that weir did not hand out.
pub(super) async fn list(scope: &Scope<'_>, request: &Request<'_>) -> Result<Reply, Fault> {
    let Some(caller) = scope.caller.filter(|_| scope.era() == Era::Legacy) else {
        return Err(Fault::Method(method::TASKS_LIST.to_owned()));
    };
    let (mut first, mut cursor) = match request.params.get("cursor") {
        None | Some("null") => (0, None),
        Some(text) => {
            let text = json::string(text).ok_or(Fault::Cursor)?;
            let (index, rest) = text.split_once(':').ok_or(Fault::Cursor)?;
            let index: usize = index.parse().map_err(|_| Fault::Cursor)?;
            (index, (!rest.is_empty()).then(|| rest.to_owned()))
        }
    };
    while let Some(link) = scope.snapshot.links.get(first) {
        // No session is opened for nothing.
        let shared = link.current_peer();
        if shared.is_some_and(|peer| peer.era() == Era::Legacy && !peer.capabilities.tasks) {
            (first, cursor) = (first + 1, None);
            continue;
        }
        let mut params = Object::new();
        if let Some(cursor) = cursor.take() {
            params.set("cursor", json::quote(&cursor));
        }
        let deadline = link.list_deadline();
        params.set("_meta", super::hops::meta(scope, request, deadline)?);
        let seat = super::call::seat(scope, link, deadline).await;
        let peer = seat
            .ok()
            .filter(|peer| peer.capabilities.tasks && peer.era() == Era::Legacy);
        let Some(peer) = peer else {
            first += 1;
            continue;
        };
        caller.touch();
        let params = params.to_text();
        let answer = ask_seated(scope, link, peer, method::TASKS_LIST, params, deadline).await;
        let page = match &answer {
            Ok(Ok(result)) => Object::parse(result).ok(),
            Ok(Err(_)) | Err(_) => None,
        };
        // One upstream that fails hides its own tasks and no others.
        let Some(page) = page else {
            first += 1;
            continue;
        };
        let next = match page.string("nextCursor") {
            Some(next) => Some(format!("{first}:{next}")),
            None if first + 1 < scope.snapshot.links.len() => Some(format!("{}:", first + 1)),
            None => None,
        };
        return Ok(answered(request, &page, link.id(), next));
    }
    let none = message::result(&request.id, "{\"tasks\":[]}");
    Ok(Reply::ready(Payload::ok(vec![none])))
}

fn answered(
    request: &Request<'_>,
    page: &Object<'_>,
    upstream: &UpstreamId,
    next: Option<String>,
) -> Reply {
    let items = page.get("tasks").and_then(|text| json::array(text).ok());
    let wrapped = items.unwrap_or_default().into_iter().map(|item| {
        let mut item = Object::parse(item).unwrap_or_default();
        wrap_id(&mut item, upstream);
        item.to_text()
    });
    let tasks: Vec<String> = wrapped.collect();
    let mut result = format!("{{\"tasks\":[{}]", tasks.join(","));
    if let Some(next) = next {
        result.push_str(&format!(",\"nextCursor\":{}", json::quote(&next)));
    }
    result.push('}');
    Reply::ready(Payload::ok(vec![message::result(&request.id, &result)]))
}

/// A result with its task ids as callers see them; `None` where it has none.
pub(super) fn wrap_result(text: &str, upstream: &UpstreamId) -> Option<String> {
    let mut result = Object::parse(text).ok()?;
    let mut changed = wrap_id(&mut result, upstream) | wrap_meta(&mut result, upstream);
    let task = result.borrowed("task").map(Object::parse);
    if let Some(Ok(mut task)) = task
        && wrap_id(&mut task, upstream)
    {
        result.set("task", task.to_text());
        changed = true;
    }
    changed.then(|| result.to_text())
}

/// Params of a notification with their task ids as callers see them.
pub(super) fn wrap_params(envelope: &mut Object<'_>, upstream: &UpstreamId) {
    let Some(text) = envelope.borrowed("params") else {
        return;
    };
    if !text.contains("taskId") {
        return;
    }
    let is_status = envelope
        .string("method")
        .is_some_and(|name| [method::TASKS_STATUS, method::TASK_STATUS].contains(&name.as_ref()));
    let Ok(mut params) = Object::parse(text) else {
        return;
    };
    if (is_status && wrap_id(&mut params, upstream)) | wrap_meta(&mut params, upstream) {
        let params = params.to_text();
        envelope.set("params", params);
    }
}

/// `_meta` with the task it belongs to as callers see it.
pub(super) fn wrap_related(own: &mut Object<'_>, upstream: &UpstreamId) -> bool {
    let Some(Ok(mut related)) = own.borrowed(meta::RELATED_TASK).map(Object::parse) else {
        return false;
    };
    let changed = wrap_id(&mut related, upstream);
    if changed {
        own.set(meta::RELATED_TASK, related.to_text());
    }
    changed
}

/// A caller's answer with the task it belongs to as the upstream knows it; `None` where it names none of that
/// upstream's.
pub(super) fn unwrap_related(text: &str, upstream: &UpstreamId) -> Option<String> {
    if !text.contains(meta::RELATED_TASK) {
        return None;
    }
    let mut object = Object::parse(text).ok()?;
    let mut own = Object::parse(object.borrowed("_meta")?).ok()?;
    let mut related = Object::parse(own.borrowed(meta::RELATED_TASK)?).ok()?;
    let id = related.string("taskId")?;
    let original = id.strip_prefix(upstream.as_str())?.strip_prefix('.')?;
    let original = json::quote(original);
    related.set("taskId", original);
    own.set(meta::RELATED_TASK, related.to_text());
    object.set("_meta", own.to_text());
    Some(object.to_text())
}

/// `_meta` of an object with the task it belongs to as callers see it.
pub(super) fn wrap_meta(object: &mut Object<'_>, upstream: &UpstreamId) -> bool {
    let Some(Ok(mut own)) = object.borrowed("_meta").map(Object::parse) else {
        return false;
    };
    let changed = wrap_related(&mut own, upstream);
    if changed {
        object.set("_meta", own.to_text());
    }
    changed
}

fn wrap_id(object: &mut Object<'_>, upstream: &UpstreamId) -> bool {
    let Some(id) = object.string("taskId") else {
        return false;
    };
    let id = json::quote(&exposed(upstream, &id));
    object.set("taskId", id);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_tasks_are_wrapped_wherever_they_stand() {
        let upstream = UpstreamId::parse("erp").unwrap();
        let wrap = |text| wrap_result(text, &upstream);
        assert_eq!(
            wrap(r#"{"task":{"taskId":"7","ttl":1e3}}"#).unwrap(),
            r#"{"task":{"taskId":"erp.7","ttl":1e3}}"#
        );
        assert_eq!(
            wrap(r#"{"resultType":"task","taskId":"7"}"#).unwrap(),
            r#"{"resultType":"task","taskId":"erp.7"}"#
        );
        assert_eq!(
            wrap(
                r#"{"content":[],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"7"}}}"#
            )
            .unwrap(),
            r#"{"content":[],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"erp.7"}}}"#
        );
        assert_eq!(wrap(r#"{"content":[{"taskId":"mine"}]}"#), None);
    }

    #[test]
    fn a_notification_keeps_its_own_task_id_unless_it_is_about_a_task() {
        let upstream = UpstreamId::parse("erp").unwrap();
        let wrap = |text| {
            let mut envelope = Object::parse(text).unwrap();
            wrap_params(&mut envelope, &upstream);
            envelope.to_text()
        };
        assert_eq!(
            wrap(r#"{"method":"notifications/tasks/status","params":{"taskId":"7"}}"#),
            r#"{"method":"notifications/tasks/status","params":{"taskId":"erp.7"}}"#
        );
        let foreign = r#"{"method":"x/y","params":{"taskId":"7"}}"#;
        assert_eq!(wrap(foreign), foreign);
    }
}
