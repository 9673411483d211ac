//! `weir serve` from its start to its end, and the demo.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Config, weir, words};
use crate::support::client::Modern;
use crate::support::upstream::{Fault, On, Seen, Times, Upstream};
use crate::support::weir::Process;
use crate::support::{bounded, prompt};

#[tokio::test]
async fn an_interrupt_and_a_termination_end_weir_at_once_and_well() {
    let up = Upstream::named("up")
        .tools(["search"])
        .legacy("2025-11-25")
        .start()
        .await;
    let config = Config::over([&up]);
    let stop = async |signal| {
        let process = Process::start(["serve", "--listen", "127.0.0.1:0", "-c", &config.path()]);
        process.wait_stderr(" joins 1 upstream at http://").await;
        let said = process.stderr();
        let url = said
            .split_whitespace()
            .find(|word| word.starts_with("http://"));
        let modern = Modern::new(url.unwrap());
        bounded("a list", async {
            while modern.tool_names().await != ["up__search"] {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        // An open stream and an idle connection are no reason to stay.
        let mut stream = modern.listen("1", r#"{"toolsListChanged":true}"#).await;
        stream.next_value().await;
        let told = Instant::now();
        process.signal(signal);
        let (status, out, err) = process.wait_exit().await;
        let took = told.elapsed();
        assert_eq!((status.code(), out.as_str()), (Some(0), ""), "{err}");
        let last = stream.next_value().await;
        assert_eq!(
            (&last["id"], &last["result"]["resultType"]),
            (&1.into(), &"complete".into())
        );
        assert_eq!(stream.next().await, None);
        took
    };
    for signal in [Signal::INT, Signal::TERM] {
        // It takes milliseconds; the grace periods that must not be waited for are 2 s and more.
        prompt(Duration::from_millis(1500), async || stop(signal).await).await;
    }
    up.wait_for("no session", |seen| seen.listeners == 0).await;
    assert_eq!(up.sessions(), 0, "every session was ended");
}

#[tokio::test]
async fn weir_can_be_stopped_before_its_upstreams_have_answered() {
    let up = Upstream::named("stuck").tools(["a"]);
    let up = up
        .fault(On::Anything, Times::Forever, Fault::StallHeaders)
        .start()
        .await;
    let config = Config::over([&up]);
    for (round, how) in [
        (1, ["--listen", "127.0.0.1:0"].as_slice()),
        (2, &["--stdio"]),
    ] {
        let path = config.path();
        let args = ["serve", "-c", &path]
            .into_iter()
            .chain(how.iter().copied());
        // An open stdin: on stdio its end would be a reason to stop.
        let weir = Process::start_with(args, |command| {
            command.stdin(Stdio::piped());
        });
        let probed = |seen: &Seen| seen.count("server/discover") >= round;
        up.wait_for("the probe", probed).await;
        weir.signal(Signal::TERM);
        let (status, out, err) = weir.wait_exit().await;
        assert_eq!(
            (status.code(), out.as_str()),
            (Some(0), ""),
            "{how:?} {err}"
        );
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = Config::new("version: 1\nupstreams: {}\n");
    let ran = weir(["serve", "--listen", &address, "-c", &config.path()]).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert!(
        ran.err.contains(&format!("cannot listen on {address}")),
        "{ran:?}"
    );
    let config = Config::new(&format!(
        "version: 1\nlisten: {{ address: \"127.0.0.1:0\" }}\nadmin: {{ address: \"{address}\" }}\nupstreams: {{}}\n"
    ));
    let ran = weir(["serve", "-c", &config.path()]).await;
    assert!(ran.code == Some(1) && ran.err.contains(&address), "{ran:?}");
}

#[tokio::test]
async fn weir_does_not_open_to_a_network_before_the_config_says_so() {
    let closed = Config::new("version: 1\nupstreams: {}\n");
    let ran = weir(["serve", "--listen", "0.0.0.0:0", "-c", &closed.path()]).await;
    assert!(
        ran.code.is_some_and(|code| code > 0) && ran.out.is_empty(),
        "{ran:?}"
    );
    assert!(
        ran.err.contains("0.0.0.0:0") && ran.err.contains("listen.auth"),
        "{ran:?}"
    );
    let written = Config::new("version: 1\nlisten: { address: \"0.0.0.0:0\" }\nupstreams: {}\n");
    let ran = weir(["serve", "-c", &written.path()]).await;
    assert!(
        ran.code == Some(2) && ran.err.contains("weir.yaml:2:"),
        "{ran:?}"
    );
    let open = Config::new("version: 1\nlisten: { auth: none }\nupstreams: {}\n");
    let process = Process::start(["serve", "--listen", "0.0.0.0:0", "-c", &open.path()]);
    process.wait_stderr("http://0.0.0.0:").await;
    process.signal(Signal::TERM);
    assert!(process.wait_exit().await.0.success());
}

#[tokio::test]
async fn the_demo_comes_to_its_end_and_every_door_has_checked_somebody() {
    let ran = weir(["demo"]).await;
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    let rows = words(&ran.out);
    for upstream in ["office", "warehouse", "crm", "notes"] {
        let listed = |row: &Vec<&str>| row.len() > 3 && row[1] == upstream;
        assert!(rows.iter().any(listed), "{upstream}: {}", ran.out);
    }
    for said in [
        "403 Forbidden without a signature",
        "401 Unauthorized without a token",
        "401 Unauthorized without its x-api-key",
        "office__find_colleague {",
        "warehouse__stock_report {",
        "crm__find_contact {",
        "notes__read_note {",
        "+ warehouse__reserve_stock",
        "verified against the bytes that arrived; 1 rejected",
        "issued for 1.0 s each",
        "6 calls and one change",
        "crm, which speaks 2025-11-25, asks: Which deal was it about?",
        "the client, which speaks 2026-07-28, answers {\"deal\":\"closing\"}",
        "logged on ada@analytical.example, closing: 40 bearings a month",
        "support    sees crm__",
        "logistics  sees warehouse__",
        "support    calls warehouse__stock_report: ",
        "without a key: 401 Unauthorized",
        "the upstream gets  {\"sku\":\"BRG-6204\",\"quantity\":2,\"order\":\"email_",
        "the agent reads    2 × BRG-6204 reserved for ada@example.com until 18:00",
    ] {
        assert!(ran.out.contains(said), "no `{said}`: {}", ran.out);
    }
}
