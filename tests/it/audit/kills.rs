//! A weir that is killed: the chain holds up to the last line, and the next one says what was cut.

use super::*;

#[tokio::test]
async fn a_killed_weir_leaves_a_whole_chain_and_the_next_one_goes_on() {
    kill_again_and_again("").await;
}

#[tokio::test]
async fn a_weir_that_is_killed_between_its_files_leaves_a_whole_chain_too() {
    kill_again_and_again("rotate: { bytes: 64KiB }, fsync: always").await;
}

/// Kills a weir under load, and checks what the weirs after it leave.
async fn kill_again_and_again(settings: &str) {
    let up = upstream("new").await;
    let mut weir = audited([&up], settings).start().await;
    let home = weir.home.path().to_owned();
    let folder = home.join("audit");
    for round in 0..5 {
        let url = weir.url();
        let calls = (0..8).map(|caller| {
            let modern = Modern::new(&url);
            async move {
                for call in 0..1_000 {
                    let ask = modern.ask(CALL, &call_params("new__echo", "{}"));
                    let id = format!("{round}-{caller}-{call}");
                    ask.header("x-request-id", &id).send().await;
                }
            }
        });
        let twentieth = format!("\"{round}-0-20\"");
        tokio::select! {
            _ = futures::future::join_all(calls) => panic!("it was not killed"),
            () = wait_written(&folder, &twentieth) => {}
        }
        weir.signal(Signal::KILL);
        weir = weir.restart_with(|_| {}).await;
    }
    weir.signal(Signal::TERM);
    wait_stopped(&file_of(&weir)).await;
    let lines = all_lines(&folder);
    assert_chain(&lines);
    verified(&home).await;
    let starts = lines.iter().filter(|line| line["method"] == "weir/start");
    let in_order: Vec<_> = starts
        .map(|line| line["event"]["stopped_in_order"].clone())
        .collect();
    assert_eq!(in_order[0], Value::Null);
    assert_eq!(in_order[1..], vec![Value::Bool(false); 5]);
    let ids = lines.iter().map(|line| text(line, "request_id"));
    let ids: Vec<_> = ids.filter(|id| id.matches('-').count() == 2).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    weir.ended().await;
}

/// Waits until a text is in one of the files of a folder.
async fn wait_written(folder: &Path, text: &str) {
    for _ in 0..3_000 {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        let texts = entries.map(|entry| std::fs::read_to_string(entry.unwrap().path()));
        if texts.flatten().any(|found| found.contains(text)) {
            return;
        }
        // Another process: nothing to be woken by.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{text} was not written");
}

#[tokio::test]
async fn a_torn_end_is_moved_away_and_said() {
    let up = upstream("new").await;
    let weir = audited([&up], "").start().await;
    assert!(weir.modern().call("new__echo", "{}").await.succeeded());
    let torn = br#"{"time":"2026-11-28T09:00:00.000000Z","request_id":"half"#;
    let weir = weir
        .restart_with(|home| {
            use std::io::Write as _;
            let file = home.join("audit/weir.jsonl");
            let mut file = std::fs::OpenOptions::new().append(true).open(file).unwrap();
            file.write_all(torn).unwrap();
        })
        .await;
    weir.wait_stderr("did not end in a whole line").await;
    wait_written(&weir.home.path().join("audit"), "\"cut\":{").await;
    let lines = lines(&file_of(&weir));
    assert_chain(&lines);
    let start = lines
        .iter()
        .rfind(|line| line["method"] == "weir/start")
        .unwrap();
    let cut = &start["event"]["cut"];
    assert_eq!(cut["bytes"], torn.len());
    let aside = weir
        .home
        .path()
        .join("audit")
        .join(cut["file"].as_str().unwrap());
    assert_eq!(std::fs::read(aside).unwrap(), torn);
    verified(weir.home.path()).await;
}

#[tokio::test]
async fn a_second_weir_does_not_write_to_the_file_of_the_first() {
    let up = upstream("new").await;
    let weir = audited([&up], "").start().await;
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("weir.yaml");
    let yaml = format!(
        "version: 1\nlisten: {{ address: \"127.0.0.1:0\" }}\naudit: {{ file: {} }}\nupstreams: {{}}\n",
        file_of(&weir).display()
    );
    std::fs::write(&config, yaml).unwrap();
    let (code, _, err) = command(&["serve", "-c", config.to_str().unwrap()]).await;
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("is being written by another weir"), "{err}");
}
