//! The gateway in front of weir: whether it has the catalog of now.

use maud::{Markup, html};
use serde_json::Value;

use crate::page::layout::word;
use crate::page::text::{cell, span_words};

/// Draws the answer of `GET /on_publish`; nothing if the config names no gateway.
pub(super) fn draw(described: Option<&Value>) -> Markup {
    let Some(described) = described else {
        return html! {};
    };
    let text = |pointer: &str| described.pointer(pointer).and_then(Value::as_str);
    let count = |pointer: &str| described.pointer(pointer).and_then(Value::as_u64);
    let (class, words) = match text("/state").unwrap_or_default() {
        "done" => ("good", "it has the catalog"),
        "pending" => ("warn", "it is told soon"),
        "running" => ("warn", "it is told now"),
        "failing" => ("bad", "it was not told"),
        _ => ("", "nothing to tell it since the start"),
    };
    html! {
        p #front-gateway {
            "The gateway " span .name { (cell(text("/gateway").unwrap_or_default())) }
            " in front, target " span .name { (cell(text("/target").unwrap_or_default())) } ": "
            (word(class, words))
            @if let Some(reason) = text("/reason") { ": " (cell(reason)) }
            @if let Some(next) = count("/next_try_in_seconds") { ", next try in " (span_words(next)) }
            ". "
            span .note {
                "Told: " (count("/synchronized").unwrap_or_default())
                "; failed attempts: " (count("/failed").unwrap_or_default())
                @if let Some((ago, generation)) = count("/last/seconds_ago").zip(count("/last/generation")) {
                    "; last " (span_words(ago)) " ago, of generation " (generation)
                }
                "."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_gateway_is_drawn_with_its_state_and_why() {
        assert_eq!(draw(None).into_string(), "");
        let told = json!({
            "state": "failing", "reason": "<b>403</b>", "next_try_in_seconds": 30, "synchronized": 2,
            "failed": 1, "last": { "seconds_ago": 180, "generation": 7 }, "gateway": "gw-1", "target": "weir",
        });
        let drawn = draw(Some(&told)).into_string();
        insta::assert_snapshot!(drawn, @r#"<p id="front-gateway">The gateway <span class="name">gw-1</span> in front, target <span class="name">weir</span>: <span class="word bad">it was not told</span>: &lt;b&gt;403&lt;/b&gt;, next try in 30 s. <span class="note">Told: 2; failed attempts: 1; last 3 min ago, of generation 7.</span></p>"#);
    }
}
