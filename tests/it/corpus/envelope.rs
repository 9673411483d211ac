//! Messages and batches of JSON-RPC, as any caller may send them.

use serde::de::IgnoredAny;
use weir::json::{self, Object};
use weir::protocol::era::Era;
use weir::protocol::error::Fault;
use weir::protocol::message::{
    self, Id, Message, MessageError, Notification, Outcome, Request, Response,
};

/// Most messages of a batch that are looked at.
const BATCH: usize = 20;

/// Holds any text to the laws of an envelope, and its items if it is a batch.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    message(text);
    for item in json::array(text).unwrap_or_default().iter().take(BATCH) {
        message(item);
    }
}

fn message(text: &str) {
    match Message::parse(text) {
        Ok(Message::Request(request)) => is_request(text, &request),
        Ok(Message::Notification(notification)) => is_notification(text, &notification),
        Ok(Message::Response(response)) => is_response(text, &response),
        Err(refusal) => is_refused(text, &refusal),
    }
}

fn members(object: &Object<'_>) -> Vec<(String, String)> {
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    object.iter().map(owned).collect()
}

fn is_request(text: &str, request: &Request<'_>) {
    let envelope = Object::parse(text).unwrap();
    assert_eq!(envelope.get("id"), Some(request.id.as_json()));
    assert_eq!(envelope.string("jsonrpc").as_deref(), Some("2.0"));
    assert_eq!(
        envelope.string("method").as_deref(),
        Some(request.method.as_ref())
    );
    // Absent, `null` and PHP's `[]` are all no params.
    let written = envelope
        .get("params")
        .filter(|text| !text.starts_with(['n', '[']));
    let params = Object::parse(written.unwrap_or("{}")).unwrap();
    assert_eq!(members(&params), members(&request.params));
    let meta = params
        .get("_meta")
        .filter(|text| !text.starts_with(['n', '[']));
    let meta = meta.map(|meta| Object::parse(meta).unwrap());
    assert_eq!(
        meta.as_ref().map(members),
        request.meta.as_ref().map(members)
    );

    // On the next hop it is the same request.
    let sent = message::request(&request.id, &request.method, &request.params.to_text());
    let sent = std::str::from_utf8(&sent).unwrap();
    let Ok(Message::Request(read)) = Message::parse(sent) else {
        panic!("not a request: {sent}");
    };
    assert_eq!(read.id, request.id);
    assert_eq!(read.method, request.method);
    assert_eq!(members(&read.params), members(&request.params));
    answered(&message::result(&request.id, "{}"), Some(&request.id));
}

fn is_notification(text: &str, notification: &Notification<'_>) {
    let envelope = &notification.envelope;
    assert!(!envelope.contains("id"));
    assert_eq!(
        envelope.string("method").as_deref(),
        Some(notification.method.as_ref())
    );
    assert_eq!(members(envelope), members(&Object::parse(text).unwrap()));
    let sent = message::notification(&notification.method, envelope.get("params"));
    let Ok(Message::Notification(read)) = Message::parse(std::str::from_utf8(&sent).unwrap())
    else {
        panic!("not a notification: {sent:?}");
    };
    assert_eq!(read.method, notification.method);
    assert_eq!(read.envelope.get("params"), envelope.get("params"));
}

fn is_response(text: &str, response: &Response<'_>) {
    let envelope = Object::parse(text).unwrap();
    assert!(!envelope.contains("method"));
    let id = envelope.get("id").filter(|id| *id != "null");
    assert_eq!(response.id, id);
    let (member, content) = match response.outcome {
        Outcome::Result(content) => ("result", content),
        Outcome::Error(content) => ("error", content),
    };
    assert_eq!(envelope.get(member), Some(content));
    if let (Outcome::Result(result), Some(id)) = (response.outcome, id.and_then(Id::parse)) {
        answered(&message::result(&id, result), Some(&id));
    }
}

fn is_refused(text: &str, refusal: &MessageError) {
    let fault = &refusal.fault;
    let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
    if *fault == Fault::Parse {
        // A key with an escape that is no character is JSON by its grammar.
        assert!(!is_json || text.contains("\\u"));
    } else {
        assert!(is_json, "{fault} is said of what is not JSON");
    }
    assert!(matches!(fault.code(), -32700 | -32600 | -32602), "{fault}");
    for era in [Era::Legacy, Era::Modern] {
        assert_eq!(fault.status(era), 400);
        let body = message::error(refusal.id.as_ref(), &fault.to_json(era));
        assert!(
            body.len() < text.len() + 500,
            "an answer larger than its cause"
        );
        answered(&body, refusal.id.as_ref());
    }
    if let Some(id) = &refusal.id {
        let envelope = Object::parse(text).unwrap();
        assert_eq!(envelope.get("id"), Some(id.as_json()));
        assert!(!matches!(fault, Fault::Parse));
    }
}

/// Checks that weir answers with a response of that id.
fn answered(body: &[u8], id: Option<&Id>) {
    let text = std::str::from_utf8(body).unwrap();
    let Ok(Message::Response(response)) = Message::parse(text) else {
        panic!("not a response: {text}");
    };
    assert_eq!(response.id, id.map(Id::as_json));
}
