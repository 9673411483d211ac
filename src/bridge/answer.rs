//! Puts an answer of an upstream into the caller's era. Within one era it stays as it is, except
//! for ids of tasks and some errors.

use http::StatusCode;

use crate::bridge::{request_state, task_ids};
use crate::caller::Caller;
use crate::json::{self, Object};
use crate::name::UpstreamId;
use crate::protocol::era::Era;
use crate::protocol::error::Fault;

/// The two eras of a call, and what else decides how its answer changes.
#[derive(Clone, Copy, Debug)]
pub struct AnswerBridge {
    /// The caller's era.
    pub caller: Era,
    /// The upstream's era.
    pub upstream: Era,
    /// Whether the call is `resources/read`, whose results and errors have rules of their own.
    pub is_read: bool,
    /// Whether it is `tools/call`, which can fail with a result that models read.
    pub is_call: bool,
    /// Whether ids of tasks may be in results and notifications.
    pub has_tasks: bool,
    /// Whether the upstream is a weir, whose errors may be about an upstream of its own.
    pub is_weir: bool,
}

impl AnswerBridge {
    /// Returns the `result` for the caller; `None` if the upstream's own bytes fit.
    ///
    /// # Errors
    /// The result is not MCP, or it needs something that the caller's era does not have.
    pub fn result(
        self,
        text: &str,
        upstream: &UpstreamId,
        caller: &Caller,
    ) -> Result<Option<String>, Fault> {
        if self.caller == self.upstream {
            let wrapped = self
                .has_tasks
                .then(|| task_ids::wrap_result(text, upstream, caller));
            let wrapped = wrapped.flatten();
            let bound = match self.caller {
                Era::Legacy => None,
                Era::Modern => {
                    request_state::bind(wrapped.as_deref().unwrap_or(text), upstream, caller)
                }
            };
            return Ok(bound.or(wrapped));
        }
        let malformed = |_| Fault::Upstream {
            upstream: upstream.as_str().into(),
            reason: "the answer is not MCP",
        };
        let mut result = Object::parse(text).map_err(malformed)?;
        match self.caller {
            Era::Modern => {
                // A legacy server knows no other kind of result (`basic/index.mdx#resulttype`).
                result.set("resultType", "\"complete\"");
                if self.is_read {
                    result.set("ttlMs", "0");
                    result.set("cacheScope", "\"private\"");
                }
                Ok(Some(result.to_text()))
            }
            Era::Legacy => {
                if result
                    .string("resultType")
                    .is_some_and(|kind| kind != "complete")
                {
                    return Err(Fault::NotBridged {
                        upstream: upstream.as_str().into(),
                    });
                }
                // Legacy does not know it, and some clients refuse an empty result that has it.
                let mut is_changed = result.remove("resultType");
                // Legacy allows only objects here. The text content carries the same data.
                let is_foreign = result
                    .get("structuredContent")
                    .is_some_and(|content| !json::is_object(content));
                if is_foreign {
                    is_changed |= result.remove("structuredContent");
                }
                Ok(is_changed.then(|| result.to_text()))
            }
        }
    }

    /// Returns the result of a tool in place of the error that its client lacks a capability (-32021),
    /// which legacy clients do not know (`client/elicitation.mdx`, error handling); `None` for
    /// another error.
    #[must_use]
    pub fn refusal(self, text: &str) -> Option<String> {
        if !self.is_call || (self.caller, self.upstream) != (Era::Legacy, Era::Modern) {
            return None;
        }
        let error = Object::parse(text).ok()?;
        if error.get("code") != Some("-32021") {
            return None;
        }
        let message = error.string("message").unwrap_or_default();
        let data = error.get("data").and_then(|data| Object::parse(data).ok());
        let required = data
            .as_ref()
            .and_then(|data| data.get("requiredCapabilities"));
        let text = match required {
            Some(required) => format!("{message}: this client does not declare {required}"),
            None => message.into_owned(),
        };
        let text = json::quote(&text);
        Some(format!(
            "{{\"content\":[{{\"type\":\"text\",\"text\":{text}}}],\"isError\":true}}"
        ))
    }

