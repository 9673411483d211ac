//! The commands as a user meets them: arguments in, text and an exit status out.

mod serving;

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::upstream::{Kind, Upstream};
use crate::support::weir::{Process, Weir, child_upstream};

/// The exit code and output of a command.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

async fn weir<const N: usize>(args: [&str; N]) -> Ran {
    let (status, out, err) = Process::start(args).wait_exit().await;
    Ran {
        code: status.code(),
        out,
        err,
    }
}

/// Where a file of the project is.
fn of_project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A config file over these upstreams.
struct Config {
    home: tempfile::TempDir,
}

impl Config {
    fn new(yaml: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("weir.yaml"), yaml).unwrap();
        Self { home }
    }

    fn over<'a>(upstreams: impl IntoIterator<Item = &'a Upstream>) -> Self {
        let mut yaml = "version: 1\nupstreams:\n".to_owned();
        for upstream in upstreams {
            yaml.push_str(&format!(
                "  {}: {{ url: \"{}\" }}\n",
                upstream.name(),
                upstream.url()
            ));
        }
        Self::new(&yaml)
    }

    fn path(&self) -> String {
        let path = self.home.path().join("weir.yaml");
        path.to_str().unwrap().to_owned()
    }
}

/// A definition that no model would write back as it is.
const ODD: &str = r#"{"zzz":[1.0,{"b":2,"a":1e400}],"description":"\u0046irst line\nsecond line","name":"odd","inputSchema":{"type":"object"},"_meta":{"x/y":12345678901234567890123}}"#;
const PLAIN: &str = r#"{"name":"plain","inputSchema":{"type":"object","properties":{}}}"#;
const RESULT: &str = r#"{"resultType":"complete","n":1e400,"content":[{"type":"text","text":"one\ntwo"},{"type":"odd","x":1.0},{"type":"text","text":"\u0074hree"}]}"#;
const FAILED: &str = r#"{"resultType":"complete","isError":true,"content":[{"type":"text","text":"no such order"}]}"#;

async fn shop() -> Upstream {
    Upstream::named("shop")
        .raw_tool(ODD)
        .raw_tool(PLAIN)
        .answers("odd", RESULT)
        .answers("broken", FAILED)
        .errors(
            "refuses",
            r#"{"code":-32602,"message":"the order is closed"}"#,
        )
        .progress("work", 3)
        .modern()
        .start()
        .await
}

/// The words of each line.
fn words(table: &str) -> Vec<Vec<&str>> {
    table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect()
}

#[tokio::test]
async fn tools_prints_the_catalog_as_a_table() {
    let shop = shop().await;
    let old = Upstream::named("old")
        .tools(["search"])
        .legacy("2025-03-26")
        .start()
        .await;
    let config = Config::over([&shop, &old]);
    let ran = weir(["tools", "-c", &config.path()]).await;
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    assert!(!ran.out.contains('\u{1b}'), "colours in a pipe: {ran:?}");
    let rows = words(&ran.out);
    assert_eq!(rows[0], ["TOOL", "UPSTREAM", "ORIGINAL", "DESCRIPTION"]);
    for row in [
        vec!["shop__odd", "shop", "odd", "First", "line"],
        vec!["shop__plain", "shop", "plain"],
        vec!["old__search", "old", "search", "Does", "search."],
    ] {
        assert!(rows.contains(&row), "{row:?}: {}", ran.out);
    }
}

