//! Failures at the far end of a chain, and what is made of them.

use super::*;

/// An error that names the hop before the one that failed, and that one.
fn fails_at(reply: &Reply, reason: &str, inner: &str) {
    assert_eq!((reply.status, reply.code()), (200, -32603), "{reply:?}");
    let error = reply.error();
    let cause = json!({"upstream": inner, "reason": reason});
    let data = json!({"upstream": "far", "reason": reason, "cause": cause});
    assert_eq!(error["data"], data, "{error}");
    let message = format!("upstream `far`: upstream `{inner}`: {reason}");
    assert_eq!(error["message"], message);
}

#[tokio::test]
async fn what_fails_at_the_far_end_is_named_hop_by_hop_and_the_rest_goes_on() {
    for hop in Hop::ALL {
        let well = Upstream::named("well").tools(["t"]).start().await;
        let hung = Upstream::named("hung").tools(["t"]).start().await;
        let dead = Upstream::named("dead").tools(["t"]).start().await;
        let far = Weir::over([&well, &hung, &dead]);
        let chain = Chain::over(far, hop, "timeouts: { call: 2s }").await;
        let near = &chain.near;
        near.wait_tools(["far__well__t", "far__hung__t", "far__dead__t"])
            .await;
        hung.fault(On::Tool("t".into()), Times::Forever, Fault::StallHeaders);
        dead.stop().await;
        let callers = Client::both(near).await;
        let each = callers.iter().map(async |client| {
            let begun = Instant::now();
            let (hangs, serves, gone) = tokio::join!(
                client.call("far__hung__t", "{}"),
                async {
                    for _ in 0..20 {
                        assert!(client.call("far__well__t", "{}").await.succeeded());
                    }
                    begun.elapsed()
                },
                async { (client.call("far__dead__t", "{}").await, begun.elapsed()) },
            );
            // Two seconds at the near weir, so a little less at the far one, which knows more.
            fails_at(&hangs, "no answer in time", "hung");
            fails_at(&gone.0, "cannot connect", "dead");
            let quick = Duration::from_millis(1500);
            assert!(serves < quick && gone.1 < quick, "{serves:?} {:?}", gone.1);
            assert_eq!(client.tool_names().await.len(), 3);
        });
        futures::future::join_all(each).await;
    }
}

#[tokio::test]
async fn the_weir_that_is_gone_itself_is_named_without_a_cause() {
    let up = Upstream::named("up").tools(["t"]).start().await;
    let port = free_port();
    let impatient = "timeouts: { connect: 1s, call: 1s }";
    let chain = Chain::over(Weir::over([&up]).on(port), Hop::Modern, impatient).await;
    let Chain { near, far, .. } = chain;
    near.wait_tools(["far__up__t"]).await;
    drop(far);
    // Nobody else gets its port; who connects now waits in vain.
    let _held = bounded("its end", async {
        loop {
            match tokio::net::TcpListener::bind(("127.0.0.1", port)).await {
                Ok(listener) => return listener,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    })
    .await;
    for client in Client::both(&near).await {
        let reply = client.call("far__up__t", "{}").await;
        assert_eq!((reply.status, reply.code()), (200, -32603), "{reply:?}");
        let data = &reply.error()["data"];
        assert_eq!(
            (&data["upstream"], &data["cause"]),
            (&json!("far"), &Value::Null)
        );
    }
}

#[tokio::test]
async fn errors_that_are_not_weirs_pass_through_a_chain_byte_for_byte() {
    let errors = [
        r#"{"code":1234,"message":"caf\u00e9","data":{"upstream":"x","reason":"y","n":1e400},"more":[ ]}"#,
        r#"{"code":-32603,"message":"m","data":{"n":12345678901234567890}}"#,
    ];
    // One that looks like weir's own is not touched either, where it does not come from a weir.
    let alike = r#"{"code":-32603,"message":"m","data":{"upstream":"x","reason":"y"}}"#;
    let make = |up: Builder| {
        let up = up.errors("e0", errors[0]).errors("e1", errors[1]);
        up.errors("alike", alike)
    };
    let ups = both_eras(make).await;
    for hop in Hop::ALL {
        let chain = Chain::over(Weir::over(&ups), hop, "").await;
        for client in Client::both(&chain.near).await {
            for up in ["new", "old"] {
                for (at, error) in errors.iter().enumerate() {
                    let reply = client.call(&format!("far__{up}__e{at}"), "{}").await;
                    assert_eq!(reply.raw_error(), *error, "{hop:?}");
                }
            }
        }
        for client in Client::both(&chain.far).await {
            let reply = client.call("new__alike", "{}").await;
            assert_eq!(reply.raw_error(), alike);
        }
    }
}
