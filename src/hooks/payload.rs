//! The interceptor payload of AgentCore Gateway, version 1.0 (Amazon Bedrock AgentCore developer guide,
//! "Types of interceptors", "Interceptor configuration").
//!
//! A member `weir.audit` of the output is weir's own: names and texts that go into the record.

use std::borrow::Cow;

use crate::hooks::{HookFailure, HookPhase};
use crate::json::{self, Object};
use crate::protocol::message::{Id, Message, Outcome};

/// The version of input and output.
const VERSION: &str = "1.0";
/// Most attributes that one hook adds to a record, and most bytes of one.
const ATTRIBUTES: usize = 16;
const ATTRIBUTE_BYTES: usize = 256;

/// A message that a hook is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Interception<'m> {
    /// The path of the endpoint.
    pub path: &'m str,
    /// The headers of the caller's request that the hook sees: a JSON object.
    pub headers: &'m str,
    /// The caller's id of the request.
    pub id: &'m Id,
    /// The JSON-RPC request as the caller sent it, or as earlier hooks left it: JSON text.
    pub request: &'m str,
    /// The JSON-RPC response with its HTTP status, if there is one yet: JSON text.
    pub response: Option<(u16, &'m str)>,
}

/// The answer of a hook.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Intercepted {
    /// The JSON-RPC request that goes on: JSON text.
    pub request: Option<String>,
    /// The JSON-RPC response that the caller gets, in place of what there is.
    pub response: Option<InterceptedResponse>,
    /// Attributes for the record.
    pub audit: Vec<(String, String)>,
}

/// A response of a hook: the JSON text of its `result` or `error`.
#[derive(Debug, PartialEq, Eq)]
pub enum InterceptedResponse {
    /// `result`
    Result(String),
    /// `error`
    Error(String),
}

impl Interception<'_> {
    /// Returns what it is.
    #[must_use]
    pub const fn phase(&self) -> HookPhase {
        match self.response {
            Some(_) => HookPhase::Response,
            None => HookPhase::Request,
        }
    }

    /// Returns how many bytes the headers and bodies have.
    pub(super) fn bytes(&self) -> usize {
        let response = self.response.map_or(0, |(_, body)| body.len());
        self.headers.len() + self.request.len() + response
    }

    /// Writes the input. Bodies keep their bytes.
    #[must_use]
    pub fn to_json(&self) -> String {
        let (path, raw) = (json::quote(self.path), json::quote(self.request));
        let (headers, body) = (self.headers, self.request);
        // AgentCore sends null for what is not there.
        let response = match self.response {
            Some((status, body)) => format!(
                "{{\"statusCode\":{status},\"headers\":{{}},\"body\":{body},\"isStreamingResponse\":false}}"
            ),
            None => "null".to_owned(),
        };
        format!(
            "{{\"interceptorInputVersion\":\"{VERSION}\",\"mcp\":{{\"rawGatewayRequest\":{{\"body\":{raw}}},\
             \"gatewayRequest\":{{\"path\":{path},\"httpMethod\":\"POST\",\"headers\":{headers},\"context\":null,\"body\":{body}}},\
             \"gatewayResponse\":{response}}}}}"
        )
    }

    /// Reads the output.
    ///
    /// # Errors
    /// It is not what an interceptor may answer here.
    pub fn read(&self, answer: &[u8]) -> Result<Intercepted, HookFailure> {
        let text = std::str::from_utf8(answer).map_err(|_| HookFailure::Answer("not UTF-8"))?;
        let output = Object::parse(text).map_err(|_| HookFailure::Answer("not a JSON object"))?;
        if output.string("interceptorOutputVersion").as_deref() != Some(VERSION) {
            return Err(HookFailure::Answer("not of interceptorOutputVersion 1.0"));
        }
        let mcp = object(&output, "mcp")?.ok_or(HookFailure::Answer("no `mcp`"))?;
        let request = object(&mcp, "transformedGatewayRequest")?;
        let request = request.as_ref().and_then(|request| request.value("body"));
        let response = object(&mcp, "transformedGatewayResponse")?;
        let response = response
            .as_ref()
            .map(|response| {
                response
                    .value("body")
                    .ok_or(HookFailure::Answer("a response without a body"))
            })
            .transpose()?;
        let found = Intercepted {
            // A response of its own wins over a request beside it.
            request: match (request, response) {
                (Some(body), None) => Some(self.check_request(body)?),
                (Some(_) | None, Some(_)) | (None, None) => None,
            },
            response: response.map(|body| self.check_response(body)).transpose()?,
            audit: attributes(&output),
        };
        match (self.phase(), &found.request, &found.response) {
            (HookPhase::Request, None, None) => {
                Err(HookFailure::Answer("neither a request nor a response"))
            }
            (HookPhase::Response, _, None) => Err(HookFailure::Answer("no response")),
            (HookPhase::Request | HookPhase::Response, _, _) => Ok(found),
        }
    }

    /// Checks a request that goes on: it is the same request, with other params.
    fn check_request(&self, body: &str) -> Result<String, HookFailure> {
        let parse = |text| match Message::parse(text) {
            Ok(Message::Request(request)) => Ok(request),
            _ => Err(HookFailure::Answer("the body is no JSON-RPC request")),
        };
        let (before, after) = (parse(self.request)?, parse(body)?);
        if before.method != after.method || !before.id.is_alike(&after.id) {
            return Err(HookFailure::Answer("a request of another id or method"));
        }
        Ok(body.to_owned())
    }

    fn check_response(&self, body: &str) -> Result<InterceptedResponse, HookFailure> {
        let Ok(Message::Response(response)) = Message::parse(body) else {
            return Err(HookFailure::Answer("the body is no JSON-RPC response"));
        };
        let id = response.id.and_then(Id::parse);
        let is_own = id.is_some_and(|id| id.is_alike(self.id));
        if !is_own {
            return Err(HookFailure::Answer("a response of another id"));
        }
        Ok(match response.outcome {
            Outcome::Result(result) => InterceptedResponse::Result(result.to_owned()),
            Outcome::Error(error) => InterceptedResponse::Error(error.to_owned()),
        })
    }
}

