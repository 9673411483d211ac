//! The `weir` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|command| command == "guard")
        && args.next().is_some_and(|dashes| dashes == "--")
        && let Some(program) = args.next()
    {
        return weir::upstream::guard::run(&program, args);
    }
    ExitCode::SUCCESS
}
