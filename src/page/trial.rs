//! Try a tool: a form made of its schema, and what came of the call, as text.

use maud::{Markup, html};
use serde_json::Value;
use serde_json::value::RawValue;
use url::form_urlencoded;

use crate::admin::trial::{ToolTrial, TrialAnswer, TrialRefused};
use crate::catalog::Kind;
use crate::json::{self, Object, ObjectError};
use crate::live::Snapshot;
use crate::page::door::Visitor;
use crate::page::layout::{PageView, explain_link, word};
use crate::page::text::{WHOLE, cell, cut, plain};
use crate::protocol::bounds::NAME_BYTES;

const VIEW: PageView = PageView::Try;
/// The most fields of a form; further properties are written as JSON.
const FIELDS: usize = 50;
/// The most values of a field that are offered.
const CHOICES: usize = 200;
/// The beginning of the names of fields, so that no property is taken for another field.
const PREFIX: &str = "p:";
/// The most messages that are drawn.
const MESSAGES: usize = 20;

/// A form that was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TrialForm {
    /// The exposed name of the tool.
    pub(super) name: String,
    /// Arguments as JSON text.
    json: String,
    /// Those that have a field, by property.
    fields: Vec<(String, String)>,
}

/// The type of a property that has a field.
#[derive(Clone, Debug, PartialEq)]
enum FieldType {
    Text,
    Number,
    Integer,
    Boolean,
    Choice(Vec<Value>),
}

/// A property that has a field.
#[derive(Clone, Debug, PartialEq)]
struct Field {
    name: String,
    kind: FieldType,
    is_required: bool,
    description: String,
    usual: Option<Value>,
}

impl TrialForm {
    /// Reads a form, or the query of a URL.
    pub(super) fn parse(text: &[u8]) -> Self {
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(text) {
            match &*name {
                "name" => form.name = value.into_owned(),
                "arguments" => form.json = value.into_owned(),
                name => {
                    if let Some(property) = name.strip_prefix(PREFIX)
                        && form.fields.len() < FIELDS
                    {
                        form.fields.push((property.to_owned(), value.into_owned()));
                    }
                }
            }
        }
        form
    }

    fn value(&self, property: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let field = fields.find(|(name, _)| name == property);
        field.map(|(_, value)| value.as_str())
    }

    /// Returns the call that the form asks for. Numbers keep their digits. A field that is empty is left
    /// out.
    ///
    /// # Errors
    /// The JSON text is no object, or a field has no value of its type: a sentence.
    pub(super) fn trial(&self, snapshot: &Snapshot) -> Result<ToolTrial, String> {
        let fields = fields_of(&schema_of(snapshot, &self.name));
        let text = match self.json.trim() {
            "" => "{}",
            text => text,
        };
        let mut arguments = Object::parse(text).map_err(|error| match error {
            ObjectError::Syntax(error) => format!("the arguments are no JSON: {error}"),
            error @ (ObjectError::NotObject | ObjectError::Duplicate(_)) => {
                format!("the arguments are no JSON object: {error}")
            }
        })?;
        for (name, text) in self.fields.iter().filter(|(_, text)| !text.is_empty()) {
            let field = fields.iter().find(|field| field.name == *name);
            let kind = field.map_or(&FieldType::Text, |field| &field.kind);
            arguments.set(name, kind.read(name, text)?);
        }
        let arguments = RawValue::from_string(arguments.to_text());
        Ok(ToolTrial {
            name: self.name.clone(),
            arguments: Some(arguments.map_err(|error| error.to_string())?),
        })
    }
}

