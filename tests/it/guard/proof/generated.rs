//! The words of upstreams and the answers of callers, with values at every place of it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use serde_json::Value;

use super::random::Random;
use super::tree::{Fate, Part, Tree, fits, spell, text_with};
use super::values::Planted;
use crate::support::asking::Call;

/// The fate of a value on its way to a caller that is not cleared.
pub fn fate(value: &Planted) -> Fate {
    match value.class {
        "EMAIL" | "STAFF" | "NAME" => Fate::Pseudonym,
        _ => Fate::Mask,
    }
}

/// A string with a value in it, as JSON.
pub fn text(random: &mut Random) -> String {
    let value = Planted::any(random);
    Tree::Text(text_with(random, value)).write(random)
}

/// A block of content, and the text in it that can be compared.
pub fn block(random: &mut Random) -> (String, Option<Vec<Part>>) {
    let value = Planted::any(random);
    let parts = text_with(random, value);
    let written = Tree::Text(parts.clone()).write(random);
    match random.below(8) {
        0 => {
            let tree = Tree::root_without_fields(random).write(random);
            (
                format!("{{\"type\":\"own\",\"x\":{tree},\"text\":{written}}}"),
                Some(parts),
            )
        }
        1 => {
            let (name, title, uri) = (text(random), text(random), uri(random));
            let link = format!(
                "{{\"type\":\"resource_link\",\"uri\":{uri},\"name\":{name},\"title\":{title},\"description\":{written}}}"
            );
            (link, None)
        }
        2 => {
            let (blob, uri) = (blob(random, &parts), uri(random));
            (
                format!(
                    "{{\"type\":\"resource\",\"resource\":{{\"uri\":{uri},\"mimeType\":\"text/plain\",\"blob\":{blob}}}}}"
                ),
                None,
            )
        }
        3 => {
            let (uri, meta) = (uri(random), Tree::root_without_fields(random).write(random));
            (
                format!(
                    "{{\"type\":\"resource\",\"resource\":{{\"uri\":{uri},\"text\":{written},\"_meta\":{meta}}}}}"
                ),
                None,
            )
        }
        4 => {
            let icon = uri(random);
            (
                format!(
                    "{{\"type\":\"image\",\"mimeType\":\"image/png\",\"data\":\"iVBORw0KGgoAAAAN\",\"icons\":[{{\"src\":{icon}}}]}}"
                ),
                None,
            )
        }
        _ => (
            format!("{{\"type\":\"text\",\"text\":{written}}}"),
            Some(parts),
        ),
    }
}

pub fn uri(random: &mut Random) -> String {
    let uri = format!("x://u/{}?a=1", Planted::plain_mail(random).text);
    spell(random, &uri)
}

/// Text as base64, as programs write it.
fn blob(random: &mut Random, parts: &[Part]) -> String {
    let text: String = parts
        .iter()
        .map(|part| match part {
            Part::Plain(text) => text.as_str(),
            Part::Value(value) => &value.text,
        })
        .collect();
    let text = format!("{text}{}", " and more".repeat(random.below(20)));
    let encoded = match random.below(4) {
        0 => STANDARD_NO_PAD.encode(text),
        1 => URL_SAFE.encode(text),
        2 => {
            let encoded = STANDARD.encode(text);
            let lines = encoded.as_bytes().chunks(76);
            let lines: Vec<_> = lines
                .map(|line| std::str::from_utf8(line).unwrap())
                .collect();
            lines.join("\n") + "\n"
        }
        _ => STANDARD.encode(text),
    };
    spell(random, &encoded)
}

/// A result with values at each of its places.
pub struct Said {
    pub result: String,
    structured: Tree,
    texts: Vec<Option<Vec<Part>>>,
}

