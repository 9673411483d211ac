//! `weir call`: calls one tool as an agent would.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use crate::caller::Caller;
use crate::catalog::Kind;
use crate::cli::output::{Output, Progress, make_safe};
use crate::cli::target::{TargetArgs, advise_if_empty, print_failing};
use crate::cli::wait;
use crate::json::{self, Object};
use crate::live::{Live, Snapshot};
use crate::protocol::era::{Era, Version};
use crate::protocol::error::Fault;
use crate::protocol::message::{self, Id, Message, Outcome};
use crate::protocol::trace::Trace;
use crate::protocol::{meta, method};
use crate::record::Record;
use crate::relay::{self, Outgoing, Scope};
use crate::server::{Core, Options};
use crate::upstream::{HealthState, probe};

/// `weir call`
#[derive(Debug, Args)]
pub struct CallArgs {
    /// The exposed name of the tool, as `weir tools` prints it
    pub name: String,
    /// The arguments, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub args: String,
    /// The config, or a URL
    #[command(flatten)]
    pub target: TargetArgs,
    /// Print the raw JSON result instead of its text
    #[arg(long)]
    pub json: bool,
}

/// Why a call gave no result.
#[derive(Debug, thiserror::Error)]
enum CallFailed {
    #[error("--args must be a JSON object")]
    Arguments(#[source] json::ObjectError),
    #[error(transparent)]
    Fault(Fault),
    #[error("unknown tool: {name}{}", meant.as_ref().map(|meant| format!(" (did you mean `{meant}`?)")).unwrap_or_default())]
    Unknown { name: String, meant: Option<String> },
    #[error("the upstream answered with an error: {0}")]
    Refused(String),
    #[error("the call ended without an answer")]
    NoAnswer,
}

/// Exits with 0 and the result on stdout, with 1 if the result has `isError`, with 2 otherwise.
pub async fn run(args: CallArgs, output: &mut Output, program: PathBuf) -> ExitCode {
    if let Err(error) = Object::parse(&args.args) {
        output.print_failure(&CallFailed::Arguments(error));
        return ExitCode::from(2);
    }
    let config = match args.target.load() {
        Ok(config) => config,
        Err(error) => {
            error.print(output);
            return ExitCode::from(2);
        }
    };
    let core = match Core::start(
        config,
        &Options {
            reaper: Some(program),
            reads_pins: true,
            ..Options::default()
        },
    )
    .await
    {
        Ok(core) => core,
        Err(error) => {
            output.print_failure(&error);
            return ExitCode::from(2);
        }
    };
    wait::wait_until(&core, &mut output.err, |now| is_listed(now, &args.name)).await;
    let snapshot = core.live().load_full();
    let called = call(core.live(), &snapshot, &args, output).await;
    let code = match called {
        Ok(result) => print_result(&result, args.json, output),
        Err(error) => {
            output.print_failure(&error);
            if matches!(error, CallFailed::Unknown { .. }) {
                print_failing(&snapshot, &args.target, output);
                if let Some(advice) = advise_if_empty(&snapshot.config, &args.target.config) {
                    output.print_warning(&advice);
                }
            }
            ExitCode::from(2)
        }
    };
    core.stop().await;
    code
}

/// Returns whether the owner of the name is known: it is in the catalog, and no earlier upstream that
/// is still connecting can claim it.
fn is_listed(snapshot: &Snapshot, name: &str) -> bool {
    let Some(route) = snapshot.catalog.tool(name) else {
        return false;
    };
    let configured = snapshot.config.upstreams.values();
    let mut earlier = configured
        .zip(snapshot.links().iter())
        .take(route.upstream_index.get());
    !earlier.any(|(upstream, link)| {
        link.health.state() == HealthState::Connecting
            && name.starts_with(upstream.namespace.as_str())
    })
}

async fn call(
    live: &Arc<Live>,
    snapshot: &Arc<Snapshot>,
    args: &CallArgs,
    output: &mut Output,
) -> Result<String, CallFailed> {
    // In the upstream's own era nothing has to be bridged.
    let route = snapshot.catalog.tool(&args.name);
    let caller = Caller::local();
    let view = snapshot.view(&caller);
    let peer = route.and_then(|route| view.peer(route.upstream_index));
    let version = match peer.map_or(Era::Modern, |peer| peer.era()) {
        Era::Legacy => Version::LATEST_LEGACY,
        Era::Modern => Version::MODERN,
    };
    let own = match version.era() {
        Era::Legacy => "{}".to_owned(),
        Era::Modern => probe::request_meta(None, None),
    };
    let mut own = Object::parse(&own).map_err(CallFailed::Arguments)?;
    own.set(meta::PROGRESS_TOKEN, "1");
    let params = format!(
        "{{\"name\":{},\"arguments\":{},\"_meta\":{}}}",
        json::quote(&args.name),
        args.args,
        own.to_text()
    );
    let envelope = message::request(&Id::from(1), method::TOOLS_CALL, &params);
    let Ok(Ok(Message::Request(request))) = std::str::from_utf8(&envelope).map(Message::parse)
    else {
        return Err(CallFailed::NoAnswer);
    };
    let (caller, trace) = (Caller::local(), Trace::new());
    let record = Record::open(&snapshot.metrics, caller.clone(), &request.method, &trace);
    let scope = Scope::new(live, caller, version, &trace).streaming(true);
    let mut reply = match relay::answer(&scope, &request, record).await {
        Ok(reply) => reply,
        Err(Fault::UnknownTool(_)) => {
            let name = request.params.string("name").unwrap_or_default();
            let name = name.into_owned();
            let meant = suggest_name(&name, snapshot);
            return Err(CallFailed::Unknown { name, meant });
        }
        Err(fault) => return Err(CallFailed::Fault(fault)),
    };
    while let Some(outgoing) = reply.next().await {
        match outgoing {
            Outgoing::Message(note) => print_progress(&note, output),
            Outgoing::Paused(_) => {}
            Outgoing::Response(payload) => {
                output.err.end_line();
                return parse_answer(&payload.concat());
            }
        }
    }
    Err(CallFailed::NoAnswer)
}

/// Suggests the name that was probably meant: the exposed name of a tool with this original name, or
/// one that differs in a few letters.
fn suggest_name(name: &str, snapshot: &Snapshot) -> Option<String> {
    let routes = || snapshot.catalog.routes(Kind::Tools);
    let mut bare = routes().filter(|route| **route.original() == *name);
    if let Some(route) = bare.next() {
        return Some(route.exposed.to_string());
    }
    let names = routes().map(|route| route.exposed);
    let far = name.chars().count() / 3;
    names
        .map(|exposed| (strsim::damerau_levenshtein(name, &exposed), exposed))
        .filter(|(distance, _)| *distance <= far)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, exposed)| exposed.to_string())
}

