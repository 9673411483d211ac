//! `weir explain`: where a name comes from, or why it is not exposed.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::Args;
use tokio::time::Instant;

use crate::admin::drift::PendingDefinition;
use crate::admin::explain::{
    ExplainIndex, ExplainedAccess, Explanation, Exposed, Hidden, KnownUpstream, ListingStatus,
    Owner,
};
use crate::caller::{Caller, Principal};
use crate::catalog::Catalog;
use crate::cli::admin_client::{AdminClient, AdminClientError};
use crate::cli::named_caller::{principal_parser, read_caller};
use crate::cli::output::{Output, TextStyle, make_safe};
use crate::cli::target::print_config_errors;
use crate::cli::wait;
use crate::config::{self, Config};
use crate::live::access::complete_caller;
use crate::live::state::{State, StateChange};
use crate::live::store::{ListingStore, ListingStoreError, StoredListing};
use crate::policy::{Policies, PolicyRules};
use crate::server::{Core, Options, ServeError, with_known_instance};

/// The default path of the config.
const CONFIG: &str = "config/weir.yaml";

/// `weir explain`
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The exposed name, URI or template, or the name at its upstream
    pub name: String,
    /// The config file, YAML or JSON; with --url, only its admin token is used [default:
    /// config/weir.yaml]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The admin URL of a running weir, which is asked instead of the upstreams
    #[arg(long, value_name = "URL", conflicts_with = "offline")]
    pub url: Option<String>,
    /// Ask no upstream: use the listings stored in the state folder
    #[arg(long)]
    pub offline: bool,
    /// The caller to explain for: a subject, or @FILE with its claims as JSON
    #[arg(long, value_name = "SUBJECT")]
    pub caller: Option<String>,
    /// How the caller proves who it is
    #[arg(long, value_parser = principal_parser(), default_value = "oauth_user")]
    pub kind: Principal,
    /// Print one JSON object instead of the text
    #[arg(long)]
    pub json: bool,
}

