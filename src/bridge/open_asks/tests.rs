//! Tests of the questions of a legacy upstream.

use super::*;
use crate::protocol::message::Message;

const ALL: &str = r#"{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}},"roots":{}}"#;

fn asks(version: Version, capabilities: &str) -> OpenAsks {
    OpenAsks::new(version, AskableClient::read(Version::MODERN, capabilities))
}

/// Takes a request of the upstream, and returns the answer that it gets at once.
fn take(asks: &mut OpenAsks, id: &str, asked: &str, params: &str) -> Option<String> {
    let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{asked}","params":{params}}}"#);
    let Ok(Message::Request(request)) = Message::parse(&text) else {
        panic!("no request: {text}");
    };
    asks.take(&request).map(text_of)
}

fn text_of(bytes: Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn texts(all: Vec<Bytes>) -> Vec<String> {
    all.into_iter().map(text_of).collect()
}

fn code(answer: &str) -> i64 {
    let answer: serde_json::Value = serde_json::from_str(answer).unwrap();
    answer["error"]["code"].as_i64().unwrap()
}

#[test]
fn questions_are_embedded_without_what_is_of_a_request() {
    let mut asks = asks(Version::V2025_11_25, ALL);
    let form = r#"{"message":"\u0041?","requestedSchema":{"n":1e400},"_meta":{"progressToken":1},"task":{"ttl":1}}"#;
    assert_eq!(take(&mut asks, "\"q\"", "elicitation/create", form), None);
    let url = r#"{"mode":"url","url":"https://a","message":"m","elicitationId":"e"}"#;
    assert_eq!(take(&mut asks, "7", "elicitation/create", url), None);
    assert_eq!(take(&mut asks, "8", "roots/list", "{}"), None);
    assert_eq!(
        asks.to_result("s\"1"),
        r#"{"resultType":"input_required","inputRequests":{"ask-1":{"method":"elicitation/create","params":{"message":"\u0041?","requestedSchema":{"n":1e400}}},"ask-2":{"method":"elicitation/create","params":{"mode":"url","url":"https://a","message":"m"}},"ask-3":{"method":"roots/list"}},"requestState":"s\"1"}"#
    );
    assert_eq!(asks.keys(), ["ask-1", "ask-2", "ask-3"]);
}

#[test]
fn answers_go_to_the_requests_that_they_are_for_and_the_rest_is_asked_again() {
    let mut asks = asks(Version::V2025_11_25, ALL);
    for id in ["1", "\"1\"", "2"] {
        assert_eq!(take(&mut asks, id, "roots/list", "{}"), None);
    }
    let answers = r#"{"ask-2":{"roots":[ ]},"ask-9":7,"ask-1":{"n":1e400}}"#;
    assert_eq!(
        texts(asks.answer(answers)),
        [
            r#"{"jsonrpc":"2.0","id":1,"result":{"n":1e400}}"#,
            r#"{"jsonrpc":"2.0","id":"1","result":{"roots":[ ]}}"#
        ]
    );
    assert_eq!(asks.keys(), ["ask-3"]);
    assert!(asks.is_open());
    assert_eq!(
        texts(asks.answer(answers)),
        [""; 0],
        "they are answered once"
    );
    assert_eq!(asks.answer(r#"{"ask-3":{}}"#).len(), 1);
    assert!(!asks.is_open());
    assert_eq!(take(&mut asks, "1", "roots/list", "{}"), None);
    assert_eq!(asks.keys(), ["ask-4"], "no name is used twice");
}

#[test]
fn an_upstream_that_wants_progress_is_told_that_its_open_questions_wait() {
    let mut asks = asks(Version::V2025_11_25, ALL);
    for (id, params) in [
        ("1", r#"{"_meta":{"progressToken":"\u0041"}}"#),
        ("2", r#"{"_meta":{"progressToken":null}}"#),
        ("3", "{}"),
        ("4", r#"{"_meta":{"progressToken":7}}"#),
    ] {
        assert_eq!(take(&mut asks, id, "roots/list", params), None);
    }
    let told = |asks: &OpenAsks, progress| -> Vec<_> {
        let told = asks.progress(progress).into_iter();
        told.map(|(number, message)| (number, text_of(message)))
            .collect()
    };
    let message = |token: &str, progress: u64| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{progress}}}}}"#
        )
    };
    let both = vec![(1, message(r#""\u0041""#, 5)), (4, message("7", 5))];
    assert_eq!(told(&asks, 5), both);
    asks.answer(r#"{"ask-1":{"roots":[]}}"#);
    assert_eq!(told(&asks, 6), [(4, message("7", 6))]);
}

#[test]
fn answers_that_are_no_objects_are_malformed() {
    let keys = ["a".to_owned(), "b".to_owned()];
    for (answers, is_good) in [
        (None, true),
        (Some("{}"), true),
        (Some(r#"{"a":{}}"#), true),
        (Some(r#"{"a":{},"b":{},"c":1}"#), true),
        (Some(r#"{"a":1}"#), false),
        (Some(r#"{"a":{},"b":null}"#), false),
        (Some(r#"{"b":[]}"#), false),
        (Some("[]"), false),
        (Some("7"), false),
        (Some(r#"{"a":{},"a":{}}"#), false),
    ] {
        let expected = is_good.then_some(()).ok_or(MalformedAnswers);
        assert_eq!(check_answers(&keys, answers), expected, "{answers:?}");
    }
}

#[test]
fn a_question_that_is_taken_back_is_not_asked() {
    let mut asks = asks(Version::V2025_11_25, ALL);
    for id in ["7", "\"7\"", "8"] {
        take(&mut asks, id, "roots/list", "{}");
    }
    asks.withdraw(&Id::parse("\"7\"").unwrap());
    assert_eq!(asks.keys(), ["ask-1", "ask-3"]);
    asks.withdraw(&Id::parse("\"8\"").unwrap());
    asks.withdraw(&Id::parse("99").unwrap());
    assert_eq!(asks.keys(), ["ask-1"]);
}

#[test]
fn each_kind_ends_without_its_caller_as_its_specification_says() {
    let mut asks = asks(Version::V2025_11_25, ALL);
    take(&mut asks, "1", "elicitation/create", "{}");
    take(&mut asks, "2", "elicitation/create", r#"{"mode":"url"}"#);
    take(&mut asks, "3", "sampling/createMessage", "{}");
    take(&mut asks, "4", "sampling/createMessage", r#"{"tools":[]}"#);
    take(&mut asks, "5", "roots/list", "{}");
    let ends = texts(asks.end());
    for (place, id) in [(0, 1), (1, 2)] {
        assert_eq!(
            ends[place],
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"action":"cancel"}}}}"#)
        );
    }
    let codes: Vec<_> = ends[2..].iter().map(|end| code(end)).collect();
    assert_eq!(codes, [-1, -1, -32603]);
    assert!(!asks.is_open() && asks.end().is_empty());
}

#[test]
fn a_caller_is_asked_only_what_it_declares() {
    for (capabilities, asked, params, expected) in [
        ("{}", "roots/list", "{}", -32601),
        ("{}", "elicitation/create", "{}", -32601),
        (
            r#"{"elicitation":{}}"#,
            "elicitation/create",
            r#"{"mode":"url"}"#,
            -32602,
        ),
        (
            r#"{"elicitation":{"url":{}}}"#,
            "elicitation/create",
            "{}",
            -32602,
        ),
        (
            r#"{"sampling":{}}"#,
            "sampling/createMessage",
            r#"{"tools":[]}"#,
            -32601,
        ),
        (ALL, "elicitation/create", r#"{"mode":"voice"}"#, -32602),
        (ALL, "tasks/get", "{}", -32601),
    ] {
        let mut asks = asks(Version::V2025_11_25, capabilities);
        let answer = take(&mut asks, "1", asked, params).unwrap();
        assert_eq!(code(&answer), expected, "{capabilities} {asked} {params}");
        assert!(!asks.is_open());
    }
    let mut asks = asks(Version::V2025_11_25, "{}");
    let pong = take(&mut asks, "\"p\"", "ping", "{}").unwrap();
    assert_eq!(pong, r#"{"jsonrpc":"2.0","id":"p","result":{}}"#);
}

#[test]
fn a_failed_call_says_which_capability_it_would_have_needed() {
    for (capabilities, asked, params, expected) in [
        (
            r#"{"elicitation":{}}"#,
            "elicitation/create",
            r#"{"mode":"url"}"#,
            r#"{"elicitation":{"url":{}}}"#,
        ),
        (
            "{}",
            "elicitation/create",
            "{}",
            r#"{"elicitation":{"form":{}}}"#,
        ),
        ("{}", "sampling/createMessage", "{}", r#"{"sampling":{}}"#),
        (
            r#"{"sampling":{}}"#,
            "sampling/createMessage",
            r#"{"toolChoice":{}}"#,
            r#"{"sampling":{"tools":{}}}"#,
        ),
        ("{}", "roots/list", "{}", r#"{"roots":{}}"#),
    ] {
        let mut asks = asks(Version::V2025_11_25, capabilities);
        take(&mut asks, "1", asked, params);
        let error = asks.missing_capability().unwrap();
        let error = Object::parse(&error).unwrap();
        assert_eq!(error.get("code"), Some("-32021"));
        let data = Object::parse(error.get("data").unwrap()).unwrap();
        assert_eq!(data.get("requiredCapabilities"), Some(expected));
    }
    let mut asks = asks(Version::V2025_11_25, ALL);
    take(&mut asks, "1", "elicitation/create", r#"{"mode":"voice"}"#);
    take(&mut asks, "2", "roots/list", "{}");
    assert_eq!(asks.missing_capability(), None);
}

#[test]
fn no_call_has_more_open_questions_or_larger_ones_than_the_bounds() {
    let mut asks = asks(Version::V2025_11_25, ALL);
    let large = format!(r#"{{"message":"{}"}}"#, "x".repeat(LARGEST_ASK));
    let refused = take(&mut asks, "0", "elicitation/create", &large).unwrap();
    assert_eq!(code(&refused), -32603);
    for id in 1..=MOST_ASKS {
        assert_eq!(take(&mut asks, &id.to_string(), "roots/list", "{}"), None);
    }
    let refused = take(&mut asks, "99", "roots/list", "{}").unwrap();
    assert_eq!(code(&refused), -32603);
    assert_eq!(asks.keys().len(), MOST_ASKS);
    let all = texts(asks.refuse());
    assert!(all.iter().all(|answer| code(answer) == -32603));
    assert_eq!(all.len(), MOST_ASKS);
}

#[test]
fn an_older_upstream_gets_the_single_block_that_it_knows() {
    let answer = r#"{"role":"assistant","content":[{"type":"text","n":1e400}],"model":"m"}"#;
    let several = r#"{"role":"assistant","content":[{},{}],"model":"m"}"#;
    for (version, answer, expected) in [
        (Version::V2025_11_25, answer, answer),
        (
            Version::V2025_06_18,
            answer,
            r#"{"role":"assistant","content":{"type":"text","n":1e400},"model":"m"}"#,
        ),
        (Version::V2025_06_18, several, several),
    ] {
        let mut asks = asks(version, ALL);
        take(&mut asks, "1", "sampling/createMessage", "{}");
        let sent = texts(asks.answer(&format!(r#"{{"ask-1":{answer}}}"#)));
        assert_eq!(
            sent,
            [format!(r#"{{"jsonrpc":"2.0","id":1,"result":{expected}}}"#)]
        );
    }
}