fn parse_answer(answer: &[u8]) -> Result<String, CallFailed> {
    match std::str::from_utf8(answer).map(Message::parse) {
        Ok(Ok(Message::Response(response))) => match response.outcome {
            Outcome::Result(result) => Ok(result.to_owned()),
            Outcome::Error(error) => {
                let message = Object::parse(error).ok();
                let message = message.as_ref().and_then(|error| error.string("message"));
                Err(CallFailed::Refused(message.map_or_else(
                    || error.to_owned(),
                    std::borrow::Cow::into_owned,
                )))
            }
        },
        _ => Err(CallFailed::NoAnswer),
    }
}

fn print_progress(note: &[u8], output: &mut Output) {
    let Ok(Ok(Message::Notification(note))) = std::str::from_utf8(note).map(Message::parse) else {
        return;
    };
    let Some(Ok(params)) = note.envelope.get("params").map(Object::parse) else {
        return;
    };
    let number = |key| params.get(key).and_then(|text| text.parse::<f64>().ok());
    if note.method == method::PROGRESS
        && let Some(done) = number("progress")
    {
        let message = params.string("message");
        output.err.print_progress(&Progress {
            done,
            total: number("total"),
            message: message.as_deref(),
        });
    }
}

fn print_result(result: &str, raw: bool, output: &mut Output) -> ExitCode {
    let parsed = Object::parse(result).ok();
    let failed = parsed
        .as_ref()
        .is_some_and(|result| result.get("isError") == Some("true"));
    if raw {
        output.out.print_raw(&format!("{result}\n"));
    } else {
        let blocks = parsed
            .as_ref()
            .and_then(|result| result.get("content"))
            .map(json::array);
        for block in blocks.and_then(Result::ok).unwrap_or_default() {
            let Ok(block) = Object::parse(block) else {
                continue;
            };
            match block.string("text") {
                Some(text) => output.out.print_raw(&format!("{text}\n")),
                None => {
                    let kind = block.string("type").unwrap_or_default();
                    output
                        .out
                        .print_line(&format!("[{}: see --json]", make_safe(&kind)));
                }
            }
        }
    }
    if failed {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    }
}
