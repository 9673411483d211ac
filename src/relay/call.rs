//! Finds the upstream that a request goes to, by the tool, prompt or resource that it names, and
//! puts the upstream's own name in place of the exposed one.

use std::sync::Arc;

use crate::catalog::{Kind, Repetition, ResourceRoute, Route};
use crate::config::Retry;
use crate::json::{self, Object, ObjectError};
use crate::name::UpstreamIndex;
use crate::protocol::bounds::{self, EXPOSED_URI_BYTES, NAME_BYTES};
use crate::protocol::error::Fault;
use crate::protocol::message::Request;
use crate::protocol::{meta, method};
use crate::record::Record;
use crate::relay::Scope;
use crate::relay::named::{NamedRoute, beginning};
use crate::session::{ParkedTicket, RequestDigest};

/// A request for one upstream, with the names that the upstream knows.
#[derive(Debug)]
pub(super) struct Target<'p> {
    pub(super) method: &'static str,
    pub(super) upstream: UpstreamIndex,
    pub(super) params: Object<'p>,
    /// The upstream's own name or URI, for the header `Mcp-Name`.
    pub(super) name: Option<Arc<str>>,
    /// The tool, for `tools/call`.
    pub(super) route: Option<Route>,
    /// The route that a policy decides about; `None` where it was decided already.
    pub(super) named: Option<NamedRoute>,
    /// Whether there may be ids of tasks in the answer.
    pub(super) wraps_tasks: bool,
    /// The call that its `requestState` continues, or would be bound to, where that is known already.
    pub(super) continued: Option<Box<Continued>>,
}

/// The part of a request that states are bound to, and the call that it continues.
#[derive(Debug)]
pub(super) struct Continued {
    /// The digest of the request as its caller sent it.
    pub(super) digest: RequestDigest,
    /// The call that it continues; `None` for a request that begins one.
    pub(super) ticket: Option<ParkedTicket>,
}

impl Target<'_> {
    /// Returns whether the operator allows to send this call again though it may have run.
    pub(super) fn is_repeatable(&self, retry: &Retry) -> bool {
        retry.idempotent && self.repetition() != Repetition::Unknown
    }

    /// Returns whether the request changes nothing: it reads, or calls a tool whose annotations say
    /// so. A call that is to become a task is none, because it makes one.
    pub(super) fn only_reads(&self) -> bool {
        match self.method {
            method::RESOURCES_READ
            | method::PROMPTS_GET
            | method::COMPLETE
            | method::TASKS_GET
            | method::TASKS_RESULT => true,
            _ => self.repetition() == Repetition::ReadOnly && !self.params.contains("task"),
        }
    }

    fn repetition(&self) -> Repetition {
        let route = self.route.as_ref();
        route.map(Route::repetition).unwrap_or_default()
    }
}

/// Finds the tool of a `tools/call`.
///
/// # Errors
/// No name, or no such tool.
pub(super) fn tool<'p>(
    scope: &Scope<'_>,
    request: &Request<'p>,
    record: &mut Record,
) -> Result<Target<'p>, Fault> {
    let mut params = request.params.clone();
    let name = bounds::string(&params, "name", NAME_BYTES)?;
    let route = scope.view().tool(&name, scope.era());
    let route = route.ok_or_else(|| {
        note_denial(scope, Kind::Tools, &name, record);
        unknown_tool(scope, &name)
    })?;
    params.set("name", route.original_json().to_owned());
    Ok(Target {
        continued: None,
        method: method::TOOLS_CALL,
        upstream: route.upstream_index,
        params,
        name: Some(Arc::clone(route.original())),
        wraps_tasks: takes_tasks(request),
        named: Some(NamedRoute::of(Kind::Tools, &route)),
        route: Some(route),
    })
}

/// Notes in the record that a name is unknown to the caller because policy hides it. A name that has
/// data in it that may not pass to an upstream is not recorded.
pub(super) fn note_denial(scope: &Scope<'_>, kind: Kind, name: &str, record: &mut Record) {
    if !scope.view().may_tell_all(&json::quote(name)) {
        record.forget_name();
    }
    if let Some(decision) = scope.view().denied(kind, name, scope.era()) {
        record.set_decision(decision);
    }
}

/// Returns the error for a name that no tool has. If it begins like the names of an upstream that
/// could not be listed yet, that upstream is named: callers learn nothing but what the config says.
fn unknown_tool(scope: &Scope<'_>, name: &str) -> Fault {
    let tool = beginning(name);
    Fault::UnknownTool(match scope.view().unlisted(name) {
        Some((upstream, reason)) => {
            format!("{tool}; its upstream `{upstream}` has not been listed: {reason}")
        }
        None => tool,
    })
}

/// Finds the prompt of a `prompts/get`.
///
/// # Errors
/// No name, or no such prompt.
pub(super) fn prompt<'p>(
    scope: &Scope<'_>,
    request: &Request<'p>,
    record: &mut Record,
) -> Result<Target<'p>, Fault> {
    let mut params = request.params.clone();
    let name = bounds::string(&params, "name", NAME_BYTES)?;
    let route = scope.view().prompt(&name, scope.era());
    let route = route.ok_or_else(|| {
        note_denial(scope, Kind::Prompts, &name, record);
        Fault::UnknownPrompt(beginning(&name))
    })?;
    params.set("name", route.original_json().to_owned());
    Ok(Target {
        continued: None,
        method: method::PROMPTS_GET,
        upstream: route.upstream_index,
        params,
        name: Some(Arc::clone(route.original())),
        wraps_tasks: takes_tasks(request),
        route: None,
        named: Some(NamedRoute::of(Kind::Prompts, &route)),
    })
}

