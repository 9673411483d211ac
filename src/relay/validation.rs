//! Checks of a tool's arguments and results by `guard.validate`. The operator is told what was found
//! in the log and in the metrics, with place and rule and nothing of the data.

use std::borrow::Cow;
use std::sync::Arc;

use crate::catalog::Route;
use crate::config::{InvisibleAction, ValidateAction, ValidateSettings};
use crate::guard::validate::{self, Checked, FindingKind, Schemas};
use crate::json::Object;
use crate::large::take_turn;
use crate::metrics::UpstreamMetrics;
use crate::protocol::error::Fault;
use crate::protocol::message::{Message, Outcome};
use crate::relay::Scope;
use crate::upstream::Link;

/// Checks the arguments of a call. Returns what takes their place where the config says so.
///
/// # Errors
/// They are refused: the caller gets the text in a tool error.
pub(super) async fn check_arguments(
    scope: &Scope<'_>,
    route: &Route,
    arguments: Option<&str>,
) -> Result<Option<String>, Fault> {
    let Some(settings) = route.validate() else {
        return Ok(None);
    };
    let schemas = &scope.snapshot.schemas;
    let definition = route.listed_definition();
    let turn = take_turn(arguments.map_or(0, str::len) + definition.len()).await;
    let (tool, problems) = schemas.of(definition, settings);
    let checked = validate::check_arguments(settings, &tool, arguments);
    drop(turn);
    if !(problems.is_empty() && checked.findings.is_empty()) {
        let upstream = scope.snapshot.metrics.upstream(&route.upstream);
        let request_id = scope.trace.request_id();
        report_problems(&upstream, &route.exposed, &problems);
        report(&upstream, &route.exposed, "arguments", &checked, request_id);
    }
    match checked.refusal() {
        Some(refusal) => Err(Fault::Params(format!(
            "the arguments of {} do not fit: {}",
            route.exposed, refusal.text
        ))),
        None => Ok(checked.changed),
    }
}

/// The checks of the result of one call.
pub(super) struct ResultChecks {
    settings: ValidateSettings,
    schemas: Arc<Schemas>,
    definition: Arc<str>,
    /// The exposed name of the tool.
    tool: Arc<str>,
}

impl ResultChecks {
    /// Returns the checks of results of a tool; `None` if there are none.
    pub(super) fn of(scope: &Scope<'_>, route: &Route) -> Option<Self> {
        let settings = *route.validate()?;
        let is_off = settings.results == ValidateAction::Off
            && settings.invisible_results == InvisibleAction::Off;
        (!is_off).then(|| Self {
            settings,
            schemas: Arc::clone(&scope.snapshot.schemas),
            definition: Arc::clone(route.listed_definition()),
            tool: Arc::clone(&route.exposed),
        })
    }

    /// Checks the result in a message of an upstream, if it has one, and changes it where the config says
    /// so.
    ///
    /// # Errors
    /// The result is refused.
    pub(super) fn check_message<'t>(
        &self,
        text: &'t str,
        link: &Link,
        request_id: &str,
    ) -> Result<Cow<'t, str>, Fault> {
        let Ok(Message::Response(response)) = Message::parse(text) else {
            return Ok(Cow::Borrowed(text));
        };
        let Outcome::Result(result) = response.outcome else {
            return Ok(Cow::Borrowed(text));
        };
        Ok(match self.check(result, link, request_id)? {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(changed) => {
                let mut message = Object::parse(text).unwrap_or_default();
                message.set("result", changed);
                Cow::Owned(message.to_text())
            }
        })
    }

    /// Checks a result, and changes it where the config says so. The reply may be dropped and asked
    /// again at every wait, so there is none here: its turn was taken before.
    ///
    /// # Errors
    /// It is refused.
    fn check<'r>(
        &self,
        result: &'r str,
        link: &Link,
        request_id: &str,
    ) -> Result<Cow<'r, str>, Fault> {
        let (tool, problems) = self.schemas.of(&self.definition, &self.settings);
        let checked = validate::check_result(&self.settings, &tool, result);
        report_problems(&link.metrics, &self.tool, &problems);
        report(&link.metrics, &self.tool, "results", &checked, request_id);
        match checked.refusal() {
            Some(refusal) => Err(Fault::Upstream {
                upstream: link.id().as_str().into(),
                reason: match refusal.kind {
                    FindingKind::Invisible => "its result has control or invisible characters",
                    FindingKind::Schema | FindingKind::Limit | FindingKind::Unchecked => {
                        "its result does not fit the outputSchema of the tool"
                    }
                },
            }),
            None => Ok(checked.changed.map_or(Cow::Borrowed(result), Cow::Owned)),
        }
    }
}

/// Tells the operator once that a schema cannot be applied.
fn report_problems(upstream: &UpstreamMetrics, tool: &str, problems: &[(&'static str, String)]) {
    for (schema, reason) in problems {
        tracing::warn!(upstream = %upstream.id(), tool, schema, %reason,
            "calls of this tool are not checked: its schema cannot be applied");
    }
}

/// Counts and logs what was found.
fn report(
    upstream: &UpstreamMetrics,
    tool: &str,
    part: &'static str,
    checked: &Checked,
    request_id: &str,
) {
    for finding in &checked.findings {
        let (kind, consequence) = (finding.kind.as_str(), finding.consequence.as_str());
        upstream.found(part, kind, consequence);
        // Said once, when the schema was compiled.
        if finding.kind != FindingKind::Unchecked {
            tracing::warn!(upstream = %upstream.id(), tool, part, consequence,
                found = %finding.text, request_id, "data of a call does not fit `guard.validate`");
        }
    }
}