/// Reads a member that is an object, if it is there.
fn object<'a>(of: &Object<'a>, key: &'static str) -> Result<Option<Object<'a>>, HookFailure> {
    let found = of.object(key);
    found.map_err(|_| HookFailure::Answer("a member is not an object with each key once"))
}

/// Returns the attributes for the record: texts, cut, and a few of them.
fn attributes(output: &Object<'_>) -> Vec<(String, String)> {
    let own = output.object("weir").ok().flatten();
    let audit = own.and_then(|own| own.object("audit").ok().flatten());
    let cut = |text: Cow<'_, str>| -> String {
        let mut end = text.len().min(ATTRIBUTE_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.get(..end).unwrap_or_default().to_owned()
    };
    let audit = audit.unwrap_or_default();
    let texts = audit.iter().filter_map(|(key, value)| {
        let value = json::string(value)?;
        Some((cut(Cow::Borrowed(key)), cut(value)))
    });
    texts.take(ATTRIBUTES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","arguments":{"n":1e400}}}"#;

    fn read(response: Option<(u16, &str)>, answer: &str) -> Result<Intercepted, String> {
        let id = Id::parse("7").unwrap();
        let interception = Interception {
            path: "/mcp",
            headers: "{}",
            id: &id,
            request: REQUEST,
            response,
        };
        let read = interception.read(answer.as_bytes());
        read.map_err(|failure| failure.to_string())
    }

    fn output(mcp: &str) -> String {
        format!(r#"{{"interceptorOutputVersion":"1.0","mcp":{mcp}}}"#)
    }

    #[test]
    fn the_input_is_what_agentcore_sends() {
        let id = Id::parse("7").unwrap();
        let text = Interception {
            path: "/mcp",
            headers: r#"{"X-Tenant":"a"}"#,
            id: &id,
            request: REQUEST,
            response: None,
        };
        let input = text.to_json();
        assert!(input.contains(&format!("\"body\":{REQUEST}}}")), "{input}");
        let value: serde_json::Value = serde_json::from_str(&input.replace("1e400", "1")).unwrap();
        assert_eq!(value["interceptorInputVersion"], "1.0");
        let mcp = &value["mcp"];
        assert_eq!(mcp["gatewayRequest"]["httpMethod"], "POST");
        assert_eq!(mcp["gatewayRequest"]["headers"]["X-Tenant"], "a");
        assert_eq!(mcp["gatewayRequest"]["body"]["id"], 7);
        assert!(mcp["gatewayResponse"].is_null());
        let raw = mcp["rawGatewayRequest"]["body"].as_str().unwrap();
        assert!(raw.starts_with(r#"{"jsonrpc""#), "{raw}");
        let response = Interception {
            response: Some((200, r#"{"jsonrpc":"2.0","id":7,"result":{}}"#)),
            ..text
        };
        let value: serde_json::Value =
            serde_json::from_str(&response.to_json().replace("1e400", "1")).unwrap();
        assert_eq!(value["mcp"]["gatewayResponse"]["statusCode"], 200);
        assert_eq!(value["mcp"]["gatewayResponse"]["body"]["id"], 7);
    }

    #[test]
    fn a_request_goes_on_changed_or_not_and_a_response_wins_over_it() {
        let changed = REQUEST.replace("1e400", "2");
        let found = read(
            None,
            &output(&format!(
                r#"{{"transformedGatewayRequest":{{"body":{changed}}}}}"#
            )),
        );
        assert_eq!(found.unwrap().request.as_deref(), Some(changed.as_str()));
        let both = format!(
            r#"{{"transformedGatewayRequest":{{"body":{REQUEST}}},"transformedGatewayResponse":{{"statusCode":403,"body":{{"jsonrpc":"2.0","id":7,"error":{{"code":-1,"message":"no"}}}}}}}}"#
        );
        let found = read(None, &output(&both)).unwrap();
        assert_eq!(found.request, None);
        let error = r#"{"code":-1,"message":"no"}"#.to_owned();
        assert_eq!(found.response, Some(InterceptedResponse::Error(error)));
    }

    #[test]
    fn what_is_no_output_is_refused() {
        let request = |body: &str| {
            output(&format!(
                r#"{{"transformedGatewayRequest":{{"body":{body}}}}}"#
            ))
        };
        let response = |body: &str| {
            output(&format!(
                r#"{{"transformedGatewayResponse":{{"statusCode":200,"body":{body}}}}}"#
            ))
        };
        for answer in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"interceptorOutputVersion":"2.0","mcp":{}}"#,
            &output("{}"),
            &output("7"),
            &output(r#"{"transformedGatewayResponse":{"statusCode":200}}"#),
            &request("7"),
            &request(&REQUEST.replace("\"id\":7", "\"id\":8")),
            &request(&REQUEST.replace("tools/call", "tools/list")),
            &response(REQUEST),
            &response(r#"{"jsonrpc":"2.0","id":8,"result":{}}"#),
            &response(r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":""}}"#),
        ] {
            assert!(read(None, answer).is_err(), "{answer}");
        }
        let only_request = request(REQUEST);
        let was = Some((200, r#"{"jsonrpc":"2.0","id":7,"result":{}}"#));
        assert_eq!(
            read(was, &only_request).unwrap_err(),
            "the answer is not usable: no response"
        );
    }

    #[test]
    fn attributes_for_the_record_are_texts_and_few() {
        let many: Vec<_> = (0..40)
            .map(|n| format!(r#""k{n}":"{}""#, "é".repeat(200)))
            .collect();
        let answer = format!(
            r#"{{"interceptorOutputVersion":"1.0","weir":{{"audit":{{"n":1,{}}}}},"mcp":{{"transformedGatewayRequest":{{"body":{REQUEST}}}}}}}"#,
            many.join(",")
        );
        let found = read(None, &answer).unwrap();
        assert_eq!(found.audit.len(), ATTRIBUTES);
        assert!(
            found
                .audit
                .iter()
                .all(|(_, text)| text.len() <= ATTRIBUTE_BYTES)
        );
    }
}
