//! Calls: their figures of late, and the last records, for those who may see who called what.

use http::StatusCode;
use maud::{Markup, html};
use serde_json::Value;
use url::form_urlencoded;

use crate::admin::{AdminState, RecordsAnswer, find_records};
use crate::live::Live;
use crate::page::door::Visitor;
use crate::page::figures;
use crate::page::layout::{PageView, live, number, search_form, table, text, word};
use crate::page::text::{cell, plain};

const VIEW: PageView = PageView::Calls;
/// Records of a page.
const ROWS: usize = 100;
/// The parameters by which records are found, with their labels.
const FILTERS: [(&str, &str); 5] = [
    ("caller", "Caller"),
    ("tool", "Tool"),
    ("upstream", "Upstream"),
    ("decision", "Decision of policy"),
    ("status", "Answer"),
];

/// The filters of a query, in the order of [`FILTERS`].
pub(super) fn parse(query: &str) -> [String; 5] {
    let mut values: [String; 5] = Default::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let known = FILTERS.iter().zip(&mut values);
        for (_, into) in known.filter(|((key, _), _)| *key == name) {
            *into = value.trim().chars().take(256).collect();
        }
    }
    values
}

/// Draws the view.
pub(super) fn draw(operators: &AdminState, visitor: Visitor, wanted: &[String; 5]) -> Markup {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for ((name, _), value) in FILTERS.iter().zip(wanted) {
        if !value.is_empty() {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    let url = VIEW.link(&format!("{}?{query}", VIEW.path()));
    let content = match visitor.sees_calls {
        true => found(&operators.live, &query),
        false => html! {
            p {
                "Records say who called what. "
                a href=(VIEW.link(PageView::LogIn.path())) { "Log in" }
                " to see them."
            }
        },
    };
    let content = html! {
        (figures::draw(&operators.calls.figures(&operators.live)))
        h3 { "Records" }
        (content)
    };
    html! {
        h2 { "Calls" }
        @if visitor.sees_calls { (search(wanted)) }
        (live(&url, "weir-calls from:body, weir-state from:body, weir-tick from:body", &content))
    }
}

fn search(wanted: &[String; 5]) -> Markup {
    let fields = html! {
        @for ((name, label), value) in FILTERS.iter().zip(wanted) {
            label { (label) input name=(name) value=(plain(value)) maxlength="256" autocomplete="off"; }
        }
    };
    search_form(&VIEW.link(VIEW.path()), &fields)
}

fn found(weir: &Live, query: &str) -> Markup {
    let is_whole = query.is_empty();
    let query = format!("{query}{}limit={ROWS}", if is_whole { "" } else { "&" });
    match find_records(weir, &query) {
        Ok(answer) => records(&answer, is_whole),
        Err((StatusCode::NOT_FOUND, _)) => html! {
            p { "No records are kept: the config has no " code { "audit" } "." }
        },
        Err((_, error)) => html! { p .bad { (cell(&error)) } },
    }
}

/// Draws records. Only if they are the `whole`, the first of them is the last line of the file.
fn records(answer: &RecordsAnswer, is_whole: bool) -> Markup {
    let columns = [
        text("Time"),
        text("Caller"),
        text("Method and name"),
        text("Upstream"),
        text("Policy"),
        text("Answer"),
        number("ms"),
    ];
    let lines = answer.records.iter();
    let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line.get()).ok());
    let rows: Vec<_> = lines.map(|line| row(&line)).collect();
    let caption = html! {
        "The last " (rows.len()) " records, the newest first; arguments and results are not among them"
    };
    let audit = &answer.audit;
    let last = answer
        .records
        .first()
        .filter(|_| is_whole)
        .map(|line| line.get())
        .unwrap_or_default();
    let last = serde_json::from_str::<Value>(last).unwrap_or_default();
    let number = last.get("seq").and_then(Value::as_u64);
    let head = number.zip(last.get("hash").and_then(Value::as_str));
    html! {
        p .note {
            "The record file " code { (cell(&audit.file.display().to_string())) } " has "
            (audit.written) " new lines since the start; " (audit.missing) " are missing."
            @if let Some((number, hash)) = &head {
                " The last line is number " (number) ", its hash " code { (hash) } "."
            }
            @if audit.failing {
                " " (word("bad", "It cannot be written: "))
                (cell(audit.error.as_deref().unwrap_or_default()))
            }
        }
        (table(&caption, &columns, &rows))
    }
}

fn row(line: &Value) -> [Markup; 7] {
    let member = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default();
    let status = member("result_status");
    let decision = member("policy_decision");
    let class = match decision {
        "allow" => "good",
        "" => "",
        _ => "bad",
    };
    let millis = line.get("latency_ms").and_then(Value::as_f64);
    [
        html! { (cell(member("time"))) },
        html! { (cell(member("caller_identity"))) },
        html! {
            (cell(member("method"))) br; span .name { (cell(member("tool_name"))) }
            br; span .note { "request " (cell(member("request_id"))) }
        },
        cell(member("upstream")),
        html! {
            @if !decision.is_empty() { (word(class, decision)) }
            @if let Some(names) = line.get("policies").and_then(Value::as_array) {
                @for name in names.iter().filter_map(Value::as_str).take(8) { br; span .note { (cell(name)) } }
            }
        },
        html! {
            (word(if status == "ok" { "good" } else { "bad" }, status))
            @if !member("blame").is_empty() { br; span .note { "by " (member("blame")) } }
            @if let Some(ids) = line.get("redaction_tokens_ids").and_then(Value::as_array) {
                @if !ids.is_empty() { br; span .note { (ids.len()) " values replaced" } }
            }
        },
        html! { @if let Some(millis) = millis { (format!("{millis:.1}")) } },
    ]
}