#[tokio::test]
async fn tools_as_json_are_the_definitions_byte_for_byte() {
    let up = Upstream::named("up")
        .raw_tool(ODD)
        .raw_tool(PLAIN)
        .start()
        .await;
    let config = Config::over([&up]);
    let renamed = format!(
        "[{},{}]\n",
        ODD.replace(r#""odd""#, r#""up__odd""#),
        PLAIN.replace(r#""plain""#, r#""up__plain""#)
    );
    let ran = weir(["tools", "--json", "-c", &config.path()]).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), renamed.as_str()));
    // Names at a URL are unchanged, whether it is a server or a weir.
    let ran = weir(["tools", "--json", "--url", &up.url()]).await;
    assert_eq!((ran.code, ran.out), (Some(0), format!("[{ODD},{PLAIN}]\n")));
    let running = Weir::over([&up]).instance("eu").start().await;
    let ran = weir(["tools", "--json", "--url", &running.url()]).await;
    let odd = ODD.replace(r#""odd""#, r#""up__odd""#);
    let odd = odd.replace("}}", r#","weir/origin":["eu"]}}"#);
    let plain = PLAIN.replace(r#""plain""#, r#""up__plain""#);
    let plain = plain.strip_suffix('}').unwrap();
    let marked = format!("[{odd},{plain},\"_meta\":{{\"weir/origin\":[\"eu\"]}}}}]\n");
    assert_eq!((ran.code, ran.out), (Some(0), marked));
    let ran = weir(["tools", "--url", &running.url()]).await;
    assert!(
        ran.out.contains("up__odd") && ran.code == Some(0),
        "{ran:?}"
    );
}

#[tokio::test]
async fn tools_names_upstreams_that_do_not_answer_and_fails_if_none_does() {
    let (dead, up) = (
        shop().await,
        Upstream::named("up").tools(["a"]).start().await,
    );
    dead.stop().await;
    let ran = weir(["tools", "-c", &Config::over([&dead, &up]).path()]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.err.contains("shop") && ran.out.contains("up__a"),
        "{ran:?}"
    );
    let ran = weir(["tools", "-c", &Config::over([&dead]).path()]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let ran = weir(["tools", "--url", &dead.url()]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for wrong in ["ftp://127.0.0.1/mcp", "no url"] {
        let ran = weir(["tools", "--url", wrong]).await;
        assert!(ran.code == Some(2) && ran.err.contains(wrong), "{ran:?}");
    }
}

#[tokio::test]
async fn call_prints_the_text_of_the_result_or_all_of_it() {
    let shop = shop().await;
    let (config, running) = (Config::over([&shop]), Weir::over([&shop]).start().await);
    let (path, url) = (config.path(), running.url());
    for target in [["-c", &path], ["--url", &url]] {
        let [how, where_] = target;
        let ran = weir(["call", "shop__odd", how, where_]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(ran.out, "one\ntwo\n[odd: see --json]\nthree\n");
        let ran = weir(["call", "shop__odd", "--json", how, where_]).await;
        assert_eq!((ran.code, ran.out), (Some(0), format!("{RESULT}\n")));
        let args = r#"{"n":1e400,"o":{"b":1,"a":2}}"#;
        let ran = weir(["call", "shop__plain", "--args", args, how, where_]).await;
        assert_eq!(
            (ran.code, ran.out),
            (Some(0), format!("shop.plain {args}\n"))
        );
    }
    let ran = weir(["call", "odd", "--url", &shop.url()]).await;
    assert!(
        ran.code == Some(0) && ran.out.starts_with("one\n"),
        "{ran:?}"
    );
}

#[tokio::test]
async fn call_shows_progress_on_stderr_and_nothing_of_it_on_stdout() {
    let shop = shop().await;
    let old = Upstream::named("old")
        .progress("work", 2)
        .legacy("2025-06-18")
        .start()
        .await;
    let config = Config::over([&shop, &old]);
    for (tool, lines, text) in [
        ("shop__work", vec!["1/3", "2/3", "3/3"], "shop.work {}\n"),
        ("old__work", vec!["1/2", "2/2"], "old.work {}\n"),
    ] {
        let ran = weir(["call", tool, "-c", &config.path()]).await;
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), text), "{ran:?}");
        assert_eq!(words(&ran.err).concat(), lines);
    }
}

#[tokio::test]
async fn call_says_by_its_exit_status_who_failed() {
    let shop = shop().await;
    let config = Config::over([&shop]);
    let path = config.path();
    let ran = weir(["call", "shop__broken", "-c", &path]).await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(1), "no such order\n"),
        "the tool"
    );
    let ran = weir(["call", "shop__refuses", "-c", &path]).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
    assert!(ran.err.contains("the order is closed"), "{ran:?}");
    let ran = weir(["call", "shop__nothing", "-c", &path]).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
    assert!(ran.err.contains("shop__nothing"), "{ran:?}");
    let calls = shop.count("tools/call");
    for args in ["{", "[1]", "7", r#"{"a":1,"a":2}"#, ""] {
        let ran = weir(["call", "shop__odd", "--args", args, "-c", &path]).await;
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{args}");
        assert!(ran.err.contains("--args"), "{ran:?}");
    }
    let ran = weir(["call", "shop__odd", "-c", "no/such/weir.yaml"]).await;
    assert!(
        ran.code == Some(2) && ran.err.contains("no/such/weir.yaml"),
        "{ran:?}"
    );
    assert_eq!(shop.count("tools/call"), calls, "none of these was a call");
    shop.stop().await;
    let ran = weir(["call", "shop__odd", "-c", &path]).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
}

