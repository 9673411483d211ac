//! Doubles of AWS: keys that end, a server that recomputes signatures, services that give keys and
//! secrets.

mod door;
mod services;

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use weir::sigv4::{ReceivedRequest, SignatureError, Verifier};

pub use door::SigDoor;
pub use services::{Services, Target};

/// The key to begin with, which never ends.
pub const KEY: &str = "AKIDEXAMPLE";
pub const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
pub const REGION: &str = "eu-west-1";

/// A key that is known.
#[derive(Clone, Debug)]
pub struct Key {
    pub id: String,
    pub secret: String,
    pub token: Option<String>,
    pub ends: Option<SystemTime>,
}

/// All keys, and the clock by which they end and signatures are judged.
#[derive(Debug)]
pub struct Keyring {
    keys: Mutex<HashMap<String, Key>>,
    issued: AtomicU64,
    /// Of keys that are issued.
    life: Mutex<Duration>,
    /// Seconds that the clock is ahead of the machine's.
    ahead: AtomicI64,
}

impl Default for Keyring {
    fn default() -> Self {
        let first = Key {
            id: KEY.to_owned(),
            secret: SECRET.to_owned(),
            token: None,
            ends: None,
        };
        Self {
            keys: Mutex::new(HashMap::from([(KEY.to_owned(), first)])),
            issued: AtomicU64::new(0),
            life: Mutex::new(Duration::from_secs(3600)),
            ahead: AtomicI64::new(0),
        }
    }
}

impl Keyring {
    pub fn now(&self) -> SystemTime {
        let ahead = self.ahead.load(Ordering::Relaxed);
        let by = Duration::from_secs(ahead.unsigned_abs());
        match ahead {
            0.. => SystemTime::now() + by,
            _ => SystemTime::now() - by,
        }
    }

    /// Puts the clock ahead by so many seconds.
    pub fn set_ahead(&self, seconds: i64) {
        self.ahead.store(seconds, Ordering::Relaxed);
    }

    /// From now on, keys that are issued live so long.
    pub fn set_life(&self, life: Duration) {
        *self.life.lock().unwrap() = life;
    }

    /// Returns the number of keys that were issued.
    pub fn issued(&self) -> u64 {
        self.issued.load(Ordering::Relaxed)
    }

    /// A new key, with a session token.
    pub fn issue(&self) -> Key {
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        let key = Key {
            id: format!("ASIA{number}"),
            secret: format!("secret+/{number}"),
            token: Some(format!("token/{number}==")),
            ends: Some(self.now() + *self.life.lock().unwrap()),
        };
        let mut keys = self.keys.lock().unwrap();
        keys.insert(key.id.clone(), key.clone());
        key
    }

    /// Ends every key that was issued.
    pub fn revoke(&self) {
        for key in self.keys.lock().unwrap().values_mut() {
            key.ends = key.ends.map(|_| UNIX_EPOCH);
        }
    }

    /// The id of the key that signed.
    pub fn judge(
        &self,
        service: &str,
        method: &str,
        target: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Key, SignatureError> {
        let claim = headers
            .get("authorization")
            .ok_or(SignatureError::Missing)?;
        let claim = claim.to_str().map_err(|_| SignatureError::Malformed)?;
        let (_, id) = claim
            .split_once("Credential=")
            .ok_or(SignatureError::Malformed)?;
        let id = id.split('/').next().unwrap();
        let key = self.keys.lock().unwrap().get(id).cloned();
        let key = key.ok_or(SignatureError::Key)?;
        let verifier = Verifier {
            access_key_id: key.id.clone(),
            secret_access_key: key.secret.clone(),
            session_token: key.token.clone(),
            region: REGION.to_owned(),
            service: service.to_owned(),
        };
        let arrived = ReceivedRequest {
            method,
            target,
            headers,
            body,
        };
        let now = self.now();
        verifier.verify(&arrived, now)?;
        match key.ends {
            Some(ends) if ends <= now => Err(SignatureError::Token),
            _ => Ok(key),
        }
    }
}

/// `2026-01-15T12:00:00Z`
pub fn rfc3339(at: SystemTime) -> String {
    // `Thu, 15 Jan 2026 12:00:00 GMT`
    let text = httpdate::fmt_http_date(at);
    let parts: Vec<&str> = text.split([' ', ',']).collect();
    let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let month = months.iter().position(|month| *month == parts[3]).unwrap() + 1;
    format!("{}-{month:02}-{}T{}Z", parts[4], parts[2], parts[5])
}
