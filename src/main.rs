//! The `weir` command.

use std::process::ExitCode;

use clap::Parser;
use weir::cli::{demo, output::Output};

#[derive(Parser)]
enum Command {
    Demo(demo::DemoArgs),
    #[command(hide = true)]
    DemoChild,
}

#[tokio::main]
async fn main() -> ExitCode {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one reader of the environment"
    )]
    let variable = |name: &str| std::env::var(name).ok();
    let mut output = Output::of_process(&variable);
    let Ok(program) = std::env::current_exe() else {
        return ExitCode::FAILURE;
    };
    match Command::parse() {
        Command::Demo(args) => demo::run(args, &mut output, program).await,
        Command::DemoChild => demo::child().await,
    }
}
