//! Pins outlive the run that made them.

use super::*;

#[tokio::test]
async fn a_restart_launders_nothing() {
    let (ann, weir) = held().await;
    // The rug is pulled while weir is down.
    weir.signal(Signal::KILL);
    has(&ann, &[tool("a", "Two.")]);
    let weir = weir.restart().await;
    weir.wait_told("ann", "drift/drifted", "ann__a").await;
    assert_eq!(description(&weir, "ann__a").await.as_deref(), Some("One."));
    weir.wait_stderr("says otherwise than what is pinned").await;
    // By now it is the new words that are stored as listed; served are the old ones, from the first answer on.
    bounded("the new listing", async {
        while !stored(&weir, "Two.") {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    ann.stop().await;
    weir.signal(Signal::KILL);
    let weir = weir.restart().await;
    assert_eq!(description(&weir, "ann__a").await.as_deref(), Some("One."));
    assert_eq!(waiting(&weir, "ann").await, ["ann__a"]);
    // It can be accepted while its upstream is down: what it said is known.
    let (status, answer) = accept(&weir, "ann__a", "").await;
    assert_eq!((status, &answer["stored"]), (200, &true.into()), "{answer}");
    assert_eq!(description(&weir, "ann__a").await.as_deref(), Some("Two."));
    let weir = weir.restart().await;
    assert_eq!(description(&weir, "ann__a").await.as_deref(), Some("Two."));
}

#[tokio::test]
async fn what_goes_and_comes_back_after_a_restart_is_still_known() {
    let (ann, weir) = held().await;
    has(&ann, &[raw("b", r#""inputSchema":{}"#)]);
    weir.resync("ann").await;
    weir.wait_tools(["ann__b"]).await;
    pinned(&weir, "\"gone\":1").await;
    let weir = weir.restart().await;
    has(&ann, &[raw("b", r#""inputSchema":{}"#), tool("a", "Two.")]);
    weir.resync("ann").await;
    assert_eq!(description(&weir, "ann__a").await.as_deref(), Some("One."));
    // Nor is it a way out to be called otherwise.
    has(&ann, &[raw("b", r#""inputSchema":{}"#), tool("c", "Two.")]);
    weir.resync("ann").await;
    assert_eq!(description(&weir, "ann__c").await.as_deref(), Some("One."));
    let told = weir.told("ann").await["drift"]["drifted"][0].clone();
    assert_eq!(
        (&told["renamed_from"], &told["original"]),
        (&"a".into(), &"c".into())
    );
    // That alone is nobody's harm.
    has(&ann, &[raw("b", r#""inputSchema":{}"#), tool("d", "One.")]);
    weir.resync("ann").await;
    assert_eq!(description(&weir, "ann__d").await.as_deref(), Some("One."));
    let told = weir.told("ann").await["drift"].clone();
    assert_eq!(told["drifted"], json!([]));
    assert_eq!(told["renamed"][0]["renamed_from"], "a");
    assert!(weir.modern().call("ann__d", "{}").await.succeeded());
}

#[tokio::test]
async fn pins_that_are_damaged_are_set_aside_and_said() {
    let (_ann, weir) = held().await;
    let file = files(&weir).remove(0);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("One.", "Two.")).unwrap();
    let weir = weir.restart().await;
    weir.wait_stderr("stored pins are of no use").await;
    assert_eq!(description(&weir, "ann__a").await.as_deref(), Some("One."));
    pinned(&weir, "One.").await;
    assert_eq!(files(&weir).len(), 2);
}

#[tokio::test]
async fn without_a_state_folder_pins_are_forgotten_and_that_is_said() {
    let ann = Upstream::named("ann")
        .raw_tool(&tool("a", "One."))
        .start()
        .await;
    let weir = Weir::over([&ann])
        .upstream("ann", "drift: hold")
        .start()
        .await;
    weir.wait_tools(["ann__a"]).await;
    weir.wait_stderr("are forgotten at a restart").await;
    has(&ann, &[tool("a", "Two.")]);
    weir.resync("ann").await;
    assert_eq!(description(&weir, "ann__a").await.as_deref(), Some("One."));
    let (status, answer) = accept(&weir, "ann__a", "").await;
    assert_eq!((status, &answer["stored"]), (200, &Value::Null), "{answer}");
    has(&ann, &[tool("a", "Three.")]);
    let weir = weir.restart().await;
    weir.wait_tools(["ann__a"]).await;
    assert_eq!(
        description(&weir, "ann__a").await.as_deref(),
        Some("Three.")
    );
    let plain = Weir::over([&ann]).start().await;
    plain.wait_tools(["ann__a"]).await;
    assert!(!plain.stderr().contains("forgotten"), "{}", plain.stderr());
}