#[tokio::test]
async fn call_runs_a_tool_of_a_child_and_leaves_no_process() {
    let home = tempfile::tempdir().unwrap();
    let pid = home.path().join("pid");
    let args = ["--tools", "progress", "--pid", pid.to_str().unwrap()];
    let yaml = format!("version: 1\nupstreams:\n{}", child_upstream("kid", &args));
    let ran = weir(["call", "kid__progress", "-c", &Config::new(&yaml).path()]).await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "kid.progress {}\n"),
        "{ran:?}"
    );
    assert_eq!(words(&ran.err).concat(), ["1/3", "2/3", "3/3"]);
    let pid = std::fs::read_to_string(pid).unwrap();
    assert!(!Path::new("/proc").join(pid).join("cwd").exists());
}

#[tokio::test]
async fn check_says_whether_a_config_is_right() {
    let config = Config::new("version: 1\nupstreams:\n  a: { url: https://example.com/mcp }\n");
    let ran = weir(["check", "-c", &config.path()]).await;
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    assert!(
        ran.out.contains(&config.path()) && ran.out.contains("1 upstream"),
        "{ran:?}"
    );
    let config = Config::new("version: 1\nupstreams:\n  a: { urll: https://example.com/mcp }\n");
    let ran = weir(["check", "-c", &config.path()]).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran:?}");
    assert!(
        ran.err.contains("weir.yaml:3:8") && ran.err.contains("did you mean `url`"),
        "{ran:?}"
    );
}

#[tokio::test]
async fn check_online_says_what_is_there_and_why_something_is_not() {
    let (shop, dead) = (
        shop().await,
        Upstream::named("dead").tools(["a"]).start().await,
    );
    let shop_alone = Config::over([&shop]);
    let ran = weir(["check", "--online", "-c", &shop_alone.path()]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let row = |ran: &Ran, name: &str| {
        let line = ran
            .out
            .lines()
            .find(|line| line.trim_start().starts_with(name));
        line.unwrap_or_else(|| panic!("{name}: {ran:?}")).to_owned()
    };
    let line = row(&ran, "shop");
    for part in [" up ", "modern", "2026-07-28", " 5 "] {
        assert!(line.contains(part), "{part}: {line}");
    }
    dead.stop().await;
    shop.add_raw(Kind::Tools, r#"{"name":"no_schema"}"#);
    let both = Config::over([&shop, &dead]);
    let ran = weir(["check", "--online", "-c", &both.path()]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let line = row(&ran, "dead");
    assert!(
        line.contains("failing") && line.contains("cannot connect"),
        "{line}"
    );
    assert!(row(&ran, "shop").contains(" up "), "{ran:?}");
    assert!(
        ran.out.contains("no_schema") && ran.out.contains("inputSchema"),
        "{ran:?}"
    );
    let ran = weir(["check", "--online", "--json", "-c", &both.path()]).await;
    assert_eq!(ran.code, Some(1));
    let rows: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&rows[0]["name"], &rows[0]["state"]),
        (&"shop".into(), &"up".into())
    );
    assert_eq!(
        (&rows[1]["name"], &rows[1]["state"]),
        (&"dead".into(), &"failing".into())
    );
    let versions = rows[0]["versions"].as_array().unwrap();
    assert!(versions.contains(&"2026-07-28".into()), "{}", rows[0]);
    assert_eq!(rows[0]["circuit"]["state"], "closed");
    assert_eq!(rows[0]["calls"]["in_flight"], 0);
    let refused = "cannot connect: Connection refused";
    let reason = rows[1]["reason"].as_str().unwrap();
    assert!(reason.starts_with(refused), "{reason}");
    assert!(rows[1]["next_try_in_seconds"].as_f64().unwrap() < 1.0);
}

#[tokio::test]
async fn what_import_prints_is_a_config_that_check_takes() {
    let sample = of_project("config/examples/mcp.json");
    let ran = weir(["import", sample.to_str().unwrap()]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for name in ["everything", "github", "memory", "GITHUB_TOKEN"] {
        assert!(ran.out.contains(name), "{name}: {}", ran.out);
    }
    let config = Config::new(&ran.out);
    let path = config.path();
    let check = Process::start_with(["check", "-c", &path], |command| {
        command.env("GITHUB_TOKEN", "t0ken");
    });
    let (status, out, err) = check.wait_exit().await;
    assert!(status.success(), "{out}{err}\n{}", ran.out);
    for wrong in [
        "no/such/mcp.json",
        of_project("Cargo.toml").to_str().unwrap(),
    ] {
        let ran = weir(["import", wrong]).await;
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
        assert!(ran.err.contains(wrong), "{ran:?}");
    }
}

#[tokio::test]
async fn schema_prints_the_file_that_editors_read() {
    let file = std::fs::read_to_string(of_project("config/weir.schema.json")).unwrap();
    let ran = weir(["schema"]).await;
    assert_eq!((ran.code, ran.out), (Some(0), file));
}
