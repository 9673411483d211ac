//! Messages that pass through two weirs.

use super::*;

#[tokio::test]
async fn calls_and_what_belongs_to_them_pass_through_two_weirs_in_any_mix_of_eras() {
    let long = "a_very_long_name_of_a_tool_that_alone_is_almost_sixty_characters";
    let make = |up: Builder| up.tools([long]).progress("work", 3);
    let ups = both_eras(make).await;
    for hop in Hop::ALL {
        let chain = Chain::over(Weir::over(&ups), hop, "").await;
        for client in Client::both(&chain.near).await {
            let names = client.tool_names().await;
            assert_eq!(names.len(), 4, "{names:?}");
            for up in &ups {
                let at = |seen: &Recorded, key| seen.raw(&["params", "_meta", key]);
                let name = format!("far__{}__work", up.name());
                let params = format!(r#"{{"name":"{name}","arguments":{{"n":1e400}}}}"#);
                let ask = client.ask("tools/call", &params);
                let ask = ask.meta("progressToken", "\"mine\"");
                let reply = ask.meta("traceparent", "\"00-a-b-01\"").send().await;
                let text = format!(r#"{}.work {{"n":1e400}}"#, up.name());
                assert_eq!(reply.text(), text, "{hop:?} {reply:?}");
                let (answer, progress) = reply.events.split_last().expect("events");
                let progress: Vec<Value> = progress
                    .iter()
                    .map(|event| {
                        serde_json::from_str(&event.replace("12345678901234567890123", "0"))
                    })
                    .map(Result::unwrap)
                    .collect();
                let steps: Vec<_> = progress.iter().map(|event| &event["params"]).collect();
                assert!(
                    steps.iter().all(|step| step["progressToken"] == "mine"),
                    "{answer}"
                );
                let steps: Vec<_> = steps.iter().map(|step| step["progress"].as_u64()).collect();
                assert_eq!(steps, [Some(1), Some(2), Some(3)], "{hop:?}");
                let seen = up.last("tools/call");
                assert_eq!(path(&seen), r#"["near","far"]"#);
                assert_eq!(at(&seen, "traceparent").as_deref(), Some("\"00-a-b-01\""));
                assert!((100_000..=119_000).contains(&given(&seen)), "{seen:?}");
                // The name that is too long twice over, found by what it begins with.
                let begins = format!("far__{}__a_very", up.name());
                let name = names.iter().find(|name| name.starts_with(&begins)).unwrap();
                assert!(name.len() <= 64, "{name}");
                let reply = client.call(name, "{}").await;
                assert_eq!(reply.text(), format!("{}.{long} {{}}", up.name()));
            }
        }
    }
}

#[tokio::test]
async fn a_question_and_its_answer_pass_through_two_modern_weirs() {
    let up = Upstream::named("up").asks_input("who").modern();
    let up = up.start().await;
    let chain = Chain::over(Weir::over([&up]), Hop::Modern, "").await;
    let mut modern = chain.near.modern();
    modern.capabilities = r#"{"elicitation":{}}"#.to_owned();
    let asked = modern.call("far__up__who", "{}").await.value();
    assert_eq!(asked["resultType"], "input_required");
    let responses = r#"{ "who":{"content":{"n":1e400},"action":"accept"} }"#;
    let state = &asked["requestState"];
    let answer = format!(
        r#"{{"name":"far__up__who","arguments":{{}},"inputResponses":{responses},"requestState":{state}}}"#
    );
    let done = modern.request("tools/call", &answer).await;
    assert_eq!(done.text(), responses);
}

#[tokio::test]
async fn a_cancellation_passes_through_two_weirs() {
    let ups = both_eras(|up| up.gate("work")).await;
    let work = || "work".to_owned();
    let expected = [
        Cancelled::Closed { tool: work() },
        Cancelled::Notified { tool: work() },
    ];
    for hop in Hop::ALL {
        let chain = Chain::over(Weir::over(&ups), hop, "").await;
        for (up, expected) in ups.iter().zip(&expected) {
            let params = format!(r#"{{"name":"far__{}__work"}}"#, up.name());
            let cancelled = || {
                let seen = up.log().seen();
                let cancelled = seen.cancelled.iter();
                cancelled.filter(|cancelled| *cancelled == expected).count()
            };
            for client in Client::both(&chain.near).await {
                let before = cancelled();
                let call = async {
                    let _ = client
                        .ask("tools/call", &params)
                        .id("\"mine\"")
                        .send()
                        .await;
                    std::future::pending::<()>().await;
                };
                let begun = async {
                    up.wait_running("work", 1).await;
                    if let Client::Legacy(legacy) = &client {
                        let id = r#"{"requestId":"mine"}"#;
                        legacy.notify("notifications/cancelled", id).await;
                        up.wait_running("work", 0).await;
                    }
                };
                tokio::select! {
                    () = call => {}
                    () = begun => {}
                }
                drop(client);
                up.wait_running("work", 0).await;
                assert_eq!(
                    cancelled(),
                    before + 1,
                    "{hop:?} {:?}",
                    up.log().seen().cancelled
                );
            }
        }
    }
}

#[tokio::test]
async fn a_change_at_the_far_end_is_told_at_the_near_one() {
    let up = Upstream::named("up").tools(["t"]).start().await;
    for (at, hop) in Hop::ALL.into_iter().enumerate() {
        let chain = Chain::over(Weir::over([&up]), hop, "resync: 1h").await;
        let modern = chain.near.modern();
        let legacy = chain.near.legacy("2025-11-25").await;
        let wishes = r#"{"toolsListChanged":true}"#;
        let mut streams = [modern.listen("1", wishes).await, legacy.listen().await];
        streams[0].next_value().await;
        up.wait_listening().await;
        let added = format!("added{at}");
        up.add_tool(&added);
        up.notify_list_changed(Kind::Tools);
        for stream in &mut streams {
            let told = stream.next_value().await;
            assert_eq!(told["method"], "notifications/tools/list_changed");
        }
        let names = modern.tool_names().await;
        assert!(names.contains(&format!("far__up__{added}")), "{names:?}");
    }
}

#[tokio::test]
async fn no_call_fails_while_the_far_catalog_is_swapped() {
    let up = Upstream::named("up").tools(["t"]).start().await;
    for hop in Hop::ALL {
        let chain = Chain::over(Weir::over([&up]), hop, "").await;
        let begun = chain.near.generation().await;
        let over = AtomicBool::new(false);
        let swaps = async {
            // An upstream that changes all the time is listed at weir's pace.
            while chain.near.generation().await < begun + 3 {
                for present in [true, false] {
                    match present {
                        true => up.add_tool("flicker"),
                        false => up.remove_tool("flicker"),
                    }
                    up.notify_list_changed(Kind::Tools);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            over.store(true, Ordering::Relaxed);
        };
        let mut callers = Vec::new();
        for _ in 0..4 {
            callers.extend(Client::both(&chain.near).await);
        }
        let calls = callers.iter().map(async |caller| {
            let mut calls = 0;
            while !over.load(Ordering::Relaxed) {
                let reply = caller.call("far__up__t", "{}").await;
                assert_eq!(reply.text(), "up.t {}", "{hop:?}");
                calls += 1;
            }
            calls
        });
        let ((), calls) = tokio::join!(swaps, futures::future::join_all(calls));
        assert!(calls.iter().all(|calls| *calls > 0), "{calls:?}");
    }
}
