//! The files of the config are watched: each change of them is taken on once, and half a change is none.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::client::pool;
use crate::support::upstream::Upstream;
use crate::support::weir::{Process, Weir};
use crate::support::{BOUND, free_port};

/// Longer than weir waits for writers: changes that are not applied by then are not applied at all.
const QUIET: Duration = Duration::from_millis(800);
/// Longer than weir waits with refusing what may be half of something.
const LASTING: Duration = Duration::from_millis(3500);

/// Less than what is left, after a quiet time, until weir looks at files of which it hears nothing.
const SELDOM: Duration = Duration::from_secs(3);

/// A weir over `ann`, which has the tools `a` and `b`.
struct World {
    ann: Upstream,
    weir: Weir,
    /// The config that weir was started with.
    yaml: String,
}

impl World {
    async fn new() -> Self {
        Self::with(|home, yaml| fs::write(home.join("weir.yaml"), yaml).unwrap()).await
    }

    /// Where `write` puts the config in its place.
    async fn with(write: impl FnOnce(&Path, &str)) -> Self {
        let ann = Upstream::named("ann").tools(["a", "b"]).start().await;
        let weir = Weir::over([&ann]).start_in(write).await;
        weir.wait_tools(["ann__a", "ann__b"]).await;
        let yaml = fs::read_to_string(weir.home.path().join("weir.yaml")).unwrap();
        Self { ann, weir, yaml }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.weir.home.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// The config with another upstream, which is `ann` too.
    fn and(&self, name: &str) -> String {
        format!("{}{}", self.yaml, self.upstream(name))
    }

    /// An upstream, as it stands under `upstreams:`.
    fn upstream(&self, name: &str) -> String {
        let url = self.ann.url();
        format!("  {name}:\n    url: \"{url}\"\n    tools: {{ allow: [a] }}\n")
    }

    /// Counts the reloads that were applied, unchanged and refused.
    async fn counts(&self) -> [u64; 3] {
        let page = self.weir.admin("/upstreams").await;
        ["applied", "unchanged", "refused"].map(|word| page["reloads"][word].as_u64().unwrap())
    }

    /// Waits until reloads have come to this.
    async fn wait_counts(&self, expected: [u64; 3]) {
        let mut last = [0; 3];
        let wait = async {
            while last != expected {
                tokio::time::sleep(Duration::from_millis(10)).await;
                last = self.counts().await;
            }
        };
        if tokio::time::timeout(BOUND, wait).await.is_err() {
            panic!("{last:?}, not {expected:?}:\n{}", self.weir.stderr());
        }
    }

    /// Reloads come to this, and stay so.
    async fn settles(&self, expected: [u64; 3]) {
        self.wait_counts(expected).await;
        tokio::time::sleep(QUIET).await;
        let stderr = self.weir.stderr();
        assert_eq!(self.counts().await, expected, "{stderr}");
    }

    /// Nothing has come of it.
    async fn stays(&self, expected: [u64; 3]) {
        tokio::time::sleep(QUIET).await;
        self.settles(expected).await;
    }

    async fn last(&self) -> Value {
        self.weir.admin("/upstreams").await["reloads"]["last"].clone()
    }

    async fn metric(&self, series: &str) -> f64 {
        let got = pool().get(self.weir.admin_url("/metrics")).send().await;
        let text = got.unwrap().text().await.unwrap();
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value
            .unwrap_or_else(|| panic!("no {series}"))
            .parse()
            .unwrap()
    }
}

/// Files as Kubernetes mounts them: names lead over `..data` to a folder that is replaced as a whole.
fn mount(folder: &Path, version: &str, files: &[(&str, &str)]) {
    let real = folder.join(format!("..{version}"));
    fs::create_dir_all(&real).unwrap();
    for (name, text) in files {
        fs::write(real.join(name), text).unwrap();
    }
    let before = fs::read_link(folder.join("..data"));
    symlink(real.file_name().unwrap(), folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    for (name, _) in files {
        let _ = symlink(format!("..data/{name}"), folder.join(name));
    }
    if let Ok(before) = before {
        fs::remove_dir_all(folder.join(before)).unwrap();
    }
}

#[tokio::test]
async fn a_config_map_that_is_swapped_is_applied_once() {
    let world = World::with(|home, yaml| mount(home, "1", &[("weir.yaml", yaml)])).await;
    let home = world.weir.home.path();
    mount(home, "2", &[("weir.yaml", &world.and("bob"))]);
    world.weir.wait_tools(["ann__a", "ann__b", "bob__a"]).await;
    world.settles([1, 0, 0]).await;
    mount(home, "3", &[("weir.yaml", &world.and("coy"))]);
    world.weir.wait_tools(["ann__a", "ann__b", "coy__a"]).await;
    world.settles([2, 0, 0]).await;
    // The same again, in another folder.
    mount(home, "4", &[("weir.yaml", &world.and("coy"))]);
    world.stays([2, 0, 0]).await;
    // Upstreams that are mounted too.
    let file = format!("upstreams:\n{}", world.upstream("dan"));
    let folder = world.path("upstreams.d");
    mount(&folder, "1", &[("dan.yaml", &file)]);
    world.settles([3, 0, 0]).await;
    let file = file.replace("dan", "eve");
    mount(&folder, "2", &[("dan.yaml", &file)]);
    world.settles([4, 0, 0]).await;
    assert_eq!(
        world.weir.tool_names().await,
        ["ann__a", "ann__b", "coy__a", "eve__a"]
    );
}

#[tokio::test]
async fn however_an_editor_saves_it_is_applied_once() {
    let world = World::new().await;
    let (path, other) = (world.path("weir.yaml"), world.path("weir.yaml~"));
    // vim: the old one is moved aside, the new one written, the old one removed.
    fs::rename(&path, &other).unwrap();
    fs::write(&path, world.and("bob")).unwrap();
    fs::remove_file(&other).unwrap();
    world.settles([1, 0, 0]).await;
    assert_eq!(world.last().await["trigger"], "file");
    // Many others: the new one is written aside and moved into place.
    fs::write(&other, world.and("coy")).unwrap();
    fs::rename(&other, &path).unwrap();
    let start = Instant::now();
    world.wait_counts([2, 0, 0]).await;
    let took = start.elapsed();
    assert!(took < SELDOM, "nobody heard of it in {took:?}");
    world.settles([2, 0, 0]).await;
    // VS Code: in place.
    fs::write(&path, world.and("dan")).unwrap();
    world.settles([3, 0, 0]).await;
    world.weir.wait_tools(["ann__a", "ann__b", "dan__a"]).await;
    world
        .weir
        .wait_stderr("config applied trigger=\"file\"")
        .await;
    let of = async |outcome: &str| {
        let labels = format!("{{outcome=\"{outcome}\",trigger=\"file\"}}");
        world
            .metric(&format!("weir_config_reloads_total{labels}"))
            .await
    };
    assert_eq!((of("applied").await, of("refused").await), (3.0, 0.0));
}

#[tokio::test]
async fn what_is_written_in_two_steps_is_applied_once() {
    let world = World::new().await;
    let pause = || tokio::time::sleep(Duration::from_millis(400));
    world.write("weir.yaml", &world.and("bob"));
    world.settles([1, 0, 0]).await;
    // Its writer keeps it open in between. What it says by then is a config without bob, and not all of it.
    let mut file = fs::File::create(world.path("weir.yaml")).unwrap();
    file.write_all(world.yaml.as_bytes()).unwrap();
    pause().await;
    file.write_all(world.upstream("bob").as_bytes()).unwrap();
    pause().await;
    file.write_all(world.upstream("dan").as_bytes()).unwrap();
    drop(file);
    world.settles([2, 0, 0]).await;
    let outcome = world.last().await["outcome"].clone();
    assert_eq!(outcome["added"], serde_json::json!(["dan"]));
    assert_eq!(outcome["removed"], serde_json::json!([]));
    // Its writer comes again. What it says by then is no config.
    let whole = world.and("coy");
    let half = whole.split_once("tools:").unwrap().0;
    world.write("weir.yaml", &format!("{half}tools: ["));
    pause().await;
    world.write("weir.yaml", &whole);
    world.settles([3, 0, 0]).await;
    // It is not there for longer.
    fs::rename(world.path("weir.yaml"), world.path("aside")).unwrap();
    pause().await;
    pause().await;
    world.write("weir.yaml", &world.yaml);
    world.settles([4, 0, 0]).await;
    assert!(!world.weir.stderr().contains("refused"));
}

#[tokio::test]
async fn what_stays_wrong_is_refused_once_and_what_is_mended_is_applied() {
    let world = World::new().await;
    let good = "weir_config_last_reload_successful";
    let when = "weir_config_last_reload_success_timestamp_seconds";
    assert_eq!(world.metric(good).await, 1.0);
    let started = world.metric(when).await;
    world.write("weir.yaml", &format!("{}nonsense: true\n", world.yaml));
    world.wait_counts([0, 0, 1]).await;
    let last = world.last().await;
    let error = last["outcome"]["errors"][0].as_str().unwrap();
    let line = world.yaml.lines().count() + 1;
    assert!(
        error.contains(&format!("weir.yaml:{line}:1: nonsense: unknown key")),
        "{error}"
    );
    assert_eq!(
        (world.metric(good).await, world.metric(when).await),
        (0.0, started)
    );
    // The one from before is in force, and the same is not refused again, also if it is saved again.
    assert!(world.weir.modern().call("ann__a", "{}").await.succeeded());
    world.write("weir.yaml", &format!("{}nonsense: true\n", world.yaml));
    tokio::time::sleep(LASTING).await;
    world.settles([0, 0, 1]).await;
    assert_eq!(
        world.weir.stderr().matches("the config is refused").count(),
        1
    );
    world.write("weir.yaml", &world.and("bob"));
    world.settles([1, 0, 1]).await;
    assert_eq!(world.metric(good).await, 1.0);
    assert!(world.metric(when).await > started);
    // A change that is undone in time is not noticed.
    world.write("weir.yaml", "version: [");
    tokio::time::sleep(QUIET).await;
    world.write("weir.yaml", &world.and("bob"));
    tokio::time::sleep(LASTING).await;
    world.settles([1, 0, 1]).await;
    // A change that needs a restart is refused here as by a reload on request.
    world.write("weir.yaml", &format!("instance: other\n{}", world.yaml));
    world.settles([1, 0, 2]).await;
    let error = world.last().await["outcome"]["errors"][0].to_string();
    assert!(error.contains("`instance` cannot change"), "{error}");
}

#[tokio::test]
async fn a_secret_that_comes_late_mends_a_config_that_names_it() {
    let world = World::new().await;
    let auth = "    auth: { type: bearer, token: { file: token } }\n";
    world.write("weir.yaml", &format!("{}{auth}", world.and("bob")));
    world.wait_counts([0, 0, 1]).await;
    world.write("token", "t");
    world.settles([1, 0, 1]).await;
}

#[tokio::test]
async fn files_of_upstreams_come_change_and_go() {
    let world = World::new().await;
    let folder = world.path("upstreams.d");
    let file = |name: &str| format!("upstreams:\n{}", world.upstream(name));
    // The folder is made while weir runs, and what is no config in it is not looked at.
    fs::create_dir(&folder).unwrap();
    world.write("upstreams.d/.bob.yaml.swp", "[");
    world.stays([0, 0, 0]).await;
    world.write("upstreams.d/bob.yaml", &file("bob"));
    world.weir.wait_tools(["ann__a", "ann__b", "bob__a"]).await;
    world.settles([1, 0, 0]).await;
    world.write("upstreams.d/coy.json", "{\"upstreams\":{}}");
    world.settles([1, 1, 0]).await;
    world.write("upstreams.d/bob.yaml", &file("dan"));
    world.weir.wait_tools(["ann__a", "ann__b", "dan__a"]).await;
    world.settles([2, 1, 0]).await;
    fs::remove_dir_all(&folder).unwrap();
    world.weir.wait_tools(["ann__a", "ann__b"]).await;
    world.settles([3, 1, 0]).await;
    fs::create_dir(&folder).unwrap();
    world.write("upstreams.d/eve.yaml", &file("eve"));
    world.weir.wait_tools(["ann__a", "ann__b", "eve__a"]).await;
    world.settles([4, 1, 0]).await;
    // No folder at all.
    fs::remove_dir_all(&folder).unwrap();
    world.write("upstreams.d", "x");
    world.settles([4, 1, 1]).await;
    let error = world.last().await["outcome"]["errors"][0].to_string();
    assert!(error.contains("upstreams.d: cannot be read"), "{error}");
}

#[tokio::test]
async fn a_folder_that_is_made_anew_is_watched_again() {
    let world = World::with(|home, yaml| {
        fs::create_dir(home.join("real")).unwrap();
        fs::write(home.join("real/weir.yaml"), yaml).unwrap();
        symlink("real/weir.yaml", home.join("weir.yaml")).unwrap();
    })
    .await;
    for (round, name) in [(1, "bob"), (2, "coy")] {
        fs::remove_dir_all(world.path("real")).unwrap();
        fs::create_dir(world.path("real")).unwrap();
        world.write("real/weir.yaml", &world.and(name));
        world.settles([round, 0, 0]).await;
    }
    world.weir.wait_tools(["ann__a", "ann__b", "coy__a"]).await;
    assert!(world.weir.stderr().matches("watched").count() <= 1);
}

#[tokio::test]
async fn a_file_that_is_touched_is_none_that_changed() {
    let world = World::new().await;
    let generation = world.weir.generation().await;
    for _ in 0..3 {
        let file = fs::File::options()
            .append(true)
            .open(world.path("weir.yaml"));
        file.unwrap()
            .set_modified(std::time::SystemTime::now())
            .unwrap();
        world.write("weir.yaml", &world.yaml);
        world.write("notes.txt", "of somebody else");
    }
    world.stays([0, 0, 0]).await;
    assert_eq!(world.weir.generation().await, generation);
}

#[tokio::test]
async fn what_others_write_beside_the_config_holds_nothing_up() {
    let world = World::new().await;
    let (mut log, stop) = (
        fs::File::create(world.path("their.log")).unwrap(),
        CancellationToken::new(),
    );
    let stopped = stop.clone();
    let other = TaskTracker::new().spawn(async move {
        while !stopped.is_cancelled() {
            log.write_all(b"a line of theirs\n").unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    world.stays([0, 0, 0]).await;
    let start = Instant::now();
    world.write("weir.yaml", &world.and("bob"));
    world.wait_counts([1, 0, 0]).await;
    let took = start.elapsed();
    assert!(took < SELDOM, "it was held up for {took:?}");
    stop.cancel();
    other.await.unwrap();
    world.settles([1, 0, 0]).await;
}

#[tokio::test]
async fn of_many_saves_the_last_one_is_in_force() {
    let world = World::new().await;
    for round in 0..20 {
        world.write("weir.yaml", &world.and(&format!("bob{round}")));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world
        .weir
        .wait_tools(["ann__a", "ann__b", "bob19__a"])
        .await;
    tokio::time::sleep(QUIET).await;
    let [applied, unchanged, refused] = world.counts().await;
    assert!((1..=3).contains(&applied), "{applied}");
    assert_eq!((unchanged, refused), (0, 0));
}

#[tokio::test]
async fn who_asks_first_has_it_and_it_counts_once() {
    let world = World::new().await;
    world.write("weir.yaml", &world.and("bob"));
    world.weir.signal(Signal::HUP);
    world.settles([1, 0, 0]).await;
    assert_eq!(world.last().await["trigger"], "signal");
    // A config that is taken on already is nothing new to who asks for it.
    world.write("weir.yaml", &world.and("coy"));
    world.settles([2, 0, 0]).await;
    let post = world.weir.operate("/reload").send().await;
    let answer: Value = serde_json::from_str(&post.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(answer["outcome"], "unchanged");
    world.settles([2, 1, 0]).await;
    assert_eq!(world.last().await["trigger"], "request");
    // A text that was refused on request is not refused again by the watch.
    world.write("weir.yaml", "nonsense: true");
    let post = world.weir.operate("/reload").send().await;
    assert_eq!(post.unwrap().status(), 422);
    tokio::time::sleep(LASTING).await;
    world.settles([2, 1, 1]).await;
    let refused = "weir_config_reloads_total{outcome=\"refused\",trigger=\"request\"}";
    assert_eq!(world.metric(refused).await, 1.0);
}

#[tokio::test]
async fn a_change_that_is_waited_for_holds_nothing_up() {
    let world = World::new().await;
    world.write("weir.yaml", "nonsense: true");
    tokio::time::sleep(QUIET).await;
    world.write("weir.yaml", &world.and("bob"));
    world.weir.signal(Signal::TERM);
    let (status, _, stderr) = world.weir.ended().await;
    assert!(status.success(), "{stderr}");
    assert!(!stderr.contains("config"), "{stderr}");
    assert!(!stderr.contains("grace period"), "{stderr}");
}

#[tokio::test]
async fn a_config_that_is_named_by_a_relative_path_is_watched() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let (home, port) = (tempfile::tempdir().unwrap(), free_port());
    let yaml = Weir::over([&ann]).yaml(port, free_port());
    let path = home.path().join("weir.yaml");
    fs::write(&path, &yaml).unwrap();
    let process = Process::start_with(["serve", "-c", "weir.yaml"], |command| {
        command.current_dir(home.path());
    });
    process.wait_stderr("catalog published").await;
    let url = ann.url();
    fs::write(&path, format!("{yaml}  bob:\n    url: \"{url}\"\n")).unwrap();
    process.wait_stderr("config applied").await;
    process.stop().await;
}

#[tokio::test]
async fn nobody_watches_where_nobody_should() {
    let ann = Upstream::named("ann").tools(["a", "b"]).start().await;
    let weir = Weir::over([&ann]).unwatched().start().await;
    let yaml = fs::read_to_string(weir.home.path().join("weir.yaml")).unwrap();
    let world = World { ann, weir, yaml };
    world.write("weir.yaml", &world.and("bob"));
    world.stays([0, 0, 0]).await;
    world.weir.signal(Signal::HUP);
    world.settles([1, 0, 0]).await;
}