impl FieldType {
    /// Reads what somebody typed into a field. Returns JSON text.
    fn read(&self, name: &str, text: &str) -> Result<String, String> {
        let wrong = |what: &str| Err(format!("`{name}` is no {what}"));
        match self {
            Self::Text => Ok(json::quote(text)),
            Self::Number | Self::Integer => {
                let text = text.trim();
                let is_number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
                    && serde_json::from_str::<&RawValue>(text).is_ok();
                let is_whole = !text.contains(['.', 'e', 'E']);
                match (is_number, self) {
                    (true, Self::Integer) if !is_whole => wrong("whole number"),
                    (true, _) => Ok(text.to_owned()),
                    (false, _) => wrong("number"),
                }
            }
            Self::Boolean => match text {
                "true" | "false" => Ok(text.to_owned()),
                _ => wrong("boolean"),
            },
            Self::Choice(values) => {
                let is_chosen = |value: &Value| {
                    serde_json::to_string(value).is_ok_and(|written| written == text)
                };
                match values.iter().any(is_chosen) {
                    true => Ok(text.to_owned()),
                    false => wrong("value of the list"),
                }
            }
        }
    }
}

/// Returns the schema of a tool's arguments as callers see it, as JSON text; `null` if there is no such
/// tool.
fn schema_of(snapshot: &Snapshot, name: &str) -> String {
    let definition = snapshot.catalog.definition(Kind::Tools, name);
    let definition = definition.unwrap_or_default();
    let tool = Object::parse(&definition).unwrap_or_default();
    tool.get("inputSchema").unwrap_or("null").to_owned()
}

/// Returns the properties that have a field: those of a simple type.
fn fields_of(schema: &str) -> Vec<Field> {
    let schema: Value = serde_json::from_str(schema).unwrap_or_default();
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return Vec::new();
    };
    let required = schema.get("required").and_then(Value::as_array);
    let is_required = |name: &str| {
        let mut names = required.into_iter().flatten();
        names.any(|one| one.as_str() == Some(name))
    };
    let fields = properties.iter().filter_map(|(name, property)| {
        let text = |key: &str| property.get(key).and_then(Value::as_str);
        let choices = property.get("enum").and_then(Value::as_array);
        let kind = match (choices, text("type")) {
            (Some(choices), _) if choices.len() <= CHOICES => FieldType::Choice(choices.clone()),
            (_, Some("string")) => FieldType::Text,
            (_, Some("number")) => FieldType::Number,
            (_, Some("integer")) => FieldType::Integer,
            (_, Some("boolean")) => FieldType::Boolean,
            _ => return None,
        };
        Some(Field {
            name: name.clone(),
            kind,
            is_required: is_required(name),
            description: text("description").unwrap_or_default().to_owned(),
            usual: property.get("default").cloned(),
        })
    });
    fields.take(FIELDS).collect()
}

/// The outcome of a form.
pub(super) enum TrialOutcome {
    /// Nothing was sent.
    None,
    /// The form is wrong: a sentence.
    Wrong(String),
    /// The call was not made.
    Refused(TrialRefused),
    /// It was made.
    Answered(Box<TrialAnswer>),
}

