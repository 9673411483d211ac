use super::*;
use crate::config::ArgumentLimits;

const TOOL: &str = r#"{"name":"pay","inputSchema":{"type":"object","properties":{"amount":{"type":"integer"}},"required":["amount"]},"outputSchema":{"type":"object","properties":{"ok":{"type":"boolean"}},"required":["ok"]}}"#;

fn schemas() -> ToolSchemas {
    ToolSchemas::once(&TOOL.into(), &refusing())
}

fn refusing() -> ValidateSettings {
    ValidateSettings {
        arguments: ValidateAction::Refuse,
        results: ValidateAction::Refuse,
        invisible_arguments: InvisibleAction::Refuse,
        invisible_results: InvisibleAction::Remove,
        limits: ArgumentLimits::default(),
    }
}

fn texts(checked: &Checked) -> Vec<(&str, &str, &str)> {
    let findings = checked.findings.iter();
    findings
        .map(|finding| {
            let words = (finding.kind.as_str(), finding.consequence.as_str());
            (words.0, words.1, finding.text.as_str())
        })
        .collect()
}

#[test]
fn arguments_that_fit_pass_untouched() {
    for arguments in [r#"{"amount":1}"#, r#"{ "amount" : 1.0, "x":[{}] }"#] {
        let checked = check_arguments(&refusing(), &schemas(), Some(arguments));
        assert_eq!(texts(&checked), []);
        assert!(checked.changed.is_none());
    }
}

#[test]
fn arguments_that_do_not_fit_are_refused_or_reported() {
    let expected = "`/` must have the member \"amount\" (required)";
    for none in [None, Some("null"), Some("{}"), Some("[]")] {
        let checked = check_arguments(&refusing(), &schemas(), none);
        assert_eq!(texts(&checked), [("schema", "refused", expected)]);
        assert!(checked.refusal().is_some());
    }
    let report = ValidateSettings {
        arguments: ValidateAction::Report,
        ..refusing()
    };
    let checked = check_arguments(&report, &schemas(), Some("{}"));
    assert_eq!(texts(&checked), [("schema", "reported", expected)]);
    assert!(checked.refusal().is_none());
    let twice = check_arguments(
        &refusing(),
        &schemas(),
        Some(r#"{"amount":1,"b":{"c":1,"c":2}}"#),
    );
    assert_eq!(
        texts(&twice),
        [("limit", "refused", "an object has a key twice")]
    );
}

#[test]
fn a_limit_that_is_written_is_refused_whatever_else_is_only_reported() {
    let settings = ValidateSettings {
        arguments: ValidateAction::Off,
        limits: ArgumentLimits {
            depth: Some(2),
            values: Some(3),
            string: Some(5),
        },
        ..ValidateSettings::default()
    };
    let check = |text: &str| {
        let checked = check_arguments(&settings, &schemas(), Some(text));
        checked.refusal().map(|refusal| refusal.text.clone())
    };
    assert_eq!(check(r#"{"a":{"b":"12345"}}"#), None);
    let levels = "there are more than 2 objects and lists inside each other";
    assert_eq!(check(r#"{"a":{"b":[]}}"#).as_deref(), Some(levels));
    assert_eq!(
        check(r#"{"a":[1,2,3]}"#).as_deref(),
        Some("there are more than 3 values")
    );
    assert_eq!(
        check(r#"{"a":"123456"}"#).as_deref(),
        Some("a text has more than 5 bytes")
    );
}

#[test]
fn characters_that_hide_are_refused_cut_out_or_reported() {
    let hidden = "{\"amount\":1,\"note\":\"a\u{200b}b\"}";
    let checked = check_arguments(&refusing(), &schemas(), Some(hidden));
    let words = "there is a control or invisible character";
    assert_eq!(texts(&checked), [("invisible", "refused", words)]);
    let remove = ValidateSettings {
        invisible_arguments: InvisibleAction::Remove,
        ..refusing()
    };
    let checked = check_arguments(&remove, &schemas(), Some(hidden));
    assert_eq!(texts(&checked), [("invisible", "removed", words)]);
    assert_eq!(
        checked.changed.as_deref(),
        Some(r#"{"amount":1,"note":"ab"}"#)
    );
    let name = check_arguments(&remove, &schemas(), Some("{\"amount\u{200b}\":1}"));
    assert!(name.refusal().is_some());
    let report = ValidateSettings {
        invisible_arguments: InvisibleAction::Report,
        ..refusing()
    };
    let checked = check_arguments(&report, &schemas(), Some(hidden));
    assert_eq!(texts(&checked), [("invisible", "reported", words)]);
    assert!(checked.changed.is_none());
}

#[test]
fn structured_results_are_checked_and_what_is_none_is_not() {
    let check = |result: &str| {
        let checked = check_result(&refusing(), &schemas(), result);
        checked.refusal().map(|refusal| refusal.text.clone())
    };
    assert_eq!(
        check(r#"{"content":[],"structuredContent":{"ok":true}}"#),
        None
    );
    assert_eq!(
        check(r#"{"content":[],"structuredContent":{"ok":"secret"}}"#).as_deref(),
        Some("`/ok` must be of type boolean (type)")
    );
    assert_eq!(
        check(r#"{"content":[]}"#).as_deref(),
        Some("there is no `structuredContent`")
    );
    for other in [
        r#"{"content":[],"isError":true}"#,
        r#"{"task":{"taskId":"1"}}"#,
        r#"{"resultType":"input_required","inputRequests":{}}"#,
    ] {
        assert_eq!(check(other), None, "{other}");
    }
    let plain = ToolSchemas::once(&r#"{"name":"a","inputSchema":{}}"#.into(), &refusing());
    let checked = check_result(
        &refusing(),
        &plain,
        "{\"content\":[{\"text\":\"a\u{202e}b\"}]}",
    );
    assert_eq!(
        checked.changed.as_deref(),
        Some(r#"{"content":[{"text":"ab"}]}"#)
    );
}

#[test]
fn a_schema_that_cannot_be_applied_is_reported_and_the_call_passes() {
    let tool = r##"{"name":"a","inputSchema":{"$ref":"http://127.0.0.1:1/s"},"outputSchema":{"$ref":"#/x"}}"##;
    let tool = ToolSchemas::once(&tool.into(), &refusing());
    let checked = check_arguments(&refusing(), &tool, Some("{}"));
    let words = "it refers to `http://127.0.0.1:1/s`, which is not in it";
    assert_eq!(texts(&checked), [("unchecked", "reported", words)]);
    let checked = check_result(&refusing(), &tool, r#"{"structuredContent":{}}"#);
    assert_eq!(checked.findings.len(), 1);
    assert!(checked.refusal().is_none());
}

#[test]
fn what_is_said_is_bounded() {
    let places: Vec<_> = (0..20).map(|_| "x".repeat(300)).collect();
    let text = join(&places);
    assert!(
        text.len() < TEXT + 50 && text.ends_with("; and 14 more"),
        "{text}"
    );
}
