//! `weir check --tools a,b`: whether tools can be called now, and why not.

use std::process::ExitCode;

use serde::Serialize;

use crate::admin::explain::{AppliedRule, ExplainIndex, Explanation, LinkStatus};
use crate::catalog::Kind;
use crate::cli::admin_client::{AdminClient, AdminClientError};
use crate::cli::output::{Output, make_safe};
use crate::config::Config;
use crate::server::Core;

/// Whether a tool can be called.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Verdict {
    /// The exposed name.
    name: String,
    callable: bool,
    /// The upstream that it belongs to, if that is known.
    upstream: Option<String>,
    /// Why it cannot be called.
    reason: Option<String>,
    /// The rules of the config that say so.
    rules: Vec<AppliedRule>,
}

/// Asks a running weir about tools, and prints the answers.
///
/// # Errors
/// It cannot be asked.
pub(super) async fn check_running(
    url: &str,
    config: Option<&Config>,
    names: &[String],
    json: bool,
    output: &mut Output,
) -> Result<ExitCode, AdminClientError> {
    let client = AdminClient::at(url, config)?;
    let mut verdicts = Vec::new();
    for name in names {
        let explanation: Explanation = client.get("/explain", &[("name", name)]).await?;
        verdicts.push(judge(explanation));
    }
    Ok(print_verdicts(&verdicts, json, output))
}

/// Prints whether the tools can be called over this core.
pub(super) fn check_core(
    core: &Core,
    names: &[String],
    json: bool,
    output: &mut Output,
) -> ExitCode {
    let snapshot = core.live().load_full();
    let index = ExplainIndex::of(&snapshot);
    let verdicts = names.iter().map(|name| judge(index.explain(name, None)));
    let verdicts: Vec<_> = verdicts.collect();
    print_verdicts(&verdicts, json, output)
}

fn judge(explanation: Explanation) -> Verdict {
    let Explanation {
        name,
        exposed,
        hidden,
        near,
        unlisted,
    } = explanation;
    let other = exposed.first().map(|exposed| exposed.kind);
    let is_tool = |kind: Kind| kind == Kind::Tools;
    if let Some(tool) = exposed.into_iter().find(|exposed| is_tool(exposed.kind)) {
        let reason = tool.upstream.link.as_ref().and_then(unusable);
        return Verdict {
            name,
            callable: reason.is_none(),
            upstream: Some(tool.upstream.name),
            reason,
            rules: Vec::new(),
        };
    }
    if let Some(tool) = hidden.into_iter().find(|hidden| is_tool(hidden.kind)) {
        return Verdict {
            name,
            callable: false,
            upstream: Some(tool.upstream.name),
            reason: Some(format!("it is not exposed: {}", tool.because)),
            rules: tool.rules,
        };
    }
    let mut reasons: Vec<_> = match other {
        Some(kind) => vec![format!("it is a {kind} and not a tool")],
        None => vec!["no tool that is known has this name".to_owned()],
    };
    let near = near.iter().filter(|near| is_tool(near.kind)).take(3);
    reasons.extend(near.map(|near| format!("there is {} ({})", near.name, near.because)));
    reasons.extend(unlisted.iter().take(3).map(|unlisted| {
        format!(
            "it may belong to {}, which is not listed: {}",
            unlisted.upstream, unlisted.because
        )
    }));
    Verdict {
        name,
        callable: false,
        upstream: None,
        reason: Some(reasons.join("; ")),
        rules: Vec::new(),
    }
}

/// Returns why calls over a link fail now; `None` if they do not.
fn unusable(link: &LinkStatus) -> Option<String> {
    let reason = link.reason.as_ref().map(|reason| format!(": {reason}"));
    let reason = reason.unwrap_or_default();
    match (link.state.as_str(), link.circuit.as_str()) {
        ("up", "open") => {
            Some("too many calls of its upstream failed: it gets none for a moment".to_owned())
        }
        ("up", _) => None,
        (state, _) => Some(format!("its upstream is {state}{reason}")),
    }
}

/// Prints the verdicts. Exits with 0 if all tools can be called, else with 1.
fn print_verdicts(verdicts: &[Verdict], json: bool, output: &mut Output) -> ExitCode {
    if json {
        let text = serde_json::to_string(verdicts).unwrap_or_default();
        output.out.print_raw(&format!("{text}\n"));
    } else {
        for verdict in verdicts {
            print_verdict(verdict, output);
        }
    }
    match verdicts.iter().all(|verdict| verdict.callable) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn print_verdict(verdict: &Verdict, output: &mut Output) {
    let name = make_safe(&verdict.name);
    let upstream = verdict.upstream.as_deref().map(make_safe);
    let of = upstream
        .map(|upstream| format!(" of {upstream}"))
        .unwrap_or_default();
    let Some(reason) = &verdict.reason else {
        return output.out.print_done(&format!("{name}{of} can be called"));
    };
    output.out.print_line(&format!(
        "{name}{of} cannot be called: {}",
        make_safe(reason)
    ));
    for rule in &verdict.rules {
        let text = format!("  {} at {}: {}", rule.rule, rule.at, rule.what);
        output.out.print_line(&make_safe(&text));
    }
}