/// Draws the view.
pub(super) fn draw(
    snapshot: &Snapshot,
    visitor: Visitor,
    form: &TrialForm,
    outcome: &TrialOutcome,
) -> Markup {
    html! {
        h2 { "Try a tool" }
        @if !visitor.may_try {
            p {
                "Tools can be called here if the config has " code { "try_tools: true" } " and "
                code { "page: write" } " under " code { "admin" }
                ", by those who have logged in: it acts with the credentials of the upstreams."
            }
        } @else {
            p .note {
                "The call goes the way of every call, under policies, rules and limits, as the caller "
                code { "operator" } ", and leaves a record."
            }
            (choice(form))
            @if !form.name.is_empty() { (whole_form(snapshot, form)) }
            @match outcome {
                TrialOutcome::None => {}
                TrialOutcome::Wrong(words) => { p #answer .bad role="alert" { (cell(words)) } }
                TrialOutcome::Refused(refused) => { p #answer .bad role="alert" { (cell(&refused.to_string())) } }
                TrialOutcome::Answered(answer) => { (answered(answer)) }
            }
        }
    }
}

fn choice(form: &TrialForm) -> Markup {
    html! {
        form .search method="get" action=(VIEW.link(VIEW.path())) {
            label {
                "Name of the tool"
                input type="search" name="name" value=(plain(&form.name)) required maxlength=(NAME_BYTES) autocomplete="off";
            }
            button type="submit" { "Show its form" }
        }
    }
}

fn whole_form(snapshot: &Snapshot, form: &TrialForm) -> Markup {
    if snapshot.catalog.tool(&form.name).is_none() {
        return html! { p { "There is no tool " span .name { (cell(&form.name)) } "." } };
    }
    let schema = schema_of(snapshot, &form.name);
    let fields = fields_of(&schema);
    let json = match form.json.trim() {
        "" => "{}",
        json => json,
    };
    html! {
        form .stack method="post" action=(VIEW.link(VIEW.path())) {
            h3 { "Arguments of " (explain_link(VIEW, &form.name)) }
            input type="hidden" name="name" value=(form.name);
            @for field in &fields { (draw_field(field, form.value(&field.name))) }
            label {
                @if fields.is_empty() { "Arguments, as JSON" } @else { "More arguments, as JSON" }
                textarea name="arguments" rows="6" spellcheck="false" { (plain(json)) }
            }
            button type="submit" { "Call it" }
        }
        details {
            summary { "Schema of the arguments" }
            pre { (cut(&pretty(&schema), WHOLE)) }
        }
    }
}

fn draw_field(field: &Field, sent: Option<&str>) -> Markup {
    let name = format!("{PREFIX}{}", field.name);
    let usual = match (&field.kind, &field.usual) {
        (FieldType::Choice(_), Some(value)) => value.to_string(),
        (_, Some(Value::String(text))) => text.clone(),
        (_, Some(value)) => value.to_string(),
        (_, None) => String::new(),
    };
    // Characters that do not show would be sent without being seen.
    let usual = Some(usual).filter(|usual| plain(usual) == *usual);
    let value = sent.or(usual.as_deref()).unwrap_or_default();
    let options: Vec<String> = match &field.kind {
        FieldType::Boolean => vec!["true".to_owned(), "false".to_owned()],
        FieldType::Choice(values) => values.iter().map(ToString::to_string).collect(),
        FieldType::Text | FieldType::Number | FieldType::Integer => Vec::new(),
    };
    let mode = match field.kind {
        FieldType::Number => "decimal",
        FieldType::Integer => "numeric",
        FieldType::Text | FieldType::Boolean | FieldType::Choice(_) => "text",
    };
    html! {
        label {
            span .name { (cell(&field.name)) }
            @if field.is_required { " (required)" }
            @if !field.description.is_empty() { " " span .note { (cell(&field.description)) } }
            @if options.is_empty() {
                input name=(name) value=(value) inputmode=(mode) required[field.is_required] autocomplete="off";
            } @else {
                select name=(name) required[field.is_required] {
                    option value="" { "–" }
                    @for option in &options {
                        option value=(option) selected[option == value] { (cell(option)) }
                    }
                }
            }
        }
    }
}

fn answered(answer: &TrialAnswer) -> Markup {
    let result = answer.result.as_deref().map(|result| result.get());
    let error = answer.error.as_deref().map(|error| error.get());
    let is_tool_error = result
        .and_then(|result| serde_json::from_str::<Value>(result).ok())
        .is_some_and(|result| result.get("isError") == Some(&Value::Bool(true)));
    let shown = answer.messages.iter().take(MESSAGES);
    let more = answer.messages.len().saturating_sub(MESSAGES) + answer.more_messages;
    html! {
        section #answer .card aria-label="Answer" {
            h3 {
                @match (error.is_some(), is_tool_error) {
                    (true, _) => { (word("bad", "JSON-RPC error")) }
                    (false, true) => { (word("bad", "error of the tool")) }
                    (false, false) => { (word("good", "result")) }
                }
                " after " (format!("{:.1}", answer.took_ms)) " ms"
            }
            p .note { "Request " code { (cell(&answer.request_id)) } }
            pre { (cut(&pretty(result.or(error).unwrap_or_default()), WHOLE)) }
            @if !answer.messages.is_empty() {
                h4 { "Messages before it" }
                @for message in shown { pre { (cut(message.get(), 1_000)) } }
                @if more > 0 { p .note { (more) " more" } }
            }
            details {
                summary { "The request" }
                pre { (cut(answer.request.get(), WHOLE)) }
            }
        }
    }
}

/// Returns JSON text with lines and indents. Numbers and the order of members stay as they are.
fn pretty(text: &str) -> String {
    let (mut out, mut depth, mut is_string, mut is_escaped) =
        (String::new(), 0_usize, false, false);
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth.min(40)));
    };
    for c in text.chars() {
        if is_string {
            out.push(c);
            is_string = is_escaped || c != '"';
            is_escaped = c == '\\' && !is_escaped;
            continue;
        }
        match c {
            '"' => {
                is_string = true;
                out.push(c);
            }
            '{' | '[' => {
                depth += 1;
                out.push(c);
                line(&mut out, depth);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
        if out.len() > 4 * WHOLE {
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn simple_properties_have_fields() {
        let schema = json!({
            "required": ["to"],
            "properties": {
                "to": { "type": "string", "description": "Who" },
                "times": { "type": "integer", "default": 3 },
                "part": { "type": "number" },
                "fast": { "type": "boolean" },
                "kind": { "enum": ["a", 2] },
                "deep": { "type": "object" },
                "either": { "type": ["string", "null"] },
            },
        });
        let fields = fields_of(&schema.to_string());
        let names: Vec<_> = fields.iter().map(|field| &*field.name).collect();
        assert_eq!(names.len(), 5, "{names:?}");
        assert!(!names.contains(&"deep") && !names.contains(&"either"));
        let find = |name: &str| fields.iter().find(|field| field.name == name).unwrap();
        assert!(find("to").is_required && !find("fast").is_required);
        let read = |name: &str, text: &str| find(name).kind.read(name, text);
        let long = "123456789012345678901234567890";
        for (name, text, expected) in [
            ("to", "x\"y", r#""x\"y""#),
            ("times", " 7 ", "7"),
            ("times", long, long),
            ("part", "0.5", "0.5"),
            ("part", "1e400", "1e400"),
            ("fast", "false", "false"),
            ("kind", "2", "2"),
            ("kind", "\"a\"", "\"a\""),
        ] {
            assert_eq!(read(name, text).as_deref(), Ok(expected));
        }
        for (name, text) in [
            ("times", "1.5"),
            ("times", "x"),
            ("times", "1 2"),
            ("part", "true"),
            ("fast", "1"),
            ("kind", "a"),
        ] {
            assert!(read(name, text).is_err(), "{name} {text}");
        }
        for schema in [
            json!(null),
            json!({ "anyOf": [] }),
            json!({ "properties": [] }),
        ] {
            assert!(fields_of(&schema.to_string()).is_empty());
        }
    }

    #[test]
    fn a_form_is_read_within_bounds() {
        let form = TrialForm::parse(b"name=a&arguments=%7B%7D&p%3Ax=1&q=2");
        assert_eq!((&*form.name, &*form.json), ("a", "{}"));
        assert_eq!((form.value("x"), form.value("q")), (Some("1"), None));
        let many = "p%3Ax=1&".repeat(FIELDS + 9);
        assert_eq!(TrialForm::parse(many.as_bytes()).fields.len(), FIELDS);
    }

    #[test]
    fn json_gets_lines_and_keeps_its_values() {
        let text = r#"{"b":1.0,"a":["x,\"}\\",{}]}"#;
        let lines = pretty(text);
        assert_eq!(
            lines,
            "{\n  \"b\": 1.0,\n  \"a\": [\n    \"x,\\\"}\\\\\",\n    {\n      \n    }\n  ]\n}"
        );
        let value: Value = serde_json::from_str(&lines).unwrap();
        assert_eq!(value, serde_json::from_str::<Value>(text).unwrap());
    }
}