    /// Returns the `error` for the caller and its HTTP status; the text is `None` if the upstream's
    /// own bytes fit.
    #[must_use]
    pub fn error(self, text: &str, upstream: &UpstreamId) -> (Option<String>, StatusCode) {
        let Ok(mut error) = Object::parse(text) else {
            let fault = Fault::Upstream {
                upstream: upstream.as_str().into(),
                reason: "the answer is not MCP",
            };
            return (Some(fault.to_json(self.caller)), StatusCode::OK);
        };
        let code = error
            .get("code")
            .and_then(|code| code.parse::<i64>().ok())
            .unwrap_or_default();
        let status = match (self.caller, code) {
            (Era::Modern, -32021) => StatusCode::BAD_REQUEST,
            _ => StatusCode::OK,
        };
        if self.is_weir
            && code == -32603
            && let Some(caused) = name_cause(&error, upstream)
        {
            return (Some(caused), status);
        }
        let mapped = match (self.upstream, self.caller, code) {
            // They are about weir's request to the upstream, not about the caller's request to
            // weir.
            (_, _, -32020 | -32022) => Some(-32603),
            (Era::Legacy, Era::Modern, -32002) => Some(-32602),
            (Era::Legacy, Era::Modern, -32042 | -32019..=-32000) => Some(-32603),
            (Era::Modern, Era::Legacy, -32602) if self.is_read => Some(-32002),
            (Era::Modern, Era::Legacy, -32021) => Some(-32603),
            _ => None,
        };
        let Some(code) = mapped else {
            return (None, status);
        };
        error.set("code", code.to_string());
        if code == -32603 {
            let data = name_upstream(error.get("data"), upstream);
            error.set("data", data);
        }
        (Some(error.to_text()), status)
    }
}

/// The reason, as JSON text, if the upstream gives none.
const REFUSED: &str = "\"refused the request\"";

/// Returns an error's data with the upstream's name in it.
fn name_upstream(data: Option<&str>, upstream: &UpstreamId) -> String {
    let upstream = json::quote(upstream.as_str());
    let mut named = Object::new();
    match data.map(Object::parse) {
        Some(Ok(mut data)) => {
            data.set("upstream", upstream);
            if !data.contains("reason") {
                data.set("reason", REFUSED);
            }
            return data.to_text();
        }
        Some(Err(_)) => named.set("data", data.unwrap_or("null")),
        None => {}
    }
    named.set("upstream", upstream);
    named.set("reason", REFUSED);
    named.to_text()
}