/// Why nothing can be explained.
#[derive(Debug, thiserror::Error)]
enum ExplainError {
    #[error(transparent)]
    AdminClient(#[from] AdminClientError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The caller cannot be read.
    #[error("--caller: {0}")]
    Caller(String),
    /// Its errors are printed already.
    #[error("the config is wrong")]
    Config,
}

/// Exits with 0 if the name is exposed (to the caller, if one is named), with 1 if not, with 2 if that
/// cannot be found out.
pub async fn run(args: ExplainArgs, output: &mut Output, program: PathBuf) -> ExitCode {
    let explanation = match explain(&args, output, program).await {
        Ok(explanation) => explanation,
        Err(ExplainError::Config) => return ExitCode::from(2),
        Err(error) => {
            output.print_failure(&error);
            return ExitCode::from(2);
        }
    };
    if args.json {
        let text = serde_json::to_string(&explanation).unwrap_or_default();
        output.out.print_raw(&format!("{text}\n"));
    } else {
        print_explanation(&explanation, output);
    }
    let is_seen = |exposed: &Exposed| {
        let access = exposed.access.as_ref();
        access.is_none_or(|access| access.listed)
    };
    match explanation.exposed.iter().any(is_seen) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

async fn explain(
    args: &ExplainArgs,
    output: &mut Output,
    program: PathBuf,
) -> Result<Explanation, ExplainError> {
    let config = match (&args.config, &args.url) {
        (None, Some(_)) => None,
        (Some(path), _) => Some(load_config(path, output)?),
        (None, None) => Some(load_config(Path::new(CONFIG), output)?),
    };
    let caller = args.caller.as_deref();
    let caller = caller.map(|caller| read_caller(caller, args.kind));
    let caller = caller.transpose().map_err(ExplainError::Caller)?;
    if let Some(url) = &args.url {
        let client = AdminClient::at(url, config.as_ref())?;
        let query = query(&args.name, caller.as_ref());
        let query: Vec<_> = query.iter().map(|(key, text)| (*key, &**text)).collect();
        return Ok(client.get("/explain", &query).await?);
    }
    let config = with_known_instance(config.ok_or(ExplainError::Config)?);
    let caller = caller.map(|caller| complete_caller(&config, caller));
    if args.offline {
        return Ok(explain_offline(config, &args.name, caller.as_ref(), output));
    }
    let options = Options {
        reaper: Some(program),
        reads_pins: true,
        ..Options::default()
    };
    let core = Core::start(Arc::new(config), &options).await?;
    wait::wait_settled(&core, &mut output.err).await;
    let snapshot = core.live().load_full();
    let explanation = ExplainIndex::of(&snapshot).explain(&args.name, caller.as_ref());
    core.stop().await;
    Ok(explanation)
}

/// Returns the query about a name and a caller.
fn query<'q>(name: &'q str, caller: Option<&'q Caller>) -> Vec<(&'static str, Cow<'q, str>)> {
    let mut query = vec![("name", name.into())];
    if let Some(caller) = caller {
        let identity = caller.identity();
        query.push(("caller", (&*identity.subject).into()));
        query.push(("kind", identity.principal.as_str().into()));
        let issuer = identity.issuer.as_deref();
        query.extend(issuer.map(|issuer| ("issuer", issuer.into())));
        let claims = identity.tags.iter();
        query.extend(claims.map(|(name, text)| ("claim", format!("{name}={text}").into())));
    }
    query
}

fn load_config(path: &Path, output: &mut Output) -> Result<Config, ExplainError> {
    config::load(path, &config::process_env).map_err(|errors| {
        print_config_errors(&errors, output);
        ExplainError::Config
    })
}

/// Explains a name from stored listings and pins.
fn explain_offline(
    config: Config,
    name: &str,
    caller: Option<&Caller>,
    output: &mut Output,
) -> Explanation {
    let config = Arc::new(config);
    let store = config.state_dir.as_deref().map(ListingStore::new);
    let mut state = State::new(Arc::clone(&config), 0..config.upstreams.len() as u64);
    let (mut changes, mut known) = (Vec::new(), Vec::new());
    for (link, upstream) in (0..).zip(config.upstreams.values()) {
        let (pins, stored) = match &store {
            Some(store) => (store.read_pins(upstream), store.read_listing(upstream)),
            None => (Ok(None), Ok(None)),
        };
        let mut warn_unusable = |what: &str, error: &ListingStoreError| {
            let id = &upstream.id;
            output.print_warning(&format!("{id}: its stored {what} of no use: {error}"));
        };
        let pins = pins.inspect_err(|error| warn_unusable("pins are", error));
        let stored = stored.inspect_err(|error| warn_unusable("listing is", error));
        let stored = stored.ok().flatten();
        if let Some(pins) = pins.ok().flatten() {
            state.restore_pins(link, pins);
        }
        let listed = stored.as_ref().map(|stored| ListingStatus {
            stored: true,
            seconds_ago: age_of(stored.at).as_secs(),
            stale: false,
        });
        known.push(KnownUpstream {
            listed,
            ..KnownUpstream::default()
        });
        changes.extend(
            stored.map(|StoredListing { listing, at }| StateChange::Listed {
                link,
                round: 1,
                at: Instant::now(),
                on: at,
                listing: Some(Arc::new(listing)),
            }),
        );
    }
    let catalog = state.apply(changes).publish;
    let catalog = catalog.unwrap_or_else(|| Arc::new(Catalog::merge(&config.naming, 1, &[])));
    let rules = PolicyRules::of(&config);
    let policies =
        rules.map(|rules| Policies::new(rules, &config.upstreams, &catalog, config.memory));
    let index = ExplainIndex {
        upstreams: &config.upstreams,
        naming: &config.naming,
        instance: config.instance.as_ref(),
        catalog: &catalog,
        policies: policies.as_ref(),
        known,
    };
    index.explain(name, caller)
}

fn age_of(at: SystemTime) -> Duration {
    SystemTime::now().duration_since(at).unwrap_or_default()
}

fn print_explanation(explanation: &Explanation, output: &mut Output) {
    let name = make_safe(&explanation.name);
    for exposed in &explanation.exposed {
        let owner = make_safe(&exposed.upstream.name);
        print_title(output, &name, &format!("is a {} of {owner}", exposed.kind));
        print_exposed(output, exposed);
    }
    for hidden in &explanation.hidden {
        print_title(output, &make_safe(&hidden.wanted), "is not exposed");
        print_hidden(output, hidden);
    }
    if !explanation.exposed.is_empty() {
        return;
    }
    if explanation.hidden.is_empty() {
        print_title(
            output,
            &name,
            "is not exposed, and nothing known has this name",
        );
    }
    for near in &explanation.near {
        let text = format!(
            "{}, a {} of {}: {}",
            near.name, near.kind, near.upstream, near.because
        );
        print_field(output, "near", &text);
    }
    for unlisted in &explanation.unlisted {
        let text = format!(
            "it may belong to {}, whose listing is not known: {}",
            unlisted.upstream, unlisted.because
        );
        print_field(output, "unlisted", &text);
    }
}

fn print_title(output: &mut Output, name: &str, text: &str) {
    let name = output.out.paint(TextStyle::Name, name);
    output.out.print_line(&format!("{name} {text}"));
}

fn print_field(output: &mut Output, key: &str, text: &str) {
    let key = output.out.paint(TextStyle::Faint, &format!("{key:<12}"));
    output
        .out
        .print_line(&format!("  {key} {}", make_safe(text)));
}

fn print_exposed(output: &mut Output, exposed: &Exposed) {
    print_owner(output, &exposed.upstream);
    print_field(output, "original", &exposed.original);
    let named = &exposed.named;
    let mut words = Vec::new();
    if !named.namespace.is_empty() && !named.separator.is_empty() {
        words.push(format!(
            "namespace `{}` and separator `{}` before it",
            named.namespace, named.separator
        ));
    }
    words.extend(named.steps.iter().map(ToString::to_string));
    if words.is_empty() {
        words.push("the same as at its upstream".to_owned());
    }
    for text in words {
        print_field(output, "name", &text);
    }
    for rule in &exposed.rules {
        print_field(
            output,
            "rule",
            &format!("{} at {}: {}", rule.rule, rule.at, rule.what),
        );
    }
    for conflict in &exposed.conflicts {
        print_field(output, "conflict", conflict);
    }
    if let Some(access) = &exposed.access {
        print_access(output, access);
    }
    if let [era] = exposed.eras.as_slice() {
        print_field(output, "listed", &format!("for {era} callers only"));
    }
    for text in &exposed.asks {
        print_field(output, "asks", text);
    }
    if let Some(waiting) = &exposed.drift {
        let text = "held: callers see the pinned definition, its upstream's now differs";
        print_field(output, "drift", text);
        print_drift(output, waiting);
    }
    if !exposed.through.is_empty() {
        print_field(output, "came through", &exposed.through.join(", "));
    }
    print_owner_state(output, &exposed.upstream);
    if let Some(stamp) = &exposed.stamped {
        let text = format!("{stamp}: callers are told that it was last confirmed then");
        print_field(output, "stamped", &text);
    }
}

/// Prints what policy says of a caller.
fn print_access(output: &mut Output, access: &ExplainedAccess) {
    let seen = match access.listed {
        true => "sees it",
        false => "does not see it",
    };
    print_field(output, "caller", &format!("{} {seen}", access.caller));
    let by = match access.policies.as_slice() {
        [] if access.decision == "deny" && access.errors.is_empty() => {
            ": no policy permits it".to_owned()
        }
        [] => String::new(),
        policies => format!(": {}", policies.join(", ")),
    };
    print_field(output, "policy", &format!("{}{by}", access.decision));
    for error in &access.errors {
        print_field(output, "", error);
    }
    if access.listed && access.decision == "deny" {
        let hint = "it may use it with other arguments, or at another time: see `weir can`";
        print_field(output, "", hint);
    }
}

fn print_hidden(output: &mut Output, hidden: &Hidden) {
    print_owner(output, &hidden.upstream);
    print_field(output, "original", &hidden.original);
    print_field(output, "because", &hidden.because);
    if let Some(waiting) = &hidden.drift {
        print_drift(output, waiting);
    }
    for rule in &hidden.rules {
        print_field(
            output,
            "rule",
            &format!("{} at {}: {}", rule.rule, rule.at, rule.what),
        );
    }
    print_owner_state(output, &hidden.upstream);
}

/// Prints what changed, and the command that accepts it.
fn print_drift(output: &mut Output, waiting: &PendingDefinition) {
    if let Some(was) = &waiting.renamed_from {
        print_field(output, "pinned as", was);
    }
    for change in &waiting.changes {
        let text = format!("{}: {}", change.class.as_str(), change.what);
        print_field(output, "change", &text);
    }
    print_field(
        output,
        "to accept",
        &format!("weir accept {}", waiting.name),
    );
}

fn print_owner(output: &mut Output, owner: &Owner) {
    let text = format!("{} ({}) at {}", owner.name, owner.connector, owner.at);
    print_field(output, "upstream", &text);
}

fn print_owner_state(output: &mut Output, owner: &Owner) {
    if let Some(listed) = &owner.listed {
        let stored = if listed.stored {
            ", stored by an earlier run"
        } else {
            ""
        };
        let stale = if listed.stale { ", stale" } else { "" };
        let text = format!("listed {} s ago{stored}{stale}", listed.seconds_ago);
        print_field(output, "definition", &text);
    }
    let Some(link) = &owner.link else {
        return;
    };
    let reason = link.reason.as_ref().map(|reason| format!(": {reason}"));
    let text = format!(
        "{}{}; circuit {}",
        link.state,
        reason.unwrap_or_default(),
        link.circuit
    );
    print_field(output, "link", &text);
    if let Some(login) = &link.credentials {
        let reason = login.reason.as_ref().map(|reason| format!(": {reason}"));
        let text = format!(
            "{} {}{}",
            login.r#type,
            login.state,
            reason.unwrap_or_default()
        );
        print_field(output, "credentials", &text);
    }
}
