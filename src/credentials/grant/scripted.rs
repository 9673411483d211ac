//! A grant for tests.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use http::header;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::credentials::token::{GrantError, Token};
use crate::secret::Secret;

/// A grant with scripted answers: it gives each once, and the last one for ever.
#[derive(Clone, Debug, Default)]
pub struct ScriptedGrant(pub(in crate::credentials) Arc<ScriptState>);

#[derive(Debug, Default)]
pub(in crate::credentials) struct ScriptState {
    answers: Mutex<VecDeque<ScriptedAnswer>>,
    requests: AtomicU64,
    pub(in crate::credentials) version: AtomicU64,
    pub(in crate::credentials) gate: Notify,
    /// Requests that were dropped before their answer.
    pub(in crate::credentials) broken: AtomicU64,
}

#[derive(Clone, Debug)]
pub(in crate::credentials) enum ScriptedAnswer {
    /// A token with a lifetime of so many seconds.
    Token(u64),
    /// A token without an expiry.
    Endless,
    Error(GrantError),
    /// No answer until the test opens the gate, then a token with a lifetime of so many seconds.
    Stall(u64),
    Panic,
}

struct CountOnDrop<'c>(&'c AtomicU64);

impl Drop for CountOnDrop<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl ScriptedGrant {
    pub(in crate::credentials) fn of(answers: &[ScriptedAnswer]) -> Self {
        let scripted = Self::default();
        *scripted.0.answers.lock() = answers.iter().cloned().collect();
        scripted
    }

    pub(in crate::credentials) fn requests(&self) -> u64 {
        self.0.requests.load(Ordering::SeqCst)
    }

    pub(in crate::credentials) fn version(&self) -> u64 {
        self.0.version.load(Ordering::SeqCst)
    }

    pub(in crate::credentials) async fn fetch(&self) -> Result<Token, GrantError> {
        let number = self.0.requests.fetch_add(1, Ordering::SeqCst) + 1;
        let answer = {
            let mut answers = self.0.answers.lock();
            match answers.len() {
                0 | 1 => answers.front().cloned(),
                _ => answers.pop_front(),
            }
        };
        let token = |expires| Token {
            header: header::AUTHORIZATION,
            value: Secret::new(&format!("Bearer {number}")),
            expires,
        };
        let seconds = |life| Some(SystemTime::now() + Duration::from_secs(life));
        match answer.expect("the test says what is answered") {
            ScriptedAnswer::Token(life) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok(token(seconds(life)))
            }
            ScriptedAnswer::Endless => Ok(token(None)),
            ScriptedAnswer::Error(error) => Err(error),
            ScriptedAnswer::Stall(life) => {
                let broken = CountOnDrop(&self.0.broken);
                self.0.gate.notified().await;
                std::mem::forget(broken);
                Ok(token(seconds(life)))
            }
            ScriptedAnswer::Panic => panic!("the test says so"),
        }
    }
}
