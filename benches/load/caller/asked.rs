//! Calls whose caller is asked for a form, and accepts it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Caller, Era};
use crate::http1::Connection;

/// The capabilities of a caller that can be asked for forms.
pub(crate) const ASKABLE: &str = r#"{"elicitation":{}}"#;
const ACCEPTED: &str = r#"{"action":"accept","content":{"which":"this"}}"#;
const ELICIT: &str = "elicitation/create";

/// A question to a modern caller, and the state that its answer goes on with, as JSON text.
pub(crate) struct Question {
    key: String,
    state: String,
}

#[derive(Deserialize)]
struct AskingResult<'a> {
    #[serde(rename = "resultType")]
    kind: Option<&'a str>,
    #[serde(borrow, default, rename = "inputRequests")]
    asks: BTreeMap<&'a str, Asked<'a>>,
    #[serde(borrow, rename = "requestState")]
    state: Option<&'a RawValue>,
}

/// A question: in a result, or as a request.
#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<&'a str>,
}

/// The members of `params` of a call.
pub(super) fn call_params(tool: &str, text: &str) -> String {
    format!(r#""name":"{tool}","arguments":{{"text":"{text}"}}"#)
}

impl Caller {
    /// Calls a tool that asks, answers the question, and checks the echo. The time is that spent waiting
    /// for weir.
    pub(crate) async fn exchange(&mut self, tool: &str, text: &str) -> Result<Duration, String> {
        match self.era {
            Era::Legacy => self.answer_in_stream(tool, text).await,
            Era::Modern => {
                let (asked, question) = self.ask(tool, text).await?;
                Ok(asked + self.answer(tool, text, &question).await?)
            }
        }
    }

    /// Calls a tool that asks, as a modern caller, and leaves the question unanswered.
    pub(crate) async fn ask(
        &mut self,
        tool: &str,
        text: &str,
    ) -> Result<(Duration, Question), String> {
        let params = call_params(tool, text);
        let answer = self.request("tools/call", Some(tool), &params).await?;
        let result: AskingResult<'_> = self.result(&answer)?;
        let only = result.asks.into_iter().next();
        let question = match (result.kind, only, result.state) {
            (Some("input_required"), Some((key, asked)), Some(state))
                if asked.method == Some(ELICIT) =>
            {
                Question {
                    key: key.to_owned(),
                    state: state.get().to_owned(),
                }
            }
            _ => return Err("call: no question came".into()),
        };
        Ok((answer.took, question))
    }

    /// Answers a question of this call, and checks the echo.
    pub(crate) async fn answer(
        &mut self,
        tool: &str,
        text: &str,
        question: &Question,
    ) -> Result<Duration, String> {
        let Question { key, state } = question;
        let params = format!(
            r#"{},"inputResponses":{{"{key}":{ACCEPTED}}},"requestState":{state}"#,
            call_params(tool, text)
        );
        let answer = self.request("tools/call", Some(tool), &params).await?;
        self.check_echo(&answer, text)?;
        Ok(answer.took)
    }

    /// Calls a tool that asks, as a legacy caller: the question comes on the stream of the call, and its
    /// answer goes by another connection.
    async fn answer_in_stream(&mut self, tool: &str, text: &str) -> Result<Duration, String> {
        let id = self.write("tools/call", Some(tool), &call_params(tool, text), "");
        let Self {
            connection,
            answers,
            head,
            request,
            ..
        } = self;
        let address = connection.address();
        let answers = answers.get_or_insert_with(|| Connection::new(address));
        let mut asked = 0;
        let before = async |message: &[u8]| {
            let question: Asked<'_> = serde_json::from_slice(message)
                .map_err(|error| format!("call: {error} in a question"))?;
            let (Some(id), Some(ELICIT)) = (question.id, question.method) else {
                return Ok(());
            };
            asked += 1;
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{ACCEPTED}}}"#);
            let length = body.len();
            let request = format!("POST {head}content-length: {length}\r\n\r\n{body}");
            match answers.exchange(request.as_bytes(), None).await?.status {
                200..300 => Ok(()),
                status => Err(format!("an answer: HTTP {status}")),
            }
        };
        let answer = connection.exchange_asked(request.as_bytes(), Some(id), before);
        let answer = answer.await?;
        if asked != 1 {
            return Err(format!("call: asked {asked} times"));
        }
        self.check_echo(&answer, text)?;
        Ok(answer.took)
    }
}
