//! The advice of commands beside their results: which upstreams they wait for, which name was probably
//! meant, what to do next.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::prompt;
use crate::support::upstream::{Fault, On, Times, Upstream};
use crate::support::weir::Process;

/// Exit status, stdout, stderr.
type Ran = (Option<i32>, String, String);

async fn weir<const N: usize>(args: [&str; N]) -> Ran {
    let (status, out, err) = Process::start(args).wait_exit().await;
    (status.code(), out, err)
}

/// A config file, and the folder that goes with it.
fn config(yaml: &str) -> (tempfile::TempDir, String) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("weir.yaml");
    std::fs::write(&path, yaml).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (home, path)
}

fn over<const N: usize>(upstreams: [&Upstream; N]) -> (tempfile::TempDir, String) {
    let entry = |up: &Upstream| format!("  {}: {{ url: \"{}\" }}\n", up.name(), up.url());
    let entries: String = upstreams.into_iter().map(entry).collect();
    config(&format!("version: 1\nupstreams:\n{entries}"))
}

#[tokio::test]
async fn a_call_waits_for_nobody_but_the_owner_of_the_name() {
    let stuck = Upstream::named("stuck").tools(["a"]);
    let stuck = stuck
        .fault(On::Anything, Times::Forever, Fault::StallHeaders)
        .start()
        .await;
    let shop = Upstream::named("shop").tools(["search"]).start().await;
    let (_home, path) = over([&stuck, &shop]);
    let call = async || {
        let begun = Instant::now();
        let (code, out, err) = weir(["call", "shop__search", "-c", &path]).await;
        assert_eq!(code, Some(0), "{out}{err}");
        assert!(!err.contains("waiting"), "{err}");
        begun.elapsed()
    };
    // To give the stuck one up takes 11 s.
    prompt(Duration::from_secs(8), call).await;
}

#[tokio::test]
async fn an_unknown_tool_brings_what_was_meant_and_who_fails() {
    let shop = Upstream::named("shop").tools(["search"]).start().await;
    let dead = Upstream::named("dead").tools(["a"]).start().await;
    dead.stop().await;
    let (_home, path) = over([&shop, &dead]);
    for name in ["shop__serch", "search"] {
        let (code, out, err) = weir(["call", name, "-c", &path]).await;
        assert_eq!((code, out.as_str()), (Some(2), ""));
        let expected = format!("✗ unknown tool: {name} (did you mean `shop__search`?)\n");
        assert!(err.starts_with(&expected), "{err}");
        assert!(
            err.contains("✗ dead: cannot connect: Connection refused (os error "),
            "{err}"
        );
    }
    let (_, _, err) = weir(["call", "erp__pay", "-c", &path]).await;
    assert!(err.starts_with("✗ unknown tool: erp__pay\n"), "{err}");
}

#[tokio::test]
async fn a_config_that_joins_nothing_says_how_it_could() {
    let (_home, path) = config("version: 1\nlisten: { address: \"127.0.0.1:0\" }\nupstreams: {}\n");
    let advice = format!("no upstreams: uncomment one in {path}, or run `weir import mcp.json`");
    let (code, out, err) = weir(["check", "-c", &path]).await;
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert_eq!(out, format!("  ✓ {path} is valid, but has {advice}\n"));
    let (code, out, err) = weir(["tools", "-c", &path]).await;
    assert_eq!((code, out.as_str()), (Some(0), ""));
    assert_eq!(err, format!("! {advice}\n"));
    let serve = Process::start(["serve", "-c", &path]);
    serve.wait_stderr(&advice).await;
    let said = serve.stderr();
    assert!(
        said.starts_with("weir ") && said.contains(" joins 0 upstreams at http://"),
        "{said}"
    );
    assert!(!said.contains('\u{1b}'), "colours in a file: {said}");
    serve.signal(Signal::TERM);
    serve.wait_exit().await;
}

#[tokio::test]
async fn what_is_wrong_ends_with_how_much_it_is() {
    let (_home, path) = config("version: 1\nlistn: {}\nupstreams:\n  a: { urll: x }\n");
    for command in ["check", "serve", "tools"] {
        let (code, out, err) = weir([command, "-c", &path]).await;
        assert_eq!((code, out.as_str()), (Some(2), ""));
        let lines: Vec<_> = err.lines().collect();
        assert!(lines[0].starts_with(&format!("{path}:2:1: listn: ")));
        assert_eq!(lines.last(), Some(&&*format!("✗ 2 errors in {path}")));
    }
    let absent =
        "no/such/weir.yaml: cannot be read: there is no such file\n✗ 1 error in no/such/weir.yaml";
    let (_, _, err) = weir(["serve", "-c", "no/such/weir.yaml"]).await;
    let advice = "use -c FILE, or make one with `weir import`";
    assert_eq!(err, format!("{absent}: {advice}\n"));
    let (code, _, err) = weir(["import", "no/such/weir.yaml"]).await;
    assert_eq!((code, err), (Some(2), format!("{absent}\n")));
    let (code, _, err) = weir(["tools", "--url", "ftp://x"]).await;
    assert_eq!(code, Some(2));
    assert!(err.ends_with("\n✗ 1 error in --url\n"), "{err}");
}

#[tokio::test]
async fn of_a_url_only_what_is_known_is_shown() {
    let shop = Upstream::named("shop").tools(["search"]).start().await;
    let url = shop.url();
    let (_, out, _) = weir(["tools", "--url", &url]).await;
    let titles: Vec<_> = out.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(titles, ["TOOL", "DESCRIPTION"]);
    shop.stop().await;
    for args in [
        ["tools", "--url", &url].as_slice(),
        &["tools", "--json", "--url", &url],
    ] {
        let (status, out, err) = Process::start(args).wait_exit().await;
        assert_eq!((status.code(), out.as_str()), (Some(1), ""));
        assert!(
            err.starts_with(&format!("✗ {url}: cannot connect")),
            "{err}"
        );
    }
}

#[tokio::test]
async fn a_filter_of_the_log_that_means_nothing_is_said_and_not_used() {
    let (_home, path) = config("version: 1\nupstreams: {}\n");
    for (filter, told) in [("verbose", true), ("info,[[", true), ("weir=debug", false)] {
        let check = Process::start_with(["check", "-c", &path], |command| {
            command.env("WEIR_LOG", filter);
        });
        let (status, _, err) = check.wait_exit().await;
        assert!(status.success());
        assert_eq!(
            err.starts_with("! WEIR_LOG is ignored"),
            told,
            "{filter}: {err}"
        );
    }
}
