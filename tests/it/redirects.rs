//! Upstreams that redirect: what weir follows, and what it says of the rest.

use crate::support::upstream::{Fault, On, Times, Upstream};
use crate::support::weir::Weir;
use crate::upstreams::{failed, works};

fn on(method: &str) -> On {
    On::Method(method.to_owned())
}

#[tokio::test]
async fn a_redirect_to_another_path_of_the_same_server_is_followed() {
    for (status, version, connector) in [
        (307, "2025-06-18", "on_prem"),
        (308, "2025-06-18", "saas"),
        (307, "2026-07-28", "on_prem"),
        (308, "2026-07-28", "saas"),
    ] {
        let up = Upstream::named("up").tools(["search"]).bearer("t0ken");
        let up = match version {
            "2026-07-28" => up.modern(),
            version => up.legacy(version),
        };
        let up = up.moved(status).start().await;
        let weir = Weir::with(&format!(
            "  up:\n    connector: {connector}\n    url: \"{}\"\n    auth: {{ type: bearer, token: {{ value: t0ken }} }}\n",
            up.url()
        ));
        let weir = weir.start().await;
        weir.wait_tools(["up__search"]).await;
        up.wait_listening().await;
        works(&weir, "up").await;
    }
}

#[tokio::test]
async fn a_server_may_begin_to_redirect_at_any_time() {
    let up = Upstream::named("up").tools(["search"]).legacy("2025-06-18");
    let up = up.start().await;
    let weir = Weir::over([&up]).start().await;
    let legacy = weir.legacy("2025-06-18").await;
    assert!(legacy.call("up__search", "{}").await.succeeded());
    up.set_moved(307);
    for _ in 0..2 {
        let reply = legacy.call("up__search", "{}").await;
        assert!(reply.succeeded(), "{reply:?}");
    }
    weir.resync("up").await;
    works(&weir, "up").await;
}

#[tokio::test]
async fn another_server_gets_nothing_and_is_named() {
    let elsewhere = Upstream::named("elsewhere").tools(["search"]).start().await;
    let origin = elsewhere.url().replace("/mcp", "");
    for status in [301, 302, 303, 307, 308] {
        let up = Upstream::named("up")
            .tools(["search"])
            .bearer("t0ken")
            .start()
            .await;
        let weir = Weir::over([&up])
            .upstream("up", "auth: { type: bearer, token: { value: t0ken } }")
            .start()
            .await;
        works(&weir, "up").await;
        let to = format!("{}?token=s3cret", elsewhere.url());
        up.fault(On::Anything, Times::Forever, Fault::Redirect(status, to));
        let reply = weir.modern().call("up__search", "{}").await;
        failed(&reply, "up");
        assert_eq!(
            reply.error()["data"]["reason"],
            "redirects to another address"
        );
        weir.resync("up").await;
        let told = weir.wait_told("up", "reason", &origin).await;
        assert!(!told.to_string().contains("s3cret"), "{told}");
        assert!(!weir.stderr().contains("s3cret"));
    }
    assert!(elsewhere.log().seen().requests.is_empty());
}

#[tokio::test]
async fn a_redirect_that_changes_the_method_or_never_ends_is_named() {
    let up = Upstream::named("up").tools(["search"]).legacy("2025-06-18");
    let up = up.start().await;
    let weir = Weir::over([&up]).start().await;
    for (fault, named) in [
        (
            Fault::Redirect(301, "/mcp/".into()),
            "with a slash at its end",
        ),
        (
            Fault::Redirect(302, "/login".into()),
            "another path of the same server",
        ),
        (Fault::Redirect(307, "/mcp".into()), "again and again"),
    ] {
        up.fault(on("tools/list"), Times::Forever, fault);
        weir.resync("up").await;
        weir.wait_told("up", "reason", named).await;
        up.heal();
        weir.resync("up").await;
        works(&weir, "up").await;
    }
}