/// Finds the upstream that has the resource of a `resources/read`.
///
/// # Errors
/// There is no URI, or no upstream has it.
pub(super) fn resource<'p>(
    scope: &Scope<'_>,
    request: &Request<'p>,
    record: &mut Record,
) -> Result<Target<'p>, Fault> {
    let mut params = request.params.clone();
    let uri = bounds::string(&params, "uri", EXPOSED_URI_BYTES)?;
    let route = find_resource(scope, &uri, record)?;
    let named = scope
        .has_policy()
        .then(|| NamedRoute::resource(&route, &uri));
    if *route.uri != *uri {
        params.set("uri", json::quote(&route.uri));
    }
    Ok(Target {
        continued: None,
        method: method::RESOURCES_READ,
        upstream: route.upstream_index,
        params,
        named,
        name: Some(route.uri),
        wraps_tasks: takes_tasks(request),
        route: None,
    })
}

/// Finds the upstream that has a resource.
///
/// # Errors
/// No upstream that the caller sees has it.
pub(super) fn find_resource(
    scope: &Scope<'_>,
    uri: &str,
    record: &mut Record,
) -> Result<ResourceRoute, Fault> {
    scope.resource(uri).ok_or_else(|| {
        note_denial(scope, Kind::Resources, uri, record);
        Fault::UnknownResource {
            uri: uri.to_owned(),
        }
    })
}

/// Finds the upstream of the prompt or the resource template that a `completion/complete` refers
/// to.
///
/// # Errors
/// The reference leads nowhere.
pub(super) fn completion<'p>(
    scope: &Scope<'_>,
    request: &Request<'p>,
    record: &mut Record,
) -> Result<Target<'p>, Fault> {
    let mut params = request.params.clone();
    let reference = params.borrowed("ref").ok_or_else(|| missing("ref"))?;
    let mut reference = Object::parse(reference).map_err(params_fault)?;
    let (upstream, named) = match reference.string("type").as_deref() {
        Some("ref/prompt") => (complete_prompt(scope, &mut reference, record)?, None),
        Some("ref/resource") => complete_resource(scope, &mut reference, record)?,
        _ => {
            return Err(Fault::Params(
                "`ref.type` must be `ref/prompt` or `ref/resource`".into(),
            ));
        }
    };
    params.set("ref", reference.to_text());
    Ok(Target {
        continued: None,
        method: method::COMPLETE,
        upstream,
        params,
        name: None,
        route: None,
        named,
        wraps_tasks: false,
    })
}

/// Finds the prompt of a reference: one that the caller sees, whose completion tells no more.
fn complete_prompt(
    scope: &Scope<'_>,
    reference: &mut Object<'_>,
    record: &mut Record,
) -> Result<UpstreamIndex, Fault> {
    let name = reference
        .string("name")
        .ok_or_else(|| missing("ref.name"))?;
    bounds::check("ref.name", &name, NAME_BYTES)?;
    let route = scope.view().prompt(&name, scope.era());
    let route = route.ok_or_else(|| {
        note_denial(scope, Kind::Prompts, &name, record);
        Fault::UnknownPrompt(beginning(&name))
    })?;
    reference.set("name", route.original_json().to_owned());
    Ok(route.upstream_index)
}

/// Finds the resource template of a reference, or the resource: clients complete both.
fn complete_resource(
    scope: &Scope<'_>,
    reference: &mut Object<'_>,
    record: &mut Record,
) -> Result<(UpstreamIndex, Option<NamedRoute>), Fault> {
    let uri = reference.string("uri").ok_or_else(|| missing("ref.uri"))?;
    bounds::check("ref.uri", &uri, EXPOSED_URI_BYTES)?;
    if let Some(template) = scope.view().template(&uri, scope.era()) {
        reference.set("uri", template.original_json().to_owned());
        return Ok((template.upstream_index, None));
    }
    let route = find_resource(scope, &uri, record).inspect_err(|_| {
        note_denial(scope, Kind::Templates, &uri, record);
    })?;
    let named = scope
        .has_policy()
        .then(|| NamedRoute::resource(&route, &uri));
    if *route.uri != *uri {
        reference.set("uri", json::quote(&route.uri));
    }
    Ok((route.upstream_index, named))
}

/// Returns whether the capabilities of a modern request have tasks (SEP-2663).
pub(super) fn takes_tasks(request: &Request<'_>) -> bool {
    let own = request.meta.as_ref();
    own.and_then(|own| own.get(meta::CLIENT_CAPABILITIES))
        .is_some_and(|capabilities| capabilities.contains(meta::TASKS))
}

fn params_fault(error: ObjectError) -> Fault {
    match error {
        ObjectError::Duplicate(key) => Fault::DuplicateKey(key),
        ObjectError::Syntax(_) | ObjectError::NotObject => {
            Fault::Params("not a JSON object".into())
        }
    }
}

fn missing(what: &str) -> Fault {
    Fault::Params(format!("`{what}` must be a string"))
}