impl Said {
    pub fn new(random: &mut Random) -> Self {
        let blocks: Vec<_> = (0..=random.below(4)).map(|_| block(random)).collect();
        let structured = Tree::root(random);
        let (written, meta) = (
            structured.write(random),
            Tree::root_without_fields(random).write(random),
        );
        let content: Vec<_> = blocks.iter().map(|(block, _)| block.as_str()).collect();
        let more = text(random);
        let result = format!(
            "{{\"resultType\":\"complete\",\"content\":[{}],\"structuredContent\":{written},\"_meta\":{{\"own/a\":{meta}}},\"own\":{more}}}",
            content.join(",")
        );
        Self {
            result,
            structured,
            texts: blocks.into_iter().map(|(_, text)| text).collect(),
        }
    }

    /// Checks that a caller got this.
    pub fn assert_in(&self, value: &Value) {
        let structured = &value["structuredContent"];
        assert!(
            self.structured.fits(structured, &fate),
            "{}\n became {structured}",
            self.result
        );
        for (at, text) in self.texts.iter().enumerate() {
            let got = value["content"][at]["text"].as_str().unwrap_or_default();
            if let Some(text) = text {
                assert!(fits(text, got, &fate), "{}\n became {got}", self.result);
            }
        }
    }
}

/// Writes messages as events, and cuts them anywhere.
pub async fn write(random: &mut Random, call: &Call, messages: &[String]) {
    let mut stream = String::new();
    for message in messages {
        let end = *random.choose(&["\n", "\r\n"]);
        stream += *random.choose(&["", ": a comment\n\n", "event: message\n", "retry: 10\n"]);
        for line in message.lines() {
            stream += &format!("data: {line}{end}");
        }
        stream += end;
    }
    let mut rest = stream.as_bytes();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((1 + random.below(60)).min(rest.len()));
        call.write_bytes(piece).await;
        tokio::task::yield_now().await;
        rest = after;
    }
}

pub fn notification(random: &mut Random, token: Option<&str>) -> String {
    let (written, tree) = (
        text(random),
        Tree::root_without_fields(random).write(random),
    );
    let (method, params) = match (random.below(3), token) {
        (0, Some(token)) => (
            "progress",
            format!(
                "{{\"progressToken\":{token},\"progress\":1,\"message\":{written},\"own\":{tree}}}"
            ),
        ),
        (1, _) => (
            "own",
            format!("{{\"a\":{tree},\"_meta\":{{\"own\":{written}}}}}"),
        ),
        _ => (
            "message",
            format!("{{\"level\":\"info\",\"logger\":{written},\"data\":{tree}}}"),
        ),
    };
    let more = text(random);
    format!(
        "{{\"jsonrpc\":\"2.0\",\"own\":{more},\"method\":\"notifications/{method}\",\"params\":{params}}}"
    )
}

/// A request of an upstream with these in it, by its method and params, and what a caller answers.
pub fn question(random: &mut Random, asked: &str, tree: &str) -> (&'static str, String, String) {
    match random.below(4) {
        0 => (
            "elicitation/create",
            format!(
                "\"message\":{asked},\"requestedSchema\":{{\"type\":\"object\",\"properties\":{{\"a\":{{\"type\":\"string\",\"description\":{asked}}}}}}}"
            ),
            format!("\"result\":{{\"action\":\"accept\",\"content\":{tree}}}"),
        ),
        1 => (
            "sampling/createMessage",
            format!(
                "\"maxTokens\":7,\"systemPrompt\":{asked},\"messages\":[{{\"role\":\"user\",\"content\":{{\"type\":\"text\",\"text\":{asked}}}}}],\"metadata\":{tree}"
            ),
            format!(
                "\"result\":{{\"role\":\"assistant\",\"model\":{asked},\"content\":{{\"type\":\"text\",\"text\":{asked}}},\"_meta\":{tree}}}"
            ),
        ),
        2 => (
            "roots/list",
            format!("\"own\":{tree}"),
            format!(
                "\"result\":{{\"roots\":[{{\"uri\":{},\"name\":{asked}}}]}}",
                uri(random)
            ),
        ),
        _ => (
            "elicitation/create",
            format!("\"message\":{asked},\"requestedSchema\":{tree}"),
            format!("\"error\":{{\"code\":-1,\"message\":{asked},\"data\":{tree}}}"),
        ),
    }
}