/// Returns the error of an upstream that is itself a weir, if the error is about an upstream of
/// that weir. Its `data` then names the weir as the upstream, and has the weir's own `data` as
/// `cause`, byte for byte.
fn name_cause(error: &Object<'_>, upstream: &UpstreamId) -> Option<String> {
    let cause = error.get("data")?;
    let inner = Object::parse(cause).ok()?;
    inner.string("upstream")?;
    let reason = inner.get("reason").unwrap_or("\"failed\"");
    let mut data = Object::new();
    data.set("upstream", json::quote(upstream.as_str()));
    data.set("reason", reason);
    data.set("cause", cause);
    let mut outer = error.clone();
    if let Some(message) = error.string("message") {
        outer.set(
            "message",
            json::quote(&format!("upstream `{upstream}`: {message}")),
        );
    }
    outer.set("data", data.to_text());
    Some(outer.to_text())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVER: AnswerBridge = AnswerBridge {
        caller: Era::Modern,
        upstream: Era::Legacy,
        is_read: false,
        is_call: false,
        has_tasks: false,
        is_weir: false,
    };
    const BACK: AnswerBridge = AnswerBridge {
        caller: Era::Legacy,
        upstream: Era::Modern,
        is_read: false,
        is_call: false,
        has_tasks: false,
        is_weir: false,
    };

    fn id() -> UpstreamId {
        UpstreamId::parse("erp").unwrap()
    }

    fn code(bridge: AnswerBridge, code: i32) -> i64 {
        let text = format!("{{\"code\":{code},\"message\":\"x\",\"data\":[1]}}");
        let (mapped, _) = bridge.error(&text, &id());
        serde_json::from_str::<serde_json::Value>(&mapped.unwrap_or(text)).unwrap()["code"]
            .as_i64()
            .unwrap()
    }

    #[test]
    fn the_same_era_is_not_touched() {
        for era in [Era::Legacy, Era::Modern] {
            let same = AnswerBridge {
                caller: era,
                upstream: era,
                is_read: true,
                is_call: false,
                has_tasks: false,
                is_weir: false,
            };
            assert_eq!(
                same.result("not even JSON", &id(), &Caller::anonymous())
                    .unwrap(),
                None
            );
            assert_eq!(
                same.error(r#"{"code":-32002,"message":"x"}"#, &id()).0,
                None
            );
        }
    }

    #[test]
    fn a_legacy_result_becomes_complete_for_a_modern_caller() {
        assert_eq!(
            OVER.result(r#"{"x":1e400}"#, &id(), &Caller::anonymous())
                .unwrap()
                .unwrap(),
            r#"{"x":1e400,"resultType":"complete"}"#
        );
    }

    #[test]
    fn a_modern_result_says_nothing_of_its_type_to_a_legacy_caller() {
        for (modern, legacy) in [
            (r#"{"resultType":"complete"}"#, "{}"),
            (
                r#"{"x":1e400,"resultType":"complete","content":[ ],"a":"\u00e9"}"#,
                r#"{"x":1e400,"content":[ ],"a":"\u00e9"}"#,
            ),
            (
                r#"{"result\u0054ype":"complete","structuredContent":{"resultType":"complete"}}"#,
                r#"{"structuredContent":{"resultType":"complete"}}"#,
            ),
            (
                r#"{"content":[],"structuredContent":[1],"resultType":"complete"}"#,
                r#"{"content":[]}"#,
            ),
            (r#"{"resultType":null,"content":[]}"#, r#"{"content":[]}"#),
        ] {
            let crossed = BACK.result(modern, &id(), &Caller::anonymous()).unwrap();
            assert_eq!(crossed.as_deref(), Some(legacy), "{modern}");
        }
        let own = r#"{ "content":[ ], "n":1.50 }"#;
        let crossed = BACK.result(own, &id(), &Caller::anonymous()).unwrap();
        assert_eq!(crossed, None, "its bytes fit");
    }

    #[test]
    fn what_cannot_cross_is_an_error_and_no_hang() {
        let asked = BACK.result(
            r#"{"resultType":"input_required","requestState":"s"}"#,
            &id(),
            &Caller::anonymous(),
        );
        assert!(matches!(asked, Err(Fault::NotBridged { .. })));
    }

    #[test]
    fn error_codes_are_mapped() {
        assert_eq!(code(OVER, -32002), -32602);
        assert_eq!(code(OVER, -32001), -32603);
        assert_eq!(code(OVER, -32042), -32603);
        assert_eq!(code(BACK, -32021), -32603);
        assert_eq!(code(BACK, -32602), -32602);
        assert_eq!(
            code(
                AnswerBridge {
                    is_read: true,
                    ..BACK
                },
                -32602
            ),
            -32002
        );
        assert_eq!(
            code(
                AnswerBridge {
                    caller: Era::Modern,
                    upstream: Era::Modern,
                    is_read: false,
                    is_call: false,
                    has_tasks: false,
                    is_weir: false,
                },
                -32020
            ),
            -32603
        );
        assert_eq!(code(OVER, -5), -5);
    }

    #[test]
    fn a_missing_capability_is_the_result_of_a_tool_for_a_legacy_client() {
        let error = r#"{"code":-32021,"message":"needs it","data":{"requiredCapabilities":{"elicitation":{ }}}}"#;
        let call = AnswerBridge {
            is_call: true,
            ..BACK
        };
        assert_eq!(
            call.refusal(error).unwrap(),
            r#"{"content":[{"type":"text","text":"needs it: this client does not declare {\"elicitation\":{ }}"}],"isError":true}"#
        );
        assert_eq!(BACK.refusal(error), None);
        assert_eq!(call.refusal(r#"{"code":-32602,"message":"x"}"#), None);
        let same = AnswerBridge {
            upstream: Era::Legacy,
            ..call
        };
        assert_eq!(same.refusal(error), None);
    }

    #[test]
    fn a_mapped_error_keeps_its_data_and_names_the_upstream() {
        let (mapped, _) = OVER.error(r#"{"code":-32001,"message":"m","data":{"a":1e400}}"#, &id());
        assert_eq!(
            mapped.unwrap(),
            r#"{"code":-32603,"message":"m","data":{"a":1e400,"upstream":"erp","reason":"refused the request"}}"#
        );
    }

    #[test]
    fn an_error_about_an_upstream_of_a_weir_names_both_hops() {
        let through = AnswerBridge {
            is_weir: true,
            ..OVER
        };
        let inner = r#"{"code":-32603,"message":"upstream `erp`: too\u0020slow","data":{"upstream":"erp","reason":"too slow","x":1e400},"z":[ ]}"#;
        let (outer, _) = through.error(inner, &UpstreamId::parse("b").unwrap());
        let outer = outer.unwrap();
        assert_eq!(
            outer,
            r#"{"code":-32603,"message":"upstream `b`: upstream `erp`: too slow","data":{"upstream":"b","reason":"too slow","cause":{"upstream":"erp","reason":"too slow","x":1e400}},"z":[ ]}"#
        );
        let (further, _) = through.error(&outer, &id());
        let further: serde_json::Value =
            serde_json::from_str(&further.unwrap().replace("1e400", "1")).unwrap();
        assert_eq!(further["data"]["cause"]["cause"]["upstream"], "erp");
        assert_eq!(OVER.error(inner, &id()).0, None);
        for own in [
            r#"{"code":-32603,"message":"m"}"#,
            r#"{"code":-32603,"message":"m","data":["upstream"]}"#,
            r#"{"code":-32603,"message":"m","data":{"upstream":1}}"#,
            r#"{"code":-32600,"message":"m","data":{"upstream":"x"}}"#,
        ] {
            assert_eq!(through.error(own, &id()).0, None, "{own}");
        }
    }
}
