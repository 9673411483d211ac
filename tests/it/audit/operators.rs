//! The record file for operators: commands, the admin page, and events of weir itself.

use super::*;

#[tokio::test]
async fn the_first_break_is_named_and_exits_with_1() {
    let up = upstream("new").await;
    let weir = audited([&up], "checkpoints: kept.jsonl").start().await;
    let modern = weir.modern();
    for id in ["a", "b", "c", "d"] {
        let ask = modern.ask(CALL, &call_params("new__echo", "{}"));
        ask.header("x-request-id", id).send().await;
    }
    weir.signal(Signal::TERM);
    let (file, home) = (file_of(&weir), weir.home.path().to_owned());
    wait_stopped(&file).await;
    let whole = std::fs::read_to_string(&file).unwrap();
    let out = verified(&home).await;
    assert!(
        out.contains("none is changed") && out.contains("ed25519:"),
        "{out}"
    );
    let rows: Vec<_> = whole.lines().collect();
    let at = |id: &str| {
        let id = format!("\"request_id\":\"{id}\"");
        rows.iter().position(|row| row.contains(&id)).unwrap()
    };
    let write = |rows: &[&str]| std::fs::write(&file, rows.join("\n") + "\n").unwrap();
    let config = home.join("weir.yaml").to_str().unwrap().to_owned();
    let check = async || command(&["audit", "verify", "-c", &config]).await;

    let changed = rows[at("b")].replace("\"upstream\":\"new\"", "\"upstream\":\"old\"");
    let mut broken = rows.clone();
    broken[at("b")] = &changed;
    write(&broken);
    let (code, _, err) = check().await;
    assert_eq!(code, Some(1), "{err}");
    let line = format!("weir.jsonl:{}: changed", at("b") + 1);
    assert!(err.contains(&line), "{err}");

    let mut broken = rows.clone();
    broken.remove(at("b"));
    write(&broken);
    let (code, _, err) = check().await;
    assert!(
        code == Some(1) && err.contains("missing: the line"),
        "{err}"
    );

    let mut broken = rows.clone();
    broken.swap(at("b"), at("d"));
    write(&broken);
    let (code, _, err) = check().await;
    assert!(code == Some(1) && err.contains("reordered"), "{err}");

    std::fs::write(&file, &whole).unwrap();
    let path = file.to_str().unwrap();
    let other = "ed25519:GDlWqGmn3OXI0HYh7CwDG25QAkRbUeJWCtrOnbqmlkk=";
    let (code, _, err) = command(&["audit", "verify", path, "--key", other]).await;
    assert!(code == Some(1) && err.contains("signature"), "{err}");
    let (code, _, err) = command(&["audit", "verify", "none.jsonl"]).await;
    assert!(code == Some(2) && err.contains("cannot be read"), "{err}");
    weir.ended().await;
}

#[tokio::test]
async fn a_missing_end_is_named_by_the_checkpoints_that_were_kept_elsewhere() {
    let up = upstream("new").await;
    let weir = audited([&up], "checkpoints: kept.jsonl").start().await;
    assert!(weir.modern().call("new__echo", "{}").await.succeeded());
    weir.signal(Signal::TERM);
    let (file, home) = (file_of(&weir), weir.home.path().to_owned());
    wait_stopped(&file).await;
    let whole = std::fs::read_to_string(&file).unwrap();
    let rows: Vec<_> = whole.lines().collect();
    let config = home.join("weir.yaml").to_str().unwrap().to_owned();
    verified(&home).await;
    std::fs::write(&file, rows[..rows.len() - 2].join("\n") + "\n").unwrap();
    let (code, _, err) = command(&["audit", "verify", "-c", &config]).await;
    assert!(
        code == Some(1) && err.contains("cut: there is a checkpoint"),
        "{err}"
    );
    let path = file.to_str().unwrap();
    let (code, _, err) = command(&["audit", "verify", path]).await;
    assert!(code == Some(0) && err.contains("--checkpoints"), "{err}");

    weir.ended().await;
}

/// Asks an operator's page of records.
async fn records(weir: &Weir, query: &str) -> Value {
    let url = weir.admin_url(&format!("/records{query}"));
    let asked = pool().get(url).bearer_auth(ADMIN_TOKEN).send().await;
    serde_json::from_str(&asked.unwrap().text().await.unwrap()).unwrap()
}

