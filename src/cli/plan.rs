//! `weir plan`: what another config would change in the catalog, before it is applied.
//!
//! The baseline is a running weir, asked at its admin listener, or another config. Upstreams whose
//! config is the same in both keep their listings, as they would across a reload, and are not asked.

mod baseline;
mod drift;
mod exposed;
mod policies;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::admin::catalog::CatalogPage;
use crate::admin::compare::ConfigDigests;
use crate::admin::drift::UpstreamsPage;
use crate::catalog::Diff;
use crate::cli::admin_client::{AdminClient, AdminClientError, is_admin_url};
use crate::cli::front_gateway;
use crate::cli::output::Output;
use crate::cli::plan::baseline::Baseline;
use crate::cli::plan::exposed::AskOptions;
use crate::cli::plan::policies::PlannedPolicies;
use crate::cli::plan::report::Plan;
use crate::cli::target::print_config_errors;
use crate::config::{self, Config};
use crate::server::{ServeError, with_known_instance};

/// `weir plan`
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The new config, YAML or JSON
    #[arg(short, long, value_name = "FILE", default_value = "config/weir.yaml")]
    pub config: PathBuf,
    /// Compare with this: the admin URL of a running weir, or another config [default: the weir that
    /// runs at the new config's `admin.address`]
    #[arg(long, value_name = "FILE|URL")]
    pub against: Option<String>,
    /// Ask no upstream: use the listings stored in the state folder
    #[arg(long)]
    pub offline: bool,
    /// Print one JSON object instead of the table
    #[arg(long)]
    pub json: bool,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
enum PlanError {
    #[error(
        "nothing to compare with: the config has no `admin` address at which a running weir could be asked; use --against FILE or --against URL"
    )]
    Nowhere,
    #[error(transparent)]
    AdminClient(#[from] AdminClientError),
    #[error("{0} is an older weir, which does not give its definitions")]
    Old(String),
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Its errors are printed already.
    #[error("the config is wrong")]
    Config,
}

/// Exits with 0 if nothing would change, with 3 if something would, with 2 if that cannot be found out.
pub async fn run(args: PlanArgs, output: &mut Output, program: PathBuf) -> ExitCode {
    match make_plan(&args, output, program).await {
        Ok(plan) => {
            plan.print(args.json, output);
            match plan.changes {
                true => ExitCode::from(3),
                false => ExitCode::SUCCESS,
            }
        }
        Err(PlanError::Config) => ExitCode::from(2),
        Err(error) => {
            output.print_failure(&error);
            ExitCode::from(2)
        }
    }
}

async fn make_plan(
    args: &PlanArgs,
    output: &mut Output,
    program: PathBuf,
) -> Result<Plan, PlanError> {
    let config = load_config(&args.config, output)?;
    let ask_options = AskOptions {
        offline: args.offline,
        program,
    };
    let policies = PlannedPolicies::of(&config);
    let mut before = match &args.against {
        Some(against) if is_admin_url(against) => {
            ask_running(&AdminClient::at(against, Some(&config))?, &config).await?
        }
        Some(file) => describe_file(Path::new(file), &config, &ask_options, output).await?,
        None => {
            let client = AdminClient::of(&config).ok_or(PlanError::Nowhere)??;
            ask_running(&client, &config).await?
        }
    };
    let front = config.front_gateway.clone();
    let after =
        exposed::expose_after(with_known_instance(config), &before, &ask_options, output).await?;
    if let Some(earlier) = &before.policies {
        before.compared.access = policies.compare_to(earlier, &after.catalog);
    }
    if let Some(warning) = front_gateway::warn_of_names(front.as_deref(), &after.catalog) {
        output.print_warning(&warning);
    }
    let diff = Diff::between(&before.side, &after.side);
    Ok(Plan::new(before, after, diff))
}

fn load_config(path: &Path, output: &mut Output) -> Result<Config, PlanError> {
    config::load(path, &config::process_env).map_err(|errors| {
        print_config_errors(&errors, output);
        PlanError::Config
    })
}

/// Asks a running weir for the baseline.
async fn ask_running(client: &AdminClient, config: &Config) -> Result<Baseline, PlanError> {
    let page: CatalogPage = client.get("/catalog", &[("definitions", "true")]).await?;
    let url = client.url().to_owned();
    let side = page.side().ok_or_else(|| PlanError::Old(url.clone()))?;
    let compared = client.post("/compare", &ConfigDigests::of(config)).await?;
    let upstreams: UpstreamsPage = client.get("/upstreams", &[]).await?;
    Ok(Baseline {
        waiting: upstreams.waiting(),
        against: url,
        side,
        compared,
        policies: None,
    })
}

/// Returns the baseline that another config describes.
async fn describe_file(
    file: &Path,
    config: &Config,
    ask_options: &AskOptions,
    output: &mut Output,
) -> Result<Baseline, PlanError> {
    let old = load_config(file, output)?;
    let digests = ConfigDigests::of(config);
    let policies = PlannedPolicies::of(&old);
    // Both digests are made by this version: the comparison cannot fail.
    let compared = digests.compare_to(&old).unwrap_or_default();
    let found = exposed::expose_alone(with_known_instance(old), ask_options, output).await?;
    for (upstream, source) in &found.sources {
        if let Some(reason) = source.trouble() {
            let file = file.display();
            output.print_warning(&format!("{file}: {upstream}: {reason}"));
        }
    }
    Ok(Baseline {
        against: file.display().to_string(),
        side: found.side,
        waiting: Vec::new(),
        compared,
        policies: Some(policies),
    })
}
