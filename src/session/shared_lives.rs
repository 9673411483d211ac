//! Ends and renewals of sessions, shared among replicas: a session that was ended on one is ended on
//! all, and one that is in use on one can go on on another.
//!
//! Each is a line with a mark that only replicas can make. The store has a sorted set of them, by the
//! time when the session was issued, and replicas tell each other of new ones.

use std::fmt::Write as _;
use std::sync::Arc;

use redis::Pipeline;

use crate::hex;
use crate::replicas::{NewsTopic, SharedStore, StoreLost};
use crate::session::lives::{ENDED, LifeChange, MOST};
use crate::session::token;

/// Lines that are written or read at once.
const AT_ONCE: usize = 2000;

/// The news that there is more in the store than was told.
const MORE: &str = "more";

/// Ends and renewals in the store.
#[derive(Debug)]
pub(super) struct SharedLives {
    store: Arc<SharedStore>,
    key: String,
}

impl SharedLives {
    pub(super) fn new(store: Arc<SharedStore>) -> Self {
        let key = store.key("sessions", "lives");
        Self { store, key }
    }

    /// Tells the other replicas, soon.
    pub(super) fn tell(&self, change: &LifeChange) {
        let line = self.write(change);
        let mut command = redis::cmd("ZADD");
        command.arg(&self.key).arg(change.issued()).arg(&line);
        self.store.post(command);
        self.store.tell(NewsTopic::Sessions, &line);
    }

    /// Returns whether a text says that there is more in the store than was told.
    pub(super) fn is_more(text: &str) -> bool {
        text == MORE
    }

    /// Writes a change as a line: what it is, key, times, mark.
    fn write(&self, change: &LifeChange) -> String {
        let mut line = String::with_capacity(80);
        match change {
            LifeChange::Ended { key, issued } => {
                line.push_str("e ");
                hex::push(&mut line, key);
                let _ = write!(line, " {issued} 0");
            }
            LifeChange::Renewed { key, issued, until } => {
                line.push_str("r ");
                hex::push(&mut line, key);
                let _ = write!(line, " {issued} {until}");
            }
        }
        let mark = self.store.mark(&["session", &line]);
        line.push(' ');
        line.push_str(&mark);
        line
    }

    /// Reads a line; `None` if no replica wrote it.
    pub(super) fn read(&self, text: &str) -> Option<LifeChange> {
        let (line, mark) = text.rsplit_once(' ')?;
        if !self.store.is_mark(mark, &["session", line]) {
            return None;
        }
        let mut parts = line.split(' ');
        let (kind, key) = (parts.next()?, parts.next()?);
        let (issued, until) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let key = u128::from_str_radix(key, 16).ok()?.to_be_bytes();
        match kind {
            "e" => Some(LifeChange::Ended { key, issued }),
            "r" => Some(LifeChange::Renewed { key, issued, until }),
            _ => None,
        }
    }

    /// Brings changes into the store, and forgets those that are over by their age. Another replica may
    /// have read it already: if something was missing, all are told.
    pub(super) async fn write_all(&self, changes: &[LifeChange]) -> Result<(), StoreLost> {
        let mut missing = 0;
        for changes in changes.chunks(AT_ONCE) {
            let mut command = redis::cmd("ZADD");
            command.arg(&self.key);
            for change in changes {
                command.arg(change.issued()).arg(self.write(change));
            }
            missing += self.store.ask::<u64>(&command).await?;
        }
        if missing > 0 {
            self.store.tell(NewsTopic::Sessions, MORE);
        }
        let oldest = token::now().saturating_sub(MOST.as_secs());
        let mut commands = Pipeline::new();
        let by_age = commands.cmd("ZREMRANGEBYSCORE").arg(&self.key);
        by_age.arg("-inf").arg(oldest).ignore();
        // The ones that began first go, as on each replica.
        let rest = -1 - i64::try_from(2 * ENDED).unwrap_or(i64::MAX);
        commands
            .cmd("ZREMRANGEBYRANK")
            .arg(&self.key)
            .arg(0)
            .arg(rest)
            .ignore();
        self.store.ask_all(&commands).await
    }

    /// Reads all changes, the latest sessions first.
    pub(super) async fn read_all(&self) -> Result<Vec<LifeChange>, StoreLost> {
        let (mut found, mut from) = (Vec::new(), 0);
        loop {
            let mut command = redis::cmd("ZREVRANGE");
            command.arg(&self.key).arg(from).arg(from + AT_ONCE - 1);
            let lines = self.store.ask::<Vec<String>>(&command).await?;
            let count = lines.len();
            found.extend(lines.iter().filter_map(|line| self.read(line)));
            from += count;
            if count < AT_ONCE || from >= 2 * ENDED {
                return Ok(found);
            }
        }
    }
}
