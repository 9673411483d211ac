//! Times, subjects, audiences, and how much a token may say.

#![allow(clippy::too_many_lines, reason = "a table is long")]

use serde_json::json;

use super::*;
use crate::authentication::jwt::tests::PUBLIC_URL;

#[tokio::test]
async fn times_subjects_and_audiences_are_checked_to_the_second() {
    let rows = vec![
        claims(
            "ends within the leeway",
            plain,
            with("exp", json!(NOW - 59)),
            Accepted,
        ),
        claims(
            "ended when the leeway did",
            plain,
            with("exp", json!(NOW - 60)),
            Wrong(ENDED, "60 s ago"),
        ),
        claims(
            "ended long ago",
            plain,
            with("exp", json!(1)),
            Wrong(ENDED, "ago"),
        ),
        claims(
            "a time with a fraction",
            plain,
            with("exp", json!(1_800_000_000.5)),
            Accepted,
        ),
        claims("no exp", plain, without("exp"), Wrong(TIMES, "no `exp`")),
        claims(
            "exp as text",
            plain,
            with("exp", json!("1900000000")),
            Wrong(TIMES, "`exp` is not a number"),
        ),
        claims(
            "exp null",
            plain,
            with("exp", json!(null)),
            Wrong(TIMES, "`exp` is not a number"),
        ),
        claims(
            "exp negative",
            plain,
            with("exp", json!(-1)),
            Wrong(TIMES, "`exp`"),
        ),
        claims(
            "exp beyond all clocks",
            plain,
            with("exp", json!(1e300)),
            Wrong(TIMES, "`exp`"),
        ),
        claims(
            "exp list",
            plain,
            with("exp", json!([NOW + 60])),
            Wrong(TIMES, "`exp`"),
        ),
        claims(
            "begins within the leeway",
            plain,
            with("nbf", json!(NOW + 60)),
            Accepted,
        ),
        claims(
            "begins after the leeway",
            plain,
            with("nbf", json!(NOW + 61)),
            Wrong(EARLY, "`nbf` is 61 s ahead"),
        ),
        claims(
            "nbf as text",
            plain,
            with("nbf", json!("0")),
            Wrong(TIMES, "`nbf`"),
        ),
        claims(
            "issued within the leeway",
            plain,
            with("iat", json!(NOW + 60)),
            Accepted,
        ),
        claims(
            "issued in the future",
            plain,
            with("iat", json!(NOW + 3600)),
            Wrong(EARLY, "`iat`"),
        ),
        claims("no iat", plain, without("iat"), Accepted),
        claims("no sub", plain, without("sub"), Wrong(SUBJECT, "no `sub`")),
        claims(
            "empty sub",
            plain,
            with("sub", json!("")),
            Wrong(SUBJECT, "no `sub`"),
        ),
        claims(
            "sub number",
            plain,
            with("sub", json!(7)),
            Wrong(SUBJECT, "not text"),
        ),
        claims(
            "sub of 2,000 bytes",
            plain,
            |claims| claims["sub"] = json!("x".repeat(2000)),
            Wrong(SUBJECT, "1024"),
        ),
        claims("no iss", plain, without("iss"), Wrong("issuer", "no entry")),
        claims(
            "iss list",
            plain,
            with("iss", json!(["https://id.example.com"])),
            Wrong("issuer", "no entry"),
        ),
        claims(
            "iss in capitals",
            plain,
            with("iss", json!("https://ID.example.com")),
            Wrong("issuer", "ID.example"),
        ),
        claims(
            "iss with a slash",
            plain,
            with("iss", json!("https://id.example.com/")),
            Wrong("issuer", "no entry"),
        ),
        claims(
            "iss that drives a terminal",
            plain,
            with("iss", json!("\u{1b}[2J")),
            Wrong("issuer", "\\u{1b}[2J"),
        ),
        claims("no aud", plain, without("aud"), Wrong(AUDIENCE, "no `aud`")),
        claims(
            "aud list",
            plain,
            with("aud", json!(["x", PUBLIC_URL])),
            Accepted,
        ),
        claims(
            "aud with a slash",
            plain,
            with("aud", json!("https://weir.example.com/mcp/")),
            Wrong(AUDIENCE, "aud"),
        ),
        claims(
            "aud object",
            plain,
            with("aud", json!({ "x": PUBLIC_URL })),
            Wrong(AUDIENCE, "no `aud`"),
        ),
        claims(
            "a logout token",
            plain,
            with("events", json!({})),
            Wrong(KIND, "events"),
        ),
        claims(
            "objects in objects",
            plain,
            |claims| {
                let mut deep = json!(1);
                (0..40).for_each(|_| deep = json!({ "a": deep }));
                claims["deep"] = deep;
            },
            Wrong("more claims", "deeper"),
        ),
        claims(
            "a thousand claims",
            plain,
            |claims| {
                (0..1000).for_each(|number| claims[format!("c{number}")] = json!(1));
            },
            Wrong("more claims", "512"),
        ),
        claims(
            "ten actors",
            plain,
            |claims| {
                let mut act = json!({ "sub": "agent-0" });
                (1..10).for_each(|number| {
                    act = json!({ "sub": format!("agent-{number}"), "act": act })
                });
                claims["act"] = act;
            },
            Accepted,
        ),
        claims(
            "two hundred groups",
            plain,
            |claims| {
                let group = "e9a5b4cf-8e51-4c41-9c6a-4d2e0c1a3b5d";
                claims["groups"] =
                    json!((0..200).map(|n| format!("{group}{n}")).collect::<Vec<_>>());
            },
            Accepted,
        ),
    ];
    assert!(check(rows).await >= 30);
}
