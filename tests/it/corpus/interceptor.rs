//! Answers of hooks, which are somebody else's code.

use weir::hooks::payload::InterceptedResponse;
use weir::hooks::{Intercepted, Interception};
use weir::json::Object;
use weir::protocol::message::{Id, Message, Outcome};

const REQUEST: &str =
    r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","arguments":{"q":"x"}}}"#;
const RESPONSE: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#;

/// Most attributes for the record, and most bytes of a name or text of one.
const ATTRIBUTES: (usize, usize) = (16, 256);

/// Holds any answer to the laws of an output, of a request and of a response.
pub fn check(data: &[u8]) {
    let id = Id::parse("7").unwrap();
    for response in [None, Some((200, RESPONSE))] {
        let interception = Interception {
            path: "/mcp",
            headers: "{}",
            id: &id,
            request: REQUEST,
            response,
        };
        let input = interception.to_json();
        assert!(Object::parse(&input).is_ok(), "{input}");
        match interception.read(data) {
            Ok(found) => is_taken(data, &found, response.is_some()),
            Err(failure) => {
                let text = failure.to_string();
                assert!(text.len() < 200, "{text}");
            }
        }
    }
}

/// Checks that what is taken has its bytes in the answer, and is the same request or a response to
/// it.
fn is_taken(data: &[u8], found: &Intercepted, is_response: bool) {
    let answer = std::str::from_utf8(data).unwrap();
    assert!(found.request.is_some() != found.response.is_some());
    assert!(!is_response || found.response.is_some());
    if let Some(request) = &found.request {
        assert!(answer.contains(request.as_str()));
        let Ok(Message::Request(read)) = Message::parse(request) else {
            panic!("not a request: {request}");
        };
        assert_eq!(read.method, "tools/call");
        assert!(read.id.is_alike(&Id::parse("7").unwrap()));
    }
    if let Some(response) = &found.response {
        let (member, text) = match response {
            InterceptedResponse::Result(text) => ("result", text),
            InterceptedResponse::Error(text) => ("error", text),
        };
        assert!(answer.contains(text.as_str()));
        let message = format!("{{\"jsonrpc\":\"2.0\",\"id\":7,\"{member}\":{text}}}");
        let Ok(Message::Response(read)) = Message::parse(&message) else {
            panic!("not a response: {message}");
        };
        let is_result = matches!(read.outcome, Outcome::Result(_));
        assert_eq!(is_result, member == "result");
    }
    assert!(found.audit.len() <= ATTRIBUTES.0);
    for (name, text) in &found.audit {
        assert!(name.len() <= ATTRIBUTES.1 && text.len() <= ATTRIBUTES.1);
    }
}
