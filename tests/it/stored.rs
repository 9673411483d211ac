//! A weir that starts while the world is down has the catalog it had.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::support::at;
use crate::support::client::{Stream, names};
use crate::support::upstream::{Kind, Upstream};
use crate::support::weir::Weir;

/// The files of stored listings.
fn files(weir: &Weir) -> Vec<PathBuf> {
    let folder = weir.home.path().join("state/listings");
    let found = fs::read_dir(folder).map(|found| found.map(|entry| entry.unwrap().path()));
    found.map(Iterator::collect).unwrap_or_default()
}

/// Waits until so many upstreams have something stored.
async fn stored(weir: &Weir, count: usize) {
    let waited = async {
        while files(weir).len() != count {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(crate::support::BOUND, waited).await;
    assert!(waited.is_ok(), "{:?}\n{}", files(weir), weir.stderr());
}

#[tokio::test]
async fn a_weir_whose_upstreams_are_down_lists_what_they_had() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let bob = Upstream::named("bob")
        .tools(["b"])
        .legacy("2025-06-18")
        .start()
        .await;
    let weir = Weir::over([&ann, &bob]).state().start().await;
    weir.wait_tools(["ann__a", "bob__b"]).await;
    stored(&weir, 2).await;
    ann.stop().await;
    bob.stop().await;
    let weir = weir.restart().await;
    // Ready at once: nobody waits for those who are down.
    assert_eq!(weir.tool_names().await, ["ann__a", "bob__b"]);
    assert_eq!(weir.told("ann").await["listing_is_stored"], true);
    let legacy = weir.legacy("2025-11-25").await;
    assert_eq!(legacy.tool_names().await, ["ann__a", "bob__b"]);
    // A call says at once who is missing.
    let reply = weir.modern().call("ann__a", "{}").await;
    assert_eq!(
        (reply.code(), &reply.error()["data"]["upstream"]),
        (-32603, &"ann".into())
    );
    // One comes back with another tool, the other one stays away.
    let before = weir.generation().await;
    ann.set_tools(["a", "c"]);
    ann.restart().await;
    weir.wait_tools(["ann__a", "ann__c", "bob__b"]).await;
    assert_eq!(
        weir.generation().await,
        before + 1,
        "one change, one publication"
    );
    assert_eq!(weir.told("ann").await["listing_is_stored"], false);
    assert_eq!(weir.told("bob").await["listing_is_stored"], true);
    assert_eq!(weir.modern().call("ann__a", "{}").await.text(), "ann.a {}");
}

#[tokio::test]
async fn an_upstream_that_comes_back_as_it_was_changes_nothing() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let weir = Weir::over([&ann]).state().start().await;
    weir.wait_tools(["ann__a"]).await;
    stored(&weir, 1).await;
    let weir = weir.restart().await;
    weir.wait_told("ann", "state", "up").await;
    assert_eq!(weir.told("ann").await["listing_is_stored"], false);
    assert_eq!(weir.generation().await, 0, "what was stored still holds");
}

/// 2026-01-01T00:00:00Z
const LONG_AGO: u64 = 1_767_225_600;

/// Each tool with its stamp.
async fn stamped(weir: &Weir) -> Vec<(String, Option<String>)> {
    let tools = weir.modern().list_all("tools/list").await;
    let stamps = tools.iter().map(|tool| at(tool, &["_meta", "weir/stale"]));
    names(&tools, "name").into_iter().zip(stamps).collect()
}

/// The next change that a stream tells of.
async fn change(stream: &mut Stream) {
    loop {
        let event = stream.next_value().await;
        if event["method"] != "notifications/subscriptions/acknowledged" {
            assert_eq!(event["method"], "notifications/tools/list_changed");
            return;
        }
    }
}

/// Three upstreams that are down, behind a weir that started just now, with what they listed long ago.
async fn world_down() -> (Weir, Vec<Upstream>) {
    let mut ups = Vec::new();
    for name in ["ann", "bob", "cat"] {
        ups.push(Upstream::named(name).tools(["t"]).start().await);
    }
    let old = "stale: { max_age: 3000d }";
    let weir = Weir::over(&ups)
        .upstream("ann", old)
        .upstream("bob", old)
        .upstream("cat", old)
        .instance("eu")
        .state()
        .start()
        .await;
    weir.wait_tools(["ann__t", "bob__t", "cat__t"]).await;
    stored(&weir, 3).await;
    for up in &ups {
        up.stop().await;
    }
    // They have been down for long, and so has weir.
    let weir = weir
        .restart_with(|folder| {
            let then = std::time::UNIX_EPOCH + std::time::Duration::from_secs(LONG_AGO);
            for entry in fs::read_dir(folder.join("state/listings")).unwrap() {
                let file = fs::File::options().write(true).open(entry.unwrap().path());
                file.unwrap().set_modified(then).unwrap();
            }
        })
        .await;
    (weir, ups)
}

