//! Where the config comes from: a stream that can be read once, or files that may be empty or gone for
//! a while.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::support::client::{Modern, pool};
use crate::support::upstream::Upstream;
use crate::support::weir::{ADMIN_TOKEN, Process, Weir};
use crate::support::{bounded, free_port};

/// Longer than weir waits for writers, shorter than it waits before it believes that upstreams go.
const A_SECOND: Duration = Duration::from_secs(1);
/// Longer than that too.
const LASTING: Duration = Duration::from_millis(4500);

/// `POST /reload`: status and answer.
async fn reload(admin: &str) -> (u16, Value) {
    let answer = pool()
        .post(format!("{admin}/reload"))
        .bearer_auth(ADMIN_TOKEN)
        .send()
        .await
        .unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap())
}

#[tokio::test]
async fn a_config_that_is_a_stream_is_read_once() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    for command in [
        r#"exec "$0" serve -c <(cat "$1")"#,
        r#"exec "$0" serve -c /dev/stdin < <(cat "$1")"#,
        r#"exec "$0" serve -c /dev/stdin < "$1""#,
    ] {
        let home = tempfile::tempdir().unwrap();
        let (listen, admin) = (free_port(), free_port());
        let file = home.path().join("weir.yaml");
        fs::write(&file, Weir::over([&ann]).yaml(listen, admin)).unwrap();
        let binary = env!("CARGO_BIN_EXE_weir");
        let args = ["-c", command, binary, file.to_str().unwrap()];
        let weir = Process::start_program("bash", args);
        weir.wait_stderr("it is read once and not watched").await;
        let modern = Modern::new(format!("http://127.0.0.1:{listen}/mcp"));
        let admin = format!("http://127.0.0.1:{admin}");
        bounded("the tool", async {
            while pool()
                .get(format!("{admin}/upstreams"))
                .send()
                .await
                .is_err()
                || modern.tool_names().await != ["ann__a"]
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        tokio::time::sleep(A_SECOND).await;
        let (status, told) = reload(&admin).await;
        assert_eq!(status, 409, "{command}: {told}");
        let error = told["error"].as_str().unwrap();
        assert!(error.contains("cannot be read again"), "{error}");
        weir.signal(rustix::process::Signal::HUP);
        weir.wait_stderr("cannot be read again").await;
        assert_eq!(modern.tool_names().await, ["ann__a"], "{command}");
        let said = weir.stderr();
        assert_eq!(said.matches("it is read once").count(), 1, "{said}");
    }
}

#[tokio::test]
async fn stdin_is_not_for_the_config_and_the_client() {
    let weir = Process::start(["serve", "--stdio", "-c", "/dev/stdin"]);
    let (status, _, stderr) = weir.wait_exit().await;
    assert_eq!(status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("--stdio"), "{stderr}");
}

/// A weir over `ann` in its config, and `bob` in a file of `upstreams.d`.
struct World {
    weir: Weir,
    _upstreams: [Upstream; 2],
}

impl World {
    async fn new() -> Self {
        let ann = Upstream::named("ann").tools(["a"]).start().await;
        let bob = Upstream::named("bob").tools(["b"]).start().await;
        let weir = Weir::over([&ann]).start_in(|home, yaml| {
            fs::write(home.join("weir.yaml"), yaml).unwrap();
            fs::create_dir(home.join("upstreams.d")).unwrap();
            let file = format!("upstreams:\n  bob:\n    url: \"{}\"\n", bob.url());
            fs::write(home.join("upstreams.d/bob.yaml"), file).unwrap();
        });
        let weir = weir.await;
        weir.wait_tools(["ann__a", "bob__b"]).await;
        Self {
            weir,
            _upstreams: [ann, bob],
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.weir.home.path().join(name)
    }

    async fn counts(&self) -> [u64; 3] {
        let page = self.weir.admin("/upstreams").await;
        ["applied", "unchanged", "refused"].map(|word| page["reloads"][word].as_u64().unwrap())
    }

    async fn wait_refused(&self, expected: u64) {
        bounded(&format!("{expected} refusals"), async {
            while self.counts().await[2] != expected {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    async fn tools(&self) -> Vec<String> {
        self.weir.tool_names().await
    }
}

#[tokio::test]
async fn files_that_are_empty_or_gone_for_a_second_cost_nothing() {
    let world = World::new().await;
    let (main, bob) = (world.path("weir.yaml"), world.path("upstreams.d/bob.yaml"));
    let before = world.weir.generation().await;
    for file in [&main, &bob] {
        let whole = fs::read_to_string(file).unwrap();
        let head = whole.split_once("upstreams:").unwrap().0;
        for half in ["", head, &format!("{head}upstreams:\n")] {
            fs::write(file, half).unwrap();
            tokio::time::sleep(A_SECOND).await;
            fs::write(file, &whole).unwrap();
            tokio::time::sleep(A_SECOND / 2).await;
        }
        fs::remove_file(file).unwrap();
        tokio::time::sleep(A_SECOND).await;
        fs::write(file, &whole).unwrap();
        tokio::time::sleep(A_SECOND / 2).await;
    }
    fs::rename(world.path("upstreams.d"), world.path("aside")).unwrap();
    tokio::time::sleep(A_SECOND).await;
    fs::rename(world.path("aside"), world.path("upstreams.d")).unwrap();
    tokio::time::sleep(LASTING).await;
    assert_eq!(world.counts().await, [0, 0, 0], "{}", world.weir.stderr());
    assert_eq!(world.weir.generation().await, before);
    assert_eq!(world.tools().await, ["ann__a", "bob__b"]);
}

#[tokio::test]
async fn from_something_to_nothing_only_if_it_is_written() {
    let world = World::new().await;
    let (main, bob) = (world.path("weir.yaml"), world.path("upstreams.d/bob.yaml"));
    let whole = fs::read_to_string(&main).unwrap();
    let head = whole.split_once("upstreams:").unwrap().0;
    let said = "has no `upstreams` any more, as a file that is not written yet: if they are to go, write `upstreams: {}`";
    // A file that stays empty is refused, once, and kept out when somebody asks as well.
    for (file, name, text, refused) in [
        (&bob, "upstreams.d/bob.yaml", String::new(), 1),
        (
            &main,
            "weir.yaml",
            format!("{head}upstreams:\n  # ann:\n"),
            3,
        ),
    ] {
        let before = fs::read_to_string(file).unwrap();
        fs::write(file, text).unwrap();
        world.wait_refused(refused).await;
        world.weir.wait_stderr(&format!("{name}: {said}")).await;
        let admin = world.weir.admin_url("");
        let (status, told) = reload(admin.trim_end_matches('/')).await;
        assert_eq!((status, &told["outcome"]), (422, &"refused".into()));
        assert!(
            told["errors"][0].as_str().unwrap().ends_with(said),
            "{told}"
        );
        assert_eq!(world.tools().await, ["ann__a", "bob__b"]);
        fs::write(file, before).unwrap();
        tokio::time::sleep(A_SECOND).await;
    }
    let counted = world.counts().await;
    // It may move to another file.
    let url = whole.split_once("upstreams:\n").unwrap().1;
    fs::write(
        world.path("upstreams.d/ann.yaml"),
        format!("upstreams:\n{url}"),
    )
    .unwrap();
    fs::write(&main, head).unwrap();
    tokio::time::sleep(LASTING).await;
    assert_eq!(world.tools().await, ["ann__a", "bob__b"]);
    assert_eq!(
        world.counts().await[2],
        counted[2],
        "{}",
        world.weir.stderr()
    );
    // Written, or by removing the file, they go.
    fs::write(&bob, "upstreams: {}\n").unwrap();
    world.weir.wait_tools(["ann__a"]).await;
    fs::remove_file(world.path("upstreams.d/ann.yaml")).unwrap();
    world.weir.wait_tools([]).await;
}
