//! Requests about tasks. The id of a task names the upstream that runs it.
//!
//! Legacy (2025-11-25 `basic/utilities/tasks.mdx`) and modern (SEP-2663) have the same ids and
//! different methods.

use crate::bridge::task_ids;
use crate::json::{self, Object};
use crate::name::UpstreamId;
use crate::protocol::bounds::{self, TASK_ID_BYTES};
use crate::protocol::era::Era;
use crate::protocol::error::Fault;
use crate::protocol::message::{self, Request};
use crate::protocol::{meta, method};
use crate::relay::back::ReplySource;
use crate::relay::call::{Target, takes_tasks};
use crate::relay::named::beginning;
use crate::relay::settings::legacy_session;
use crate::relay::{Payload, Scope, guard, send};

/// Finds the upstream of a `tasks/get`, `tasks/result`, `tasks/update` or `tasks/cancel`.
///
/// # Errors
/// No such task, no such method in this era, or no upstream with tasks.
pub(super) fn target<'p>(
    scope: &Scope<'_>,
    request: &Request<'p>,
    method: &'static str,
) -> Result<Target<'p>, Fault> {
    let other_era = match scope.era() {
        Era::Legacy => method == method::TASKS_UPDATE,
        Era::Modern => method == method::TASKS_RESULT,
    };
    if other_era || nobody_has_tasks(scope) {
        return Err(Fault::Method(method.to_owned()));
    }
    if scope.era() == Era::Modern && !takes_tasks(request) {
        return Err(Fault::MissingExtension(meta::TASKS));
    }
    let mut params = request.params.clone();
    let id = bounds::string(&params, "taskId", TASK_ID_BYTES)?;
    let (upstream, original) = scope
        .task(&id)
        .ok_or_else(|| Fault::UnknownTask(beginning(&id)))?;
    let name = (scope.era() == Era::Modern).then(|| original.into());
    let original = json::quote(original);
    params.set("taskId", original);
    Ok(Target {
        continued: None,
        method,
        upstream,
        params,
        name,
        route: None,
        named: None,
        wraps_tasks: true,
    })
}

/// Returns whether every upstream is known to have no tasks. Weir has none of its own: then it does
/// not know their methods, like a server without them. An upstream that is not connected now may
/// have tasks.
fn nobody_has_tasks(scope: &Scope<'_>) -> bool {
    let view = scope.view();
    view.upstreams(scope.era()).all(|upstream| {
        view.peer(upstream)
            .is_some_and(|peer| match (scope.era(), peer.era()) {
                (Era::Legacy, Era::Legacy) => !peer.capabilities.tasks,
                // It may know both eras, and have tasks in the other one.
                (Era::Legacy, Era::Modern) => false,
                // The extension is of the modern era.
                (Era::Modern, Era::Legacy) => true,
                (Era::Modern, Era::Modern) => !peer.has_tasks_extension(),
            })
    })
}

/// Answers `tasks/list`, which is legacy only: upstream after upstream, page by page. A cursor is
/// the upstream's index in the config and, after a colon, the upstream's own cursor.
///
/// # Errors
/// A cursor that weir did not make, or no upstream with tasks.
pub(super) async fn list(scope: &Scope<'_>, request: &Request<'_>) -> Result<ReplySource, Fault> {
    let session = legacy_session(scope, method::TASKS_LIST)?;
    // An upstream lists the tasks of all of weir's callers: none of them is told of others'
    // (2025-11-25 `basic/utilities/tasks.mdx`, "Task Access Control").
    if scope.caller.owner().is_some() || nobody_has_tasks(scope) {
        return Err(Fault::Method(method::TASKS_LIST.to_owned()));
    }
    let (first, mut cursor) = cursor(scope, request)?;
    let upstreams = scope.view().upstreams(scope.era());
    let mut upstreams = upstreams.skip_while(|index| index.get() < first).peekable();
    while let Some(upstream) = upstreams.next() {
        let cursor = cursor.take();
        let permit = scope.permit(upstream)?;
        let link = scope.link(&permit)?;
        // No session is opened for an upstream that is known to have no tasks.
        let shared = link.current_peer();
        if shared.is_some_and(|peer| peer.era() == Era::Legacy && !peer.capabilities.tasks) {
            continue;
        }
        session.touch();
        let answer = send::list_tasks(scope, request, link, cursor.as_deref()).await?;
        let page = match answer {
            Some(Ok(result)) => Some(guard::check_page(scope, upstream, result).await?),
            Some(Err(_)) | None => None,
        };
        let page = page.as_deref().and_then(|page| Object::parse(page).ok());
        // If an upstream fails, only its own tasks are missing.
        let Some(page) = page else {
            continue;
        };
        let next = match page.string("nextCursor") {
            Some(next) => Some(task_ids::exposed(link.id(), &scope.caller, &next)),
            None => match upstreams.peek() {
                Some(next) => Some(task_ids::exposed(
                    scope.link(&scope.permit(*next)?)?.id(),
                    &scope.caller,
                    "",
                )),
                None => None,
            },
        };
        return Ok(rendered(scope, request, &page, link.id(), next));
    }
    let none = message::result(&request.id, "{\"tasks\":[]}");
    Ok(ReplySource::Result(Payload::ok(vec![none])))
}

/// Returns the index of the upstream to begin at, and its own cursor. A cursor names its upstream as
/// ids of tasks do: after a reload, positions in the config are others.
fn cursor(scope: &Scope<'_>, request: &Request<'_>) -> Result<(usize, Option<String>), Fault> {
    match request.params.value("cursor") {
        None => Ok((0, None)),
        Some(text) => {
            let text = json::string(text).ok_or(Fault::Cursor)?;
            let (upstream, rest) = scope.task(&text).ok_or(Fault::Cursor)?;
            Ok((upstream.get(), (!rest.is_empty()).then(|| rest.to_owned())))
        }
    }
}

fn rendered(
    scope: &Scope<'_>,
    request: &Request<'_>,
    page: &Object<'_>,
    upstream: &UpstreamId,
    next: Option<String>,
) -> ReplySource {
    let items = page.get("tasks").and_then(|text| json::array(text).ok());
    let wrapped = items.unwrap_or_default().into_iter().map(|item| {
        let mut item = Object::parse(item).unwrap_or_default();
        task_ids::wrap_id(&mut item, upstream, &scope.caller);
        item.to_text()
    });
    let tasks: Vec<String> = wrapped.collect();
    let mut result = format!("{{\"tasks\":[{}]", tasks.join(","));
    if let Some(next) = next {
        result.push_str(&format!(",\"nextCursor\":{}", json::quote(&next)));
    }
    result.push('}');
    let result = message::result(&request.id, &result);
    ReplySource::Result(Payload::ok(vec![result]))
}
