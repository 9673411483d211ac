//! Rewrites ids of tasks. Two upstreams may use the same id, so callers get it with the upstream's
//! name before it, as `UPSTREAM.ID`. The first dot is the one between them: in the name, `.` is
//! written `~1` and `~` is written `~0`, so that no id can be taken for one of another upstream.
//!
//! Legacy (2025-11-25 `basic/utilities/tasks.mdx`) and modern (SEP-2663) have the same ids. An id
//! is enough to find its upstream, so any replica can.

use std::borrow::Cow;

use crate::caller::{Caller, Handle};
use crate::json::{self, Object};
use crate::name::UpstreamId;
use crate::protocol::{meta, method};

/// Returns the id that a caller sees: `UPSTREAM.ID`, where the id is bound to its principal.
#[must_use]
pub fn exposed(upstream: &UpstreamId, caller: &Caller, id: &str) -> String {
    let name = upstream.as_str();
    let id = caller.bind(Handle::Task, name, id);
    match name.contains(['.', '~']) {
        true => format!("{}.{id}", name.replace('~', "~0").replace('.', "~1")),
        false => format!("{name}.{id}"),
    }
}

/// Returns the name of the upstream and the id that it knows; `None` for text that is no id of weir's.
#[must_use]
pub fn split(exposed: &str) -> Option<(Cow<'_, str>, &str)> {
    let (name, id) = exposed.split_once('.')?;
    Some(match name.contains('~') {
        true => (Cow::Owned(name.replace("~1", ".").replace("~0", "~")), id),
        false => (Cow::Borrowed(name), id),
    })
}

/// Returns the id that the upstream knows; `None` if the exposed id does not name this upstream, or is
/// another principal's.
#[must_use]
pub fn original<'i>(upstream: &UpstreamId, caller: &Caller, exposed: &'i str) -> Option<&'i str> {
    let (name, id) = split(exposed)?;
    let id = (*name == *upstream.as_str()).then_some(id)?;
    caller.unbind(Handle::Task, upstream.as_str(), id)
}

/// Returns a result with its task ids as callers see them; `None` if it has none.
#[must_use]
pub fn wrap_result(text: &str, upstream: &UpstreamId, caller: &Caller) -> Option<String> {
    let mut result = Object::parse(text).ok()?;
    let mut changed =
        wrap_id(&mut result, upstream, caller) | wrap_meta(&mut result, upstream, caller);
    let task = result.borrowed("task").map(Object::parse);
    if let Some(Ok(mut task)) = task
        && wrap_id(&mut task, upstream, caller)
    {
        result.set("task", task.to_text());
        changed = true;
    }
    changed.then(|| result.to_text())
}

/// Rewrites the task ids in a notification's params to those that callers see.
pub fn wrap_params(envelope: &mut Object<'_>, upstream: &UpstreamId, caller: &Caller) {
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
    if (is_status && wrap_id(&mut params, upstream, caller))
        | wrap_meta(&mut params, upstream, caller)
    {
        let params = params.to_text();
        envelope.set("params", params);
    }
}

/// Rewrites the related task in `_meta` to the one that callers see, and returns whether there is
/// one.
pub fn wrap_related(own: &mut Object<'_>, upstream: &UpstreamId, caller: &Caller) -> bool {
    let Some(Ok(mut related)) = own.borrowed(meta::RELATED_TASK).map(Object::parse) else {
        return false;
    };
    let changed = wrap_id(&mut related, upstream, caller);
    if changed {
        own.set(meta::RELATED_TASK, related.to_text());
    }
    changed
}

/// Returns a caller's answer with the id of its related task as the upstream knows it; `None` if it
/// names no task of that upstream.
#[must_use]
pub fn unwrap_related(text: &str, upstream: &UpstreamId, caller: &Caller) -> Option<String> {
    if !text.contains(meta::RELATED_TASK) {
        return None;
    }
    let mut object = Object::parse(text).ok()?;
    let mut own = Object::parse(object.borrowed("_meta")?).ok()?;
    let mut related = Object::parse(own.borrowed(meta::RELATED_TASK)?).ok()?;
    let id = related.string("taskId")?;
    let original = json::quote(original(upstream, caller, &id)?);
    related.set("taskId", original);
    own.set(meta::RELATED_TASK, related.to_text());
    object.set("_meta", own.to_text());
    Some(object.to_text())
}

/// Rewrites the related task in the `_meta` of an object to the one that callers see, and returns
/// whether there is one.
pub fn wrap_meta(object: &mut Object<'_>, upstream: &UpstreamId, caller: &Caller) -> bool {
    let Some(Ok(mut own)) = object.borrowed("_meta").map(Object::parse) else {
        return false;
    };
    let changed = wrap_related(&mut own, upstream, caller);
    if changed {
        object.set("_meta", own.to_text());
    }
    changed
}

/// Rewrites the `taskId` of an object to the one that callers see, and returns whether there is
/// one.
pub fn wrap_id(object: &mut Object<'_>, upstream: &UpstreamId, caller: &Caller) -> bool {
    let Some(id) = object.string("taskId") else {
        return false;
    };
    let id = json::quote(&exposed(upstream, caller, &id));
    object.set("taskId", id);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_one_upstream_whatever_its_text() {
        let names = ["erp", "erp.x", "erp.", "erp..x", "a~b", "a~1b", "~", "a b"];
        let names = names.map(|name| UpstreamId::parse(name).unwrap());
        for upstream in &names {
            for id in ["7", ".x.7", "x.7", "", ".", "~1", "1x.7"] {
                let exposed = exposed(upstream, &Caller::anonymous(), id);
                let found: Vec<_> = names
                    .iter()
                    .filter_map(|other| {
                        Some((other, original(other, &Caller::anonymous(), &exposed)?))
                    })
                    .collect();
                assert_eq!(found, [(upstream, id)], "{exposed}");
            }
        }
    }

    #[test]
    fn ids_of_tasks_are_wrapped_wherever_they_stand() {
        let upstream = UpstreamId::parse("erp").unwrap();
        let wrap = |text| wrap_result(text, &upstream, &Caller::anonymous());
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
            wrap_params(&mut envelope, &upstream, &Caller::anonymous());
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
