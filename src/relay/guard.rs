//! The guard: checks the data of a permitted request before it is sent to an upstream.

use crate::policy::Permit;
use crate::protocol::error::Fault;
use crate::protocol::headers;
use crate::record::Record;
use crate::relay::Scope;
use crate::relay::call::Target;

/// A request whose data passed, with the permit to send it.
#[derive(Debug)]
pub(super) struct Guarded<'p> {
    pub(super) permit: Permit,
    pub(super) target: Target<'p>,
}

/// Checks the arguments of a tool call against the HTTP headers that repeat some of them
/// (2026-07-28 `basic/transports/streamable-http.mdx`), and applies the operator's rules for hidden
/// and fixed arguments. Other requests pass unchanged. Policy decides last, about the arguments as
/// they are sent.
///
/// # Errors
/// A header differs from its argument, the operator hides an argument, the arguments are no object,
/// or policy denies the request.
pub(super) fn check<'p>(
    scope: &Scope<'_>,
    mut target: Target<'p>,
    record: &mut Record,
) -> Result<Guarded<'p>, Fault> {
    if let Some(route) = &target.route {
        // First the headers: they repeat the arguments as the caller sent them.
        if let Some(found) = scope.headers {
            let arguments = target.params.get("arguments");
            headers::check_params(found, route.header_params(), arguments)?;
        }
        let rules = route.argument_rules();
        let changed = match rules {
            Some(rules) => rules
                .apply(target.params.get("arguments"))?
                .map(|text| text.into_owned()),
            None => None,
        };
        if let Some(changed) = changed {
            target.params.set("arguments", changed);
        }
    }
    let permit = match &target.named {
        Some(named) => {
            let arguments = target.params.get("arguments");
            scope.permit_named(target.upstream, named, arguments, Some(record))?
        }
        None => scope.permit(target.upstream)?,
    };
    Ok(Guarded { permit, target })
}
