//! The commands, one file each. Everything they print goes through [`output`].

pub mod accept;
pub mod add;
mod admin_client;
pub mod admin_token;
pub mod audit;
pub mod call;
pub mod can;
pub mod check;
pub mod demo;
mod edited_file;
pub mod explain;
mod front_gateway;
pub mod import;
pub mod key;
pub mod log;
pub mod login;
mod metric_lines;
mod named_caller;
pub mod output;
pub mod plan;
pub mod policy_document;
pub mod schema;
pub mod serve;
pub mod target;
pub mod tools;
mod wait;

use clap::{Args, Parser, Subcommand};

use crate::build_info;

/// Joins many MCP servers into one tool catalog.
#[derive(Debug, Parser)]
#[command(name = "weir", version, long_version = build_info::LONG, about, max_term_width = 100)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what weir does with nothing installed: four upstreams, one catalog, calls, a live change
    Demo(demo::DemoArgs),
    /// Run the proxy
    Serve(serve::ServeArgs),
    /// Validate a config; with --online, connect to every upstream and report what it offers
    Check(check::CheckArgs),
    /// Show what another config would change, before it is applied
    Plan(plan::PlanArgs),
    /// Show where a name comes from, or why it is not exposed
    Explain(explain::ExplainArgs),
    /// Show the definitions that differ from their pin, or accept them
    Accept(accept::AcceptArgs),
    /// Print the token for requests to the admin listener that change something
    AdminToken(target::ConfigArgs),
    /// Print the merged catalog
    Tools(tools::ToolsArgs),
    /// Call one tool
    Call(call::CallArgs),
    /// Say whether a caller may call a tool, and which policies say so
    Can(can::CanArgs),
    /// Log in to an upstream that needs a person to do so (OAuth 2 authorization code)
    Login(login::LoginArgs),
    /// Turn an mcp.json (Claude, Cursor, VS Code) or a config of agentgateway, LiteLLM or AgentCore into weir YAML
    Import(import::ImportArgs),
    /// Add an upstream to a config file, which keeps its comments
    Add(add::AddArgs),
    /// Check the chain of the record file, and find records in it
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Make, list and revoke API keys of callers
    Key(key::KeyArgs),
    /// Print the IAM policy that a weir with this config needs in AWS
    PolicyDocument(policy_document::PolicyDocumentArgs),
    /// Print the JSON Schema of the config
    Schema,
    /// Run a child process and end all of it when weir ends (used by weir itself)
    // A weir of an earlier version, whose binary was replaced while it runs, starts `weir guard`.
    #[command(hide = true, alias = "guard")]
    Reap(ReapArgs),
    /// Run the stdio upstream of the demo (used by `weir demo` itself)
    #[command(hide = true)]
    DemoChild,
}

/// A program and its arguments.
#[derive(Debug, Args)]
pub struct ReapArgs {
    /// A file or folder that the program may not read.
    #[arg(long = "hide", value_name = "PATH")]
    pub hidden: Vec<std::path::PathBuf>,
    /// The user and the group that it runs as.
    #[arg(long, value_name = "UID:GID", value_parser = parse_user)]
    pub user: Option<(u32, u32)>,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    pub command: Vec<std::ffi::OsString>,
}

fn parse_user(text: &str) -> Result<(u32, u32), String> {
    let ids = text.split_once(':');
    let ids = ids.and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)));
    ids.ok_or_else(|| "write UID:GID".to_owned())
}