#[tokio::test]
async fn records_are_found_by_command_and_on_the_admin_listener() {
    let ups = [upstream("old").await, upstream("new").await];
    let weir = audited(&ups, "").start().await;
    let modern = weir.modern();
    for (id, tool) in [("a", "new__echo"), ("b", "old__echo"), ("c", "old__broken")] {
        let ask = modern.ask(CALL, &call_params(tool, "{}"));
        ask.header("x-request-id", id).send().await;
    }
    let file = file_of(&weir);
    line_of(&file, "c").await;
    let config = weir.home.path().join("weir.yaml");
    let config = config.to_str().unwrap();
    let query = async |args: &[&str]| {
        let all = [&["audit", "query", "-c", config, "--json"], args].concat();
        let (code, out, err) = command(&all).await;
        assert_eq!(code, Some(0), "{err}");
        let lines = out
            .lines()
            .map(|line| serde_json::from_str::<Line>(line).unwrap());
        let ids: Vec<_> = lines
            .map(|line| text(&line, "request_id").to_owned())
            .collect();
        ids
    };
    assert_eq!(query(&["--upstream", "old"]).await, ["b", "c"]);
    assert_eq!(query(&["--tool", "new__echo"]).await, ["a"]);
    assert_eq!(
        query(&["--status", "tool_error", "--since", "1h"]).await,
        ["c"]
    );
    assert_eq!(query(&["--request-id", "b"]).await, ["b"]);
    assert!(query(&["--until", "1h"]).await.is_empty());
    let (code, out, _) = command(&["audit", "query", "-c", config, "--request-id", "b"]).await;
    assert!(code == Some(0) && out.contains("old__echo"), "{out}");
    let shaped = [
        "audit",
        "query",
        "-c",
        config,
        "--request-id",
        "b",
        "--as",
        "ocsf",
    ];
    let (code, out, _) = command(&shaped).await;
    let event: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &event["class_uid"]), (Some(0), &Value::from(6003)));
    let (code, _, err) = command(&["audit", "query", "-c", config, "--since", "noon"]).await;
    assert!(code == Some(2) && err.contains("is no time"), "{err}");

    let open = pool().get(weir.admin_url("/records")).send().await.unwrap();
    assert_eq!(open.status(), 401, "reading is open, but not this");
    let page = records(&weir, "?upstream=old&limit=10").await;
    let ids: Vec<_> = page["records"].as_array().unwrap().iter().collect();
    let ids: Vec<_> = ids
        .iter()
        .map(|line| line["request_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["c", "b"]);
    assert_eq!(page["audit"]["failing"], false);
    let wrong = records(&weir, "?caller=a&colour=b").await;
    assert_eq!(wrong["error"], "unknown parameter `colour`");
}

#[tokio::test]
async fn without_audit_there_is_no_page_of_records() {
    let up = upstream("new").await;
    let weir = Weir::over([&up]).start().await;
    let page = records(&weir, "").await;
    assert!(
        page["error"].as_str().unwrap().contains("no `audit`"),
        "{page}"
    );
}

#[tokio::test]
async fn reloads_and_refused_credentials_leave_lines_too() {
    let up = upstream("new").await;
    let auth = "auth: { api_keys: { file: callers.yaml } }";
    let weir = audited([&up], "").listen(auth).unwatched();
    let weir = weir
        .start_in(|home, yaml| {
            let hash = "0".repeat(64);
            let keys = format!("ci: {{ subject: builds, hash: \"sha256:{hash}\" }}\n");
            std::fs::write(home.join("callers.yaml"), keys).unwrap();
            std::fs::write(home.join("weir.yaml"), yaml).unwrap();
        })
        .await;
    let http = pool();
    for _ in 0..300 {
        let post = http.post(weir.url()).bearer_auth("not-a-key");
        let post = post.header("content-type", "application/json").body("{}");
        post.send().await.unwrap();
    }
    weir.operate("/reload").send().await.unwrap();
    let file = file_of(&weir);
    for _ in 0..500 {
        if lines(&file)
            .iter()
            .any(|line| line["method"] == "weir/reload")
        {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let lines = lines(&file);
    assert_chain(&lines);
    let reload = lines
        .iter()
        .find(|line| line["method"] == "weir/reload")
        .unwrap();
    assert_eq!(
        reload["event"]["outcome"]["outcome"], "unchanged",
        "{reload:?}"
    );
    let refused = lines
        .iter()
        .filter(|line| line["method"] == "weir/refused_credential");
    let refused = refused.count();
    assert!((1..200).contains(&refused), "{refused}");
}
