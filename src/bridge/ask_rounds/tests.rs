//! Calls from question to question, as tables.

use super::*;

const ALL: &str = r#"{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}},"roots":{}}"#;
const FORM: &str = r#"{"method":"elicitation/create","params":{"mode":"form","message":"\u0041","requestedSchema":{"type":"object","properties":{}}}}"#;
const SAMPLE: &str =
    r#"{"method":"sampling/createMessage","params":{"messages":[],"maxTokens":1e400}}"#;
const ROOTS: &str = r#"{"method":"roots/list"}"#;

fn rounds(version: Version, capabilities: &str) -> AskRounds {
    let client = AskableClient::read(version, capabilities);
    AskRounds::new(version, client, 7, Duration::from_secs(600))
}

fn newest() -> AskRounds {
    rounds(Version::V2025_11_25, ALL)
}

fn url(at: &str) -> String {
    format!(
        r#"{{"method":"elicitation/create","params":{{"mode":"url","message":"?","url":"{at}"}}}}"#
    )
}

fn input(asks: &[(&str, &str)], state: Option<&str>) -> String {
    let asks = asks
        .iter()
        .map(|(key, ask)| format!("{}:{ask}", json::quote(key)));
    let asks = asks.collect::<Vec<_>>().join(",");
    let state = state.map_or(String::new(), |state| format!(r#","requestState":{state}"#));
    format!(r#"{{"resultType":"input_required","inputRequests":{{{asks}}}{state}}}"#)
}

fn asked(step: AskStep) -> Vec<(&'static str, Option<String>)> {
    let AskStep::Ask(asks) = step else {
        panic!("{step:?}");
    };
    asks.into_iter()
        .map(|ask| (ask.method, ask.params))
        .collect()
}

fn retried(step: AskStep) -> (u64, Option<String>, Option<String>) {
    let AskStep::Retry(pause, members) = step else {
        panic!("{step:?}");
    };
    let pause = u64::try_from(pause.as_millis()).unwrap();
    (pause, members.responses, members.state)
}

#[test]
fn a_round_is_asked_at_once_and_the_call_sent_again_when_all_is_answered() {
    let mut call = newest();
    let result = input(
        &[("a", FORM), ("b", SAMPLE), ("c", ROOTS)],
        Some(r#""s\/1""#),
    );
    let asks = asked(call.begin(&result));
    assert_eq!(
        asks,
        [
            (
                "elicitation/create",
                Some(r#"{"mode":"form","message":"\u0041","requestedSchema":{"type":"object","properties":{}}}"#.to_owned())
            ),
            (
                "sampling/createMessage",
                Some(r#"{"messages":[],"maxTokens":1e400}"#.to_owned())
            ),
            ("roots/list", None),
        ]
    );
    assert_eq!(call.answer(2, Ok(r#"{"roots":[ ]}"#)), AskStep::Wait);
    assert_eq!(
        call.answer(0, Ok(r#"{"action":"accept","content":{"n":1e400}}"#)),
        AskStep::Wait
    );
    // An answer that comes twice, and one to no question.
    assert_eq!(call.answer(0, Ok(r#"{"action":"decline"}"#)), AskStep::Wait);
    assert_eq!(call.answer(9, Ok("{}")), AskStep::Wait);
    assert_eq!(
        retried(call.answer(1, Ok(r#"{"role":"assistant","content":{},"model":"m"}"#))),
        (
            0,
            Some(r#"{"a":{"action":"accept","content":{"n":1e400}},"b":{"role":"assistant","content":{},"model":"m"},"c":{"roots":[ ]}}"#.to_owned()),
            Some(r#""s\/1""#.to_owned())
        )
    );
    assert_eq!(call.answer(1, Ok("{}")), AskStep::Wait, "the round is over");
}

#[test]
fn a_state_goes_back_where_one_came_and_only_there() {
    let mut call = newest();
    assert_eq!(asked(call.begin(&input(&[("a", ROOTS)], None))).len(), 1);
    assert_eq!(
        retried(call.answer(0, Ok("{}"))),
        (0, Some(r#"{"a":{}}"#.to_owned()), None)
    );
    let only_state = r#"{"resultType":"input_required","requestState":"s"}"#;
    let expected = (250, None, Some("\"s\"".to_owned()));
    assert_eq!(retried(call.begin(only_state)), expected);
    assert_eq!(retried(call.begin(&input(&[], Some("\"s\"")))), expected);
}

#[test]
fn what_the_protocol_does_not_have_is_the_upstreams_fault() {
    let unknown = r#"{"method":"voice/call","params":{}}"#;
    let long = format!(
        r#"{{"method":"roots/list","params":{{"x":"{}"}}}}"#,
        "x".repeat(LARGEST_ASK)
    );
    let many: Vec<_> = (0..=MOST_ASKS).map(|at| at.to_string()).collect();
    let many: Vec<_> = many.iter().map(|key| (key.as_str(), ROOTS)).collect();
    for result in [
        "[]".to_owned(),
        r#"{"resultType":"input_required"}"#.to_owned(),
        r#"{"inputRequests":[1],"requestState":"s"}"#.to_owned(),
        input(&[("a", "7")], None),
        input(&[("a", unknown)], None),
        input(&[("a", long.as_str())], None),
        input(&many, None),
    ] {
        let step = newest().begin(&result);
        let AskStep::Fail(failure @ AskFailure::Malformed(_)) = step else {
            panic!("{step:?}")
        };
        let fault = failure.to_fault(&UpstreamId::parse("up").unwrap());
        assert!(matches!(fault, Fault::Upstream { .. }), "{fault:?}");
    }
}

#[test]
fn ten_rounds_are_asked_and_no_more() {
    let mut call = newest();
    for _ in 0..MOST_ROUNDS {
        assert_eq!(asked(call.begin(&input(&[("a", ROOTS)], None))).len(), 1);
        retried(call.answer(0, Ok("{}")));
    }
    let step = call.begin(&input(&[("a", ROOTS)], None));
    assert!(
        matches!(step, AskStep::Fail(AskFailure::Malformed(_))),
        "{step:?}"
    );
}

#[test]
fn nobody_is_asked_if_the_client_cannot_be_asked_for_all() {
    use AskFailure::{Lacks, UnknownForm};
    let (newest, older) = (Version::V2025_11_25, Version::V2025_06_18);
    let with_tools = r#"{"method":"sampling/createMessage","params":{"tools":[]}}"#;
    let several = r#"{"method":"elicitation/create","params":{"requestedSchema":{"properties":{"a":{"type":"array"}}}}}"#;
    let forms = r#"{"elicitation":{},"sampling":{}}"#;
    let visit = url("https://u");
    let cases: [(Version, &str, &[&str], AskFailure); 8] = [
        (newest, "{}", &[FORM], Lacks(AskKind::Form)),
        (newest, forms, &[FORM, ROOTS], Lacks(AskKind::Roots)),
        (newest, forms, &[&visit], Lacks(AskKind::Url)),
        (
            newest,
            forms,
            &[with_tools],
            Lacks(AskKind::SamplingWithTools),
        ),
        (older, ALL, &[with_tools], Lacks(AskKind::SamplingWithTools)),
        (older, ALL, &[&visit], Lacks(AskKind::Url)),
        (older, ALL, &[several], UnknownForm),
        (Version::V2025_03_26, ALL, &[FORM], Lacks(AskKind::Form)),
    ];
    for (version, capabilities, asks, expected) in cases {
        let keys = ["a", "b"].into_iter();
        let keyed: Vec<_> = keys.zip(asks.iter().copied()).collect();
        let step = rounds(version, capabilities).begin(&input(&keyed, Some("\"s\"")));
        assert_eq!(step, AskStep::Fail(expected), "{version} {asks:?}");
    }
}

#[test]
fn an_error_is_no_decision_of_a_person_and_the_end_of_all_else() {
    let canceled = r#"{"a":{"action":"cancel"}}"#;
    for outcome in [Err(r#"{"code":-1}"#), Ok("7"), Ok("null"), Ok("[]")] {
        let mut call = newest();
        asked(call.begin(&input(&[("a", FORM)], None)));
        assert_eq!(
            retried(call.answer(0, outcome)).1.as_deref(),
            Some(canceled)
        );
        for (ask, kind) in [(SAMPLE, AskKind::Sampling), (ROOTS, AskKind::Roots)] {
            let mut call = newest();
            asked(call.begin(&input(&[("b", FORM), ("a", ask)], None)));
            assert_eq!(
                call.answer(1, outcome),
                AskStep::Fail(AskFailure::Refused(kind))
            );
            assert_eq!(call.answer(0, Ok("{}")), AskStep::Wait, "the call is over");
        }
    }
    // To decline is to answer.
    let mut call = newest();
    asked(call.begin(&input(&[("a", FORM)], None)));
    let declined = retried(call.answer(0, Ok(r#"{"action":"decline"}"#)));
    assert_eq!(declined.1.as_deref(), Some(r#"{"a":{"action":"decline"}}"#));
}

#[test]
fn the_end_of_the_time_is_a_cancellation_by_the_person() {
    let mut call = newest();
    asked(call.begin(&input(&[("a", FORM), ("b", FORM)], None)));
    call.answer(1, Ok(r#"{"action":"accept"}"#));
    let expected = r#"{"a":{"action":"cancel"},"b":{"action":"accept"}}"#;
    assert_eq!(retried(call.expire()).1.as_deref(), Some(expected));
    let mut call = newest();
    asked(call.begin(&input(&[("a", FORM), ("b", SAMPLE)], None)));
    let unanswered = AskFailure::Unanswered(AskKind::Sampling);
    assert_eq!(call.expire(), AskStep::Fail(unanswered));
}

#[test]
fn a_person_is_asked_once_for_a_url_and_told_when_it_is_over() {
    let mut call = newest();
    let first = input(&[("a", url("https://u").as_str())], Some("\"1\""));
    let asks = asked(call.begin(&first));
    assert_eq!(
        asks[0].1.as_deref(),
        Some(
            r#"{"mode":"url","message":"?","url":"https://u","elicitationId":"0000000000000007-1"}"#
        )
    );
    let accept = r#"{"action":"accept"}"#;
    let accepted = Some(format!(r#"{{"a":{accept}}}"#));
    assert_eq!(
        retried(call.answer(0, Ok(accept))),
        (0, accepted.clone(), Some("\"1\"".to_owned()))
    );
    for pause in [1000, 2000, 4000, 4000] {
        assert_eq!(
            retried(call.begin(&first)),
            (pause, accepted.clone(), Some("\"1\"".to_owned()))
        );
        assert!(call.take_completed(false).is_empty());
    }
    // Another one: the first is over.
    let asks = asked(call.begin(&input(&[("a", url("https://v").as_str())], None)));
    assert!(asks[0].1.as_deref().unwrap().contains("0000000000000007-2"));
    assert_eq!(call.take_completed(false), ["0000000000000007-1"]);
    retried(call.answer(0, Ok(accept)));
    assert_eq!(call.take_completed(true), ["0000000000000007-2"]);
    assert!(call.take_completed(true).is_empty());
}

#[test]
fn a_url_that_was_declined_is_asked_for_again_and_not_completed() {
    let mut call = newest();
    let result = input(&[("a", url("https://u").as_str())], None);
    for _ in 0..2 {
        assert_eq!(asked(call.begin(&result)).len(), 1);
        retried(call.answer(0, Ok(r#"{"action":"decline"}"#)));
    }
    assert!(call.take_completed(true).is_empty());
}

#[test]
fn a_person_at_a_url_is_waited_for_as_long_as_for_an_answer() {
    let mut call = newest();
    let result = input(&[("a", url("https://u").as_str())], None);
    asked(call.begin(&result));
    retried(call.answer(0, Ok(r#"{"action":"accept"}"#)));
    let mut waited = 0;
    let end = loop {
        match call.begin(&result) {
            AskStep::Retry(pause, _) => waited += pause.as_secs(),
            end @ (AskStep::Ask(_) | AskStep::Wait | AskStep::Fail(_)) => break end,
        }
    };
    assert_eq!(end, AskStep::Fail(AskFailure::Unanswered(AskKind::Url)));
    assert!((590..=600).contains(&waited), "{waited}");
}

#[test]
fn a_question_has_no_metadata_and_no_id_of_another_hop() {
    let ask = r#"{"method":"sampling/createMessage","params":{"_meta":{"progressToken":1},"task":{},"elicitationId":"x","messages":[],"x":1e400}}"#;
    let asks = asked(newest().begin(&input(&[("a", ask)], None)));
    assert_eq!(asks[0].1.as_deref(), Some(r#"{"messages":[],"x":1e400}"#));
}
