//! Asks of a modern server for clients of older versions, which know other forms and other messages.

use crate::json::{self, Object};
use crate::protocol::era::Version;

/// A form has something that the client's version does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnknownForm;

/// Puts a form into the shape that a client of this version knows: before 2025-11-25 it had no mode,
/// no `oneOf`, no lists to choose several from, and defaults for booleans only (2025-06-18
/// `schema.ts`, `PrimitiveSchemaDefinition`).
///
/// # Errors
/// The form asks for a choice of several.
pub(super) fn fit_form(params: &mut Object<'_>, version: Version) -> Result<(), UnknownForm> {
    if version >= Version::V2025_11_25 {
        return Ok(());
    }
    params.remove("mode");
    let Some(text) = params.get("requestedSchema").map(str::to_owned) else {
        return Ok(());
    };
    let Ok(mut schema) = Object::parse(&text) else {
        return Ok(());
    };
    let Some(Ok(mut fields)) = schema.get("properties").map(Object::parse) else {
        return Ok(());
    };
    let mut changed = Vec::new();
    for (name, field) in fields.iter() {
        if let Some(field) = older_field(field)? {
            changed.push((name.to_owned(), field));
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    for (name, field) in changed {
        fields.replace(&name, field);
    }
    let fields = fields.to_text();
    schema.replace("properties", fields);
    let schema = schema.to_text();
    params.replace("requestedSchema", schema);
    Ok(())
}

/// Returns a field of a form as versions before 2025-11-25 have it; `None` if it stays as it is.
fn older_field(text: &str) -> Result<Option<String>, UnknownForm> {
    let Ok(mut field) = Object::parse(text) else {
        return Ok(None);
    };
    let kind = field.string("type").map(std::borrow::Cow::into_owned);
    if kind.as_deref() == Some("array") {
        return Err(UnknownForm);
    }
    let mut is_changed = kind.as_deref() != Some("boolean") && field.remove("default");
    let choices = field.get("oneOf").and_then(|text| json::array(text).ok());
    let choices = choices.map(|choices| choices.into_iter().map(choice).collect::<Vec<_>>());
    if let Some(choices) = choices {
        let (values, names): (Vec<_>, Vec<_>) = choices.into_iter().flatten().unzip();
        field.remove("oneOf");
        field.set("enum", format!("[{}]", values.join(",")));
        field.set("enumNames", format!("[{}]", names.join(",")));
        is_changed = true;
    }
    Ok(is_changed.then(|| field.to_text()))
}

/// Returns the value and the title of a choice, as JSON text.
fn choice(text: &str) -> Option<(String, String)> {
    let choice = Object::parse(text).ok()?;
    let value = choice.get("const")?.to_owned();
    let name = choice
        .get("title")
        .map_or_else(|| value.clone(), str::to_owned);
    Some((value, name))
}

/// Puts the messages of a sampling request into the shape that a client of this version knows: before
/// 2025-11-25 a message had one block of content, so that one with several becomes several.
pub(super) fn fit_sampling(params: &mut Object<'_>, version: Version) {
    if version >= Version::V2025_11_25 {
        return;
    }
    let messages = params
        .get("messages")
        .and_then(|text| json::array(text).ok());
    let has_lists = |message: &&str| content_of(message).is_some_and(|text| text.starts_with('['));
    let Some(messages) = messages.filter(|all| all.iter().any(has_lists)) else {
        return;
    };
    let mut single = Vec::new();
    for text in messages {
        let blocks = content_of(text).filter(|content| content.starts_with('['));
        let blocks = blocks
            .as_deref()
            .and_then(|blocks| json::array(blocks).ok());
        let (Some(blocks), Ok(mut message)) = (blocks, Object::parse(text)) else {
            single.push(text.to_owned());
            continue;
        };
        for block in blocks {
            message.replace("content", block.to_owned());
            single.push(message.to_text());
        }
    }
    let messages = format!("[{}]", single.join(","));
    params.replace("messages", messages);
}

/// Returns a client's message as a server of this version knows it: before 2025-11-25 it had one block
/// of content, so that a list of one becomes its element. `None` if it stays as it is.
pub(super) fn fit_answer(answer: &str, version: Version) -> Option<String> {
    if version >= Version::V2025_11_25 {
        return None;
    }
    let mut answer = Object::parse(answer).ok()?;
    let content = answer.get("content")?;
    let blocks = json::array(content).ok()?;
    let [block] = blocks.as_slice() else {
        return None;
    };
    let block = (*block).to_owned();
    answer.replace("content", block);
    Some(answer.to_text())
}

fn content_of(message: &str) -> Option<String> {
    let message = Object::parse(message).ok()?;
    message.get("content").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(version: Version, text: &str) -> Result<String, UnknownForm> {
        let mut params = Object::parse(text).unwrap();
        fit_form(&mut params, version).map(|()| params.to_text())
    }

    #[test]
    fn forms_become_those_of_the_clients_version() {
        let older = Version::V2025_06_18;
        for (text, expected) in [
            (
                r#"{"mode":"form","message":"\u0041","requestedSchema":{"type":"object","properties":{"a":{"type":"string","oneOf":[{"const":"r","title":"Red"},{"const":"b"}],"default":"r"},"n":{"type":"integer","minimum":1e400}},"required":["a"]}}"#,
                r#"{"message":"\u0041","requestedSchema":{"type":"object","properties":{"a":{"type":"string","enum":["r","b"],"enumNames":["Red","b"]},"n":{"type":"integer","minimum":1e400}},"required":["a"]}}"#,
            ),
            (
                r#"{"message":"?","requestedSchema":{"properties":{"y":{"type":"boolean","default":true},"n":{"type":"number","default":1}}}}"#,
                r#"{"message":"?","requestedSchema":{"properties":{"y":{"type":"boolean","default":true},"n":{"type":"number"}}}}"#,
            ),
            (
                r#"{"message":"?","requestedSchema":{ "properties":{ "e":{"enum":["a"]}}}}"#,
                r#"{"message":"?","requestedSchema":{ "properties":{ "e":{"enum":["a"]}}}}"#,
            ),
            (
                r#"{"message":"?","requestedSchema":[]}"#,
                r#"{"message":"?","requestedSchema":[]}"#,
            ),
        ] {
            assert_eq!(form(older, text).as_deref(), Ok(expected));
            assert_eq!(form(Version::V2025_11_25, text).as_deref(), Ok(text));
        }
        let several =
            r#"{"requestedSchema":{"properties":{"a":{"type":"array","items":{"enum":["x"]}}}}}"#;
        assert_eq!(form(older, several), Err(UnknownForm));
        assert!(form(Version::V2025_11_25, several).is_ok());
    }

    #[test]
    fn a_message_with_several_blocks_becomes_several_messages() {
        let text = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"\u0041"},{"type":"image"}]},{"role":"assistant","content":{"type":"text"}}],"maxTokens":1e400}"#;
        let fitted = |version| {
            let mut params = Object::parse(text).unwrap();
            fit_sampling(&mut params, version);
            params.to_text()
        };
        assert_eq!(fitted(Version::V2025_11_25), text);
        assert_eq!(
            fitted(Version::V2025_06_18),
            r#"{"messages":[{"role":"user","content":{"type":"text","text":"\u0041"}},{"role":"user","content":{"type":"image"}},{"role":"assistant","content":{"type":"text"}}],"maxTokens":1e400}"#
        );
    }
}
