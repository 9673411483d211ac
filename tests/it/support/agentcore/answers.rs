//! The answers of a gateway or a runtime to callers that it lets in.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use super::{Arrived, Inner, Instead, Led, MCP_SESSION, RUNTIME_SESSION, Refuses, Script};

type Answer = Response<Full<Bytes>>;

pub fn json(status: u16, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    let kind = "application/json".parse().unwrap();
    answer.headers_mut().insert("content-type", kind);
    answer
}

/// The other way of logging in was used.
pub fn mismatch() -> Answer {
    let error = r#"{"code":-32002,"message":"Authorization method mismatch. The agent is configured for a different authorization method than what was used in your request. Check the agent's authorization configuration and ensure your request uses the matching method (OAuth or SigV4)"}"#;
    json(
        403,
        format!(r#"{{"jsonrpc":"2.0","id":"null","error":{error}}}"#),
    )
}

/// No token, or a wrong one.
pub fn challenge() -> Answer {
    let body = r#"{"jsonrpc":"2.0","error":{"code":-32001,"message":"Missing Authentication Token"},"id":"null"}"#;
    let mut answer = json(401, body);
    let challenge = r#"Bearer resource_metadata="https://bedrock-agentcore.eu-west-1.amazonaws.com/.well-known/oauth-protected-resource""#;
    let headers = answer.headers_mut();
    headers.insert("www-authenticate", challenge.parse().unwrap());
    answer
}

fn error(status: u16, id: &Value, code: i64, message: &str, data: Value) -> Answer {
    let mut error = json!({ "code": code, "message": message });
    if !data.is_null() {
        error["data"] = data;
    }
    let body = json!({ "jsonrpc": "2.0", "id": id, "error": error });
    json(status, body.to_string())
}

fn result(id: &Value, result: &Value) -> Answer {
    let body = json!({ "jsonrpc": "2.0", "id": id, "result": result });
    json(200, body.to_string())
}

/// Returns what is scripted in place of an answer.
fn scripted(script: &mut Script, method: &str) -> Option<Instead> {
    let fits =
        |(on, _, left): &(String, Instead, usize)| *left > 0 && (on.is_empty() || on == method);
    let at = script.instead.iter().position(fits)?;
    let (_, instead, left) = &mut script.instead[at];
    *left -= 1;
    Some(instead.clone())
}

impl Inner {
    /// The answer, and how long it takes.
    pub(super) fn answer(&self, arrived: &mut Arrived) -> (Answer, Duration) {
        let mut script = self.script.lock().unwrap();
        let script = &mut *script;
        if let Some(refusal) = self.refusal(script, arrived) {
            arrived.refused = Some(refusal.status().to_string());
            return (refusal, Duration::ZERO);
        }
        if arrived.target != self.target {
            let body = r#"{"message":"No endpoint or agent found with qualifier"}"#;
            return (json(404, body), Duration::ZERO);
        }
        if arrived.http != Method::POST {
            return (json(405, r#"{"message":"POST"}"#), Duration::ZERO);
        }
        let (session, cold) = match self.is_runtime {
            true => match machine(script, arrived) {
                Ok((session, cold)) => (Some(session), cold),
                Err(refusal) => return (refusal, Duration::ZERO),
            },
            false => (None, Duration::ZERO),
        };
        let id = arrived.value["id"].clone();
        let mut answer = match scripted(script, &arrived.method) {
            Some(Instead::Error(status, error)) => json(
                status,
                format!(r#"{{"jsonrpc":"2.0","error":{error},"id":"null"}}"#),
            ),
            Some(Instead::ErrorWithId(status, error)) => json(
                status,
                format!(r#"{{"jsonrpc":"2.0","error":{error},"id":{id}}}"#),
            ),
            Some(Instead::Plain(status, body)) => json(status, body),
            Some(Instead::Empty) => result(
                &id,
                &json!({ "tools": [], "resultType": "complete", "ttlMs": 0, "cacheScope": "private" }),
            ),
            None => self.serve(script, arrived, &id),
        };
        if let Some(session) = session {
            let value = session.parse().unwrap();
            // Ids of the server itself go before those that the platform makes up.
            answer.headers_mut().entry(MCP_SESSION).or_insert(value);
        }
        (answer, cold)
    }

    fn serve(&self, script: &mut Script, arrived: &Arrived, id: &Value) -> Answer {
        let accept = arrived.header("accept").unwrap_or_default();
        if !accept.contains("application/json") || !accept.contains("text/event-stream") {
            let message = "Accept Header Error - MCP protocol requires Accept header: application/json, text/event-stream";
            return error(406, id, -32011, message, Value::Null);
        }
        let offers = |version: &str| script.versions.iter().any(|offered| offered == version);
        let said = arrived.header("mcp-protocol-version");
        if let Some(said) = said.filter(|said| !offers(said)) {
            return refuse_version(script, id, said);
        }
        if said == Some("2026-07-28") {
            return modern(script, arrived, id);
        }
        if arrived.method == "initialize" {
            return initialize(script, arrived, id);
        }
        if script.sessions {
            match arrived.header(MCP_SESSION) {
                None => {
                    return error(
                        400,
                        &Value::Null,
                        -32600,
                        "Session ID required",
                        Value::Null,
                    );
                }
                Some(session) if !script.known.iter().any(|known| known == session) => {
                    return error(404, &Value::Null, -32600, "Session not found", Value::Null);
                }
                Some(_) => {}
            }
        }
        if id.is_null() {
            return json(202, "");
        }
        method(script, arrived, id, json!({}))
    }
}

fn refuse_version(script: &Script, id: &Value, said: &str) -> Answer {
    let data = json!({ "supported": script.versions, "requested": said });
    match script.refuses {
        Refuses::Named => error(400, id, -32022, "Unsupported protocol version", data),
        Refuses::Invalid => error(200, id, -32602, "Unsupported protocol version", data),
        Refuses::Plain => json(400, r#"{"message":"Unsupported MCP version"}"#),
    }
}

fn initialize(script: &mut Script, arrived: &Arrived, id: &Value) -> Answer {
    let version = arrived.value["params"]["protocolVersion"].as_str();
    let version = version.unwrap_or_default().to_owned();
    let legacy = script
        .versions
        .iter()
        .filter(|offered| *offered != "2026-07-28");
    if !legacy.clone().any(|offered| *offered == version) {
        return refuse_version(script, id, &version);
    }
    let strange = arrived.header(MCP_SESSION).is_some();
    if script.jealous && strange {
        return error(404, &Value::Null, -32600, "Session not found", Value::Null);
    }
    let mut answer = result(
        id,
        &json!({
            "protocolVersion": version,
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "agentcore-double", "version": "1" },
        }),
    );
    if script.sessions {
        let session = format!("s-{}", script.known.len() + 1);
        answer
            .headers_mut()
            .insert(MCP_SESSION, session.parse().unwrap());
        script.known.push(session);
    }
    answer
}

fn modern(script: &Script, arrived: &Arrived, id: &Value) -> Answer {
    if id.is_null() {
        return json(202, "");
    }
    let told = arrived.header("mcp-method");
    let named = arrived.value["params"]["name"].as_str();
    if told != Some(&arrived.method) || arrived.header("mcp-name") != named {
        return error(400, id, -32020, "Header mismatch", Value::Null);
    }
    let more = json!({ "resultType": "complete" });
    if arrived.method == "server/discover" {
        let mut answer = more;
        answer["supportedVersions"] = json!(script.versions);
        answer["capabilities"] = json!({ "tools": {} });
        answer["_meta"] = json!({ "io.modelcontextprotocol/serverInfo": { "name": "agentcore-double", "version": "1" } });
        return result(id, &answer);
    }
    method(script, arrived, id, more)
}

fn method(script: &Script, arrived: &Arrived, id: &Value, mut more: Value) -> Answer {
    let params = &arrived.value["params"];
    match arrived.method.as_str() {
        "tools/list" => {
            let (items, next) = page(script, params["cursor"].as_str());
            if more.get("resultType").is_some() {
                more["ttlMs"] = json!(0);
                more["cacheScope"] = json!("private");
            }
            let tool = |name: &String| json!({ "name": name, "description": format!("Does {name}."), "inputSchema": { "type": "object" } });
            more["tools"] = items.iter().map(tool).collect();
            if let Some(next) = next {
                more["nextCursor"] = json!(next);
            }
            result(id, &more)
        }
        "tools/call" => {
            let text = format!(
                "{} {}",
                params["name"].as_str().unwrap_or_default(),
                params["arguments"]
            );
            more["content"] = json!([{ "type": "text", "text": text }]);
            result(id, &more)
        }
        other => {
            let status = if more.get("resultType").is_some() {
                404
            } else {
                200
            };
            error(status, id, -32601, &format!("no {other}"), Value::Null)
        }
    }
}

/// A page, and the cursor of the next. Cursors mean nothing to whoever reads them.
fn page<'s>(script: &'s Script, cursor: Option<&str>) -> (&'s [String], Option<String>) {
    let mut start = 0;
    for (number, size) in script.pages.iter().cycle().enumerate() {
        let end = (start + size).min(script.tools.len());
        let name = |number: usize| format!("eyJwIjo{number}fQ==");
        if cursor.map_or(number == 0, |cursor| cursor == name(number)) {
            let next = (end < script.tools.len()).then(|| name(number + 1));
            return (&script.tools[start..end], next);
        }
        if end == script.tools.len() {
            break;
        }
        start = end;
    }
    panic!("no page {cursor:?}");
}

/// The machine that a request goes to: its session, and how long it takes to start.
#[allow(clippy::result_large_err, reason = "the error is the answer")]
fn machine(script: &mut Script, arrived: &mut Arrived) -> Result<(String, Duration), Answer> {
    let runtime = arrived
        .header(RUNTIME_SESSION)
        .unwrap_or_default()
        .to_owned();
    if !(33..=256).contains(&runtime.len()) {
        let body = r#"{"message":"runtimeSessionId must have length greater than or equal to 33"}"#;
        return Err(json(400, body));
    }
    let next = script.machines.len() + 1;
    let made = format!("0000000000000000000000000000000000-{next}");
    let session = match script.led {
        Led::Runtime => format!("of-{runtime}"),
        Led::Mcp => match arrived.header(MCP_SESSION) {
            // A session of the server's own goes where the server is.
            Some(known) if script.machines.contains_key(known) => known.to_owned(),
            Some(own) if script.known.iter().any(|known| known == own) => own.to_owned(),
            Some(_) | None => made,
        },
    };
    let is_new = !script.machines.contains_key(&session) && !script.known.contains(&session);
    if is_new {
        script.machines.insert(session.clone(), next);
    }
    arrived.machine = script.machines.get(&session).copied();
    let cold = if is_new { script.cold } else { Duration::ZERO };
    Ok((session, cold))
}