#[tokio::test]
async fn upstreams_that_come_up_one_by_one_are_one_change_each() {
    let (weir, ups) = world_down().await;
    let old = Some("\"2026-01-01T00:00:00Z\"".to_owned());
    let row = |name: &str, stamp: &Option<String>| (name.to_owned(), stamp.clone());
    let mut expected = ["ann__t", "bob__t", "cat__t"]
        .map(|name| row(name, &old))
        .to_vec();
    assert_eq!(stamped(&weir).await, expected);
    let told = weir.told("cat").await;
    assert_eq!(
        (&told["listed_at"], &told["stale"]),
        (&"2026-01-01T00:00:00Z".into(), &true.into())
    );
    let (modern, legacy) = (weir.modern(), weir.legacy("2025-11-25").await);
    let wish = r#"{"toolsListChanged":true}"#;
    let mut streams = [modern.listen("1", wish).await, legacy.listen().await];
    let before = weir.generation().await;
    // One as it was, one with a tool more, one with another tool.
    ups[1].add_tool("u");
    ups[2].set_tools(["v"]);
    let steps: [(usize, Vec<_>); 3] = [
        (0, vec![row("ann__t", &None)]),
        (1, vec![row("bob__t", &None), row("bob__u", &None)]),
        (2, vec![row("cat__v", &None)]),
    ];
    for (at, now) in steps {
        ups[at].restart().await;
        for stream in &mut streams {
            change(stream).await;
        }
        let upstream = ups[at].name();
        let place = expected
            .iter()
            .position(|(name, _)| name.starts_with(&upstream));
        expected.splice(place.unwrap()..=place.unwrap(), now);
        assert_eq!(stamped(&weir).await, expected);
        assert_eq!(weir.generation().await, before + 1 + at as u64);
    }
    // Nothing else was said in between: what comes next is the next change.
    ups[0].wait_listening().await;
    ups[0].add_tool("last");
    ups[0].notify_list_changed(Kind::Tools);
    for stream in &mut streams {
        change(stream).await;
    }
    assert!(weir.tool_names().await.contains(&"ann__last".to_owned()));
    assert_eq!(weir.generation().await, before + 4);
}

#[tokio::test]
async fn what_is_hidden_when_stale_is_hidden_when_stored() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let weir = Weir::over([&ann])
        .upstream("ann", "stale: { policy: hide }")
        .state()
        .start()
        .await;
    weir.wait_tools(["ann__a"]).await;
    stored(&weir, 1).await;
    ann.stop().await;
    let weir = weir.restart().await;
    assert!(weir.tool_names().await.is_empty());
    ann.restart().await;
    weir.wait_tools(["ann__a"]).await;
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_said() {
    let ann = Upstream::named("ann").tools(["a"]).start().await;
    let weir = Weir::over([&ann]).state().start().await;
    weir.wait_tools(["ann__a"]).await;
    stored(&weir, 1).await;
    let file = files(&weir).remove(0);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, &text[..text.len() - 3]).unwrap();
    let weir = weir.restart().await;
    weir.wait_stderr("a stored listing is of no use").await;
    weir.wait_tools(["ann__a"]).await;
    stored(&weir, 2).await;
}

#[tokio::test]
async fn a_weir_that_is_killed_while_listings_change_never_has_half_of_one() {
    let ann = Upstream::named("ann").tools(["t0"]).start().await;
    let mut weir = Weir::over([&ann])
        .upstream("ann", "resync: 50ms")
        .state()
        .start()
        .await;
    for round in 0..8 {
        // Lists of many lengths, and the kill at no moment in particular.
        for tool in 0..40 {
            ann.add_tool(&format!("r{round}-{tool}"));
            ann.notify_list_changed(Kind::Tools);
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        }
        weir.signal(Signal::KILL);
        weir = weir.restart().await;
        let at_once = weir.tool_names().await;
        assert!(at_once.contains(&"ann__t0".to_owned()), "{at_once:?}");
        assert!(!weir.stderr().contains("of no use"), "{}", weir.stderr());
    }
}
