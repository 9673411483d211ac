//! Text of others in terminals and logs: it is read, and does nothing else.

use std::time::Duration;

use crate::support::quote;
use crate::support::upstream::{Fault, On, Times, Upstream};
use crate::support::weir::{Process, Weir};

/// A title, a colour in one character, text that turns, hides, and is hidden.
const ODD: &str = "a\u{1b}]0;x\u{7}\u{9b}31m\u{202e}\u{200b}\u{e0041}\tb\nc";
const SHOWN: &str = "a\\u{1b}]0;x\\u{7}\\u{9b}31m\\u{202e}\\u{200b}\\u{e0041}\tb\nc";
/// Runs a command on a terminal, and prints what it wrote there.
const ON_TERMINAL: &str = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";

#[tokio::test]
async fn a_result_is_made_harmless_on_a_terminal_and_goes_through_a_pipe_as_it_is() {
    let result = format!(r#"{{"content":[{{"type":"text","text":{}}}]}}"#, quote(ODD));
    let up = Upstream::named("up").answers("odd", &result).start().await;
    let weir = Weir::over([&up]).start().await;
    let args = ["call", "up__odd", "--url", &weir.url()];

    let (status, out, _) = Process::start(args).wait_exit().await;
    assert!(status.success());
    assert_eq!(out, format!("{ODD}\n"));

    let command = format!(
        "{} {} 2>/dev/null",
        env!("CARGO_BIN_EXE_weir"),
        args.join(" ")
    );
    let on_terminal = ["-c", ON_TERMINAL, "sh", "-c", &command];
    let (status, out, err) = Process::start_program("python3", on_terminal)
        .wait_exit()
        .await;
    assert!(status.success(), "{err}");
    assert_eq!(out.replace("\r\n", "\n"), format!("{SHOWN}\n"));
}

#[tokio::test]
async fn no_text_of_an_upstream_begins_a_line_of_the_log() {
    let forged = "2025\n2026-11-29T0Z \u{1b}[31m\u{202e}x";
    let result = format!(
        r#"{{"protocolVersion":{},"capabilities":{{}},"serverInfo":{{"name":"n","version":"1"}}}}"#,
        quote(forged)
    );
    let initialize = On::Method("initialize".to_owned());
    let up = Upstream::named("up").tools(["a"]).legacy("2025-06-18");
    let up = up.fault(initialize, Times::Forever, Fault::Result(result));
    let up = up.start().await;
    let weir = Weir::over([&up]).start().await;
    weir.wait_stderr("2026-11-29T0Z").await;
    let (_, _, log) = weir.interrupt().await;
    let forges = |line: &str| line.starts_with("2026-11-29T0Z");
    assert!(!log.lines().any(forges), "{log}");
    assert!(
        !log.contains('\u{1b}') && !log.contains('\u{202e}'),
        "{log:?}"
    );
    assert!(
        log.contains("2025\\n2026-11-29T0Z \\u{1b}[31m\\u{202e}"),
        "{log}"
    );
}

#[tokio::test]
async fn a_flood_of_one_cause_leaves_few_lines_and_their_number() {
    let up = Upstream::named("up").tools(["a"]).start().await;
    let weir = Weir::over([&up]).start().await;
    let modern = weir.modern();
    for _ in 0..300 {
        let ask = modern
            .ask("tools/list", "{}")
            .header("origin", "https://evil.example.com");
        assert_eq!(ask.send().await.status, 403);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let lines = weir.stderr().matches("request refused").count();
    assert_eq!(lines, 30);
    // The rest is reported after a minute, or at the end.
    let (_, _, log) = weir.interrupt().await;
    assert!(
        log.contains("… 270 more like it in 60s: request refused"),
        "{log}"
    );
}
