//! The `weir` command.

use std::ffi::c_long;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use clap::Parser as _;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use weir::cli::log::{self, LineLimits};
use weir::cli::output::Output;
use weir::cli::{
    Cli, Command, ReapArgs, accept, add, admin_token, audit, call, can, check, demo, explain,
    import, key, login, plan, policy_document, schema, serve, tools,
};
use weir::config::process_env;
use weir::processes;
use weir::upstream::reaper::Job;

// Uses a third less CPU per call than the system's allocator, measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The allocator's option of the milliseconds for which it keeps what was freed (`mi_option_purge_delay`
/// of `mimalloc.h`), of which the crate has no name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Has the allocator give memory back to the system when it is freed, or a second later. It is often needed
/// again within that second: 1 MB messages cost three times less CPU that way, measured.
#[allow(
    unsafe_code,
    reason = "the allocator has no safe function for it, and the process is to stay within limits.memory"
)]
fn give_back_at_once(at_once: bool) {
    static USUALLY: OnceLock<c_long> = OnceLock::new();
    // SAFETY: `mi_collect` has no preconditions. The option is one aligned word, which the allocator reads
    // each time that memory is freed: another thread sees either value, and either one is right. Only one
    // task calls this.
    unsafe {
        let usually = *USUALLY.get_or_init(|| libmimalloc_sys::mi_option_get(PURGE_DELAY));
        if at_once {
            // All that it keeps now; with a delay of zero it would not look for that any more.
            libmimalloc_sys::mi_collect(true);
        }
        libmimalloc_sys::mi_option_set(PURGE_DELAY, if at_once { 0 } else { usually });
    }
}

fn main() -> ExitCode {
    // Before anything secret is read. A program that is executed anew is dumpable again.
    processes::forbid_dumps();
    let cli = Cli::parse();
    if let Command::Reap(args) = cli.command {
        return reap(&args);
    }
    processes::adopt_orphans();
    let mut output = Output::of_process(&process_env);
    let limits = log_to_stderr(&cli.command, &mut output);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            output.print_failure(&error);
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        let Some(limits) = &limits else {
            return Box::pin(run(cli.command, &mut output)).await;
        };
        let code = tokio::select! {
            code = run(cli.command, &mut output) => code,
            never = log::report_left_out(limits) => match never {},
        };
        log::report_rest(limits);
        code
    });
    // A command that stopped at once leaves tasks behind: nothing has to wait for them.
    runtime.shutdown_background();
    code
}

async fn run(command: Command, output: &mut Output) -> ExitCode {
    // Weir starts itself again as the reaper of child processes. `current_exe` rarely fails; then
    // the `weir` of `PATH` is used.
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("weir"));
    match command {
        Command::Demo(args) => demo::run(args, output, program).await,
        Command::Serve(args) => serve::run(args, output, program, give_back_at_once).await,
        Command::Check(args) => check::run(args, output, program).await,
        Command::Plan(args) => plan::run(args, output, program).await,
        Command::Explain(args) => explain::run(args, output, program).await,
        Command::Accept(args) => accept::run(args, output).await,
        Command::AdminToken(args) => admin_token::run(&args, output),
        Command::Tools(args) => tools::run(args, output, program).await,
        Command::Call(args) => call::run(args, output, program).await,
        Command::Can(args) => can::run(args, output, program).await,
        Command::Login(args) => login::run(args, output).await,
        Command::Import(args) => import::run(args, output),
        Command::Add(args) => add::run(args, output),
        Command::Audit(command) => audit::run(command, output),
        Command::Key(args) => key::run(&args, output),
        Command::PolicyDocument(args) => policy_document::run(args, output),
        Command::Schema => schema::run(output),
        Command::DemoChild => demo::child().await,
        Command::Reap(args) => reap(&args),
    }
}

fn reap(args: &ReapArgs) -> ExitCode {
    let Some((program, rest)) = args.command.split_first() else {
        return ExitCode::FAILURE;
    };
    weir::upstream::reaper::run(Job {
        program: program.clone(),
        args: rest.to_vec(),
        hidden: args.hidden.clone(),
        user: args.user,
    })
}

/// Sets up logging to stderr. `WEIR_LOG` sets the level (default: `info` for `serve`, `error`
/// otherwise), `WEIR_LOG_FORMAT=json` prints one JSON object per line. Only terminals get colours. The
/// demo does not log.
fn log_to_stderr(command: &Command, output: &mut Output) -> Option<Arc<LineLimits>> {
    let default = match command {
        Command::Demo(_) | Command::DemoChild => return None,
        Command::Serve(_) => "info,tokio_cron_scheduler=warn",
        Command::Check(_)
        | Command::Plan(_)
        | Command::Explain(_)
        | Command::Accept(_)
        | Command::AdminToken(_)
        | Command::Tools(_)
        | Command::Call(_)
        | Command::Can(_)
        | Command::Login(_)
        | Command::Import(_)
        | Command::Add(_)
        | Command::Audit(_)
        | Command::Key(_)
        | Command::PolicyDocument(_)
        | Command::Schema
        | Command::Reap(_) => "error",
    };
    let filter = match process_env("WEIR_LOG").filter(|written| !written.is_empty()) {
        None => EnvFilter::new(default),
        Some(written) => parse_filter(&written).unwrap_or_else(|reason| {
            output.print_warning(&format!(
                "WEIR_LOG is ignored, the default is used: {reason}"
            ));
            EnvFilter::new(default)
        }),
    };
    let json = process_env("WEIR_LOG_FORMAT").as_deref() == Some("json");
    Some(log::start(filter, output.err.features().colour, json))
}

/// Parses `WEIR_LOG`. Refuses a bare word that is not a level: `EnvFilter` would take it for a module
/// name, so that `WEIR_LOG=verbose` would log nothing.
fn parse_filter(written: &str) -> Result<EnvFilter, String> {
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    let mut parts = written.split(',').map(str::trim);
    if let Some(word) = parts.find(|part| !part.contains(['=', ':', '[']) && !is_level(part)) {
        return Err(format!(
            "`{word}` is not a level (error, warn, info, debug, trace, off); the level of a module is written `weir=debug`"
        ));
    }
    EnvFilter::try_new(written).map_err(|error| error.to_string())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::give_back_at_once;

    const MIB: usize = 1 << 20;

    /// The MiB that the process has.
    fn resident() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.unwrap().trim().trim_end_matches(" kB");
        kib.parse::<usize>().unwrap() / 1024
    }

    /// The MiB that are still there of 64 that were freed just now.
    fn left_of_64() -> usize {
        let before = resident();
        let used: Vec<_> = (0..32).map(|_| vec![1_u8; 2 * MIB]).collect();
        assert!(resident() >= before + 48);
        drop(std::hint::black_box(used));
        resident().saturating_sub(before)
    }

    #[test]
    fn freed_memory_is_given_back_at_once_or_later() {
        assert!(left_of_64() > 48, "kept, for it may be needed again");
        give_back_at_once(true);
        assert!(left_of_64() < 16);
        give_back_at_once(false);
        assert!(left_of_64() > 48);
    }
}
