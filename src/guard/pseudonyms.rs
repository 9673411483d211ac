//! Pseudonyms: words that stand for values of a class, and lead back to them.
//!
//! A pseudonym is one lower-case word: that of the class, `_`, and a body in Crockford's base32,
//! as in `email_7k3qz0v5m2c8h1xt`. It is the same for the same value, class and tenant, and says
//! nothing of the value to those without the key. There are two forms:
//!
//! - *stored*: the body is an id of 80 bits, and a [`PseudonymStore`] has the value, encrypted.
//! - *sealed*: the body is the value itself, encrypted (AES-SIV, RFC 5297). It is longer, and every
//!   weir with the key can read it.
//!
//! The value is not normalised: whoever may see it gets it back byte for byte, so that two
//! spellings have two pseudonyms.

mod base32;
mod keys;
mod pseudonym;
mod store;
mod words;
mod writer;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use crate::classes::{Class, PSEUDONYM_DOMAIN};
use crate::guard::detectors::Detectors;

use keys::PseudonymKey;
use pseudonym::{FEWEST, ID};
use store::Entry;

pub use keys::{KeyTextError, PseudonymKeys};
pub use pseudonym::{Form, Found, Pseudonym, PseudonymError, Restored};
pub use store::{PseudonymStore, StoreLimits};
pub use writer::store_changes;

/// The most bytes of a value that is stored, and of one that is sealed into its pseudonym.
const MOST_STORED: usize = 64 << 10;
const MOST_SEALED: usize = 1 << 10;
/// The version of sealed bodies, in the upper half of their first byte.
const VERSION: u8 = 1;
/// How often another body is tried, where one looks like a value of some class.
const ATTEMPTS: u8 = 16;

/// Makes pseudonyms, finds them in text and leads them back.
pub struct Pseudonyms {
    keys: PseudonymKeys,
    scheme: Scheme,
    /// The classes by the words of their pseudonyms.
    words: BTreeMap<String, Class>,
}

/// Where the values of new pseudonyms are.
#[derive(Clone, Debug)]
pub enum Scheme {
    /// In a store.
    Stored(Arc<PseudonymStore>),
    /// In the pseudonyms themselves.
    Sealed,
}

impl Pseudonyms {
    /// Makes pseudonyms with these keys. `own` are the classes of the config's own: a word is only
    /// taken for a pseudonym if its class is known.
    #[must_use]
    pub fn new(keys: PseudonymKeys, scheme: Scheme, own: impl IntoIterator<Item = Class>) -> Self {
        let classes = Class::all().chain(own);
        let words = classes.map(|class| (class.word(), class)).collect();
        Self {
            keys,
            scheme,
            words,
        }
    }

    /// Returns the pseudonym of a value of a tenant. With a store, it may leave only when
    /// [`Pseudonyms::saved`] says so.
    ///
    /// # Errors
    /// The value gets none: it has to be masked or refused.
    pub fn replace(
        &self,
        tenant: &str,
        class: &Class,
        value: &str,
        form: Form,
    ) -> Result<Pseudonym, PseudonymError> {
        if class.is_guessable() {
            return Err(PseudonymError::Guessable);
        }
        if value.chars().nth(FEWEST - 1).is_none() {
            return Err(PseudonymError::Short);
        }
        if form == Form::Other {
            return Err(PseudonymError::Format);
        }
        let body = match &self.scheme {
            Scheme::Stored(store) => self.store(store, tenant, class, value)?,
            Scheme::Sealed => self.seal(tenant, class, value)?,
        };
        let word = format!("{}_{body}", class.word());
        let id = words::id_of(class, &body);
        let text = match form {
            Form::Email => format!("{word}@{PSEUDONYM_DOMAIN}"),
            Form::Word | Form::Other => word,
        };
        Ok(Pseudonym { text, id })
    }

    /// Stores a value, and returns the body of its pseudonym.
    fn store(
        &self,
        store: &PseudonymStore,
        tenant: &str,
        class: &Class,
        value: &str,
    ) -> Result<String, PseudonymError> {
        if value.len() > MOST_STORED {
            return Err(PseudonymError::Long);
        }
        let key = self.keys.first();
        for attempt in 0..ATTEMPTS {
            let id = key.id_of(attempt, tenant, class, value);
            let body = base32::encode(&id);
            if !is_inconspicuous(class, &body) {
                continue;
            }
            let sealed = || {
                let associated = stored_with(tenant, class, &id);
                key.encrypt(&associated, value.as_bytes())
            };
            let Some(entry) = store.get_or_insert(id, class, sealed)? else {
                return Ok(body);
            };
            // Another value has this id: once in 10^12 of a million values.
            if self.open_entry(&id, tenant, &entry).as_deref() == Some(value) {
                return Ok(body);
            }
        }
        Err(PseudonymError::Format)
    }

    /// Encrypts a value, and returns the body of its pseudonym.
    fn seal(&self, tenant: &str, class: &Class, value: &str) -> Result<String, PseudonymError> {
        if value.len() > MOST_SEALED {
            return Err(PseudonymError::Long);
        }
        let key = self.keys.first();
        for attempt in 0..ATTEMPTS {
            let head = [VERSION << 4 | attempt, key.number()];
            let associated = sealed_with(head, tenant, class);
            let sealed = key.encrypt(&associated, value.as_bytes());
            let sealed = sealed.ok_or(PseudonymError::Long)?;
            let body = base32::encode(&[head.as_slice(), &sealed].concat());
            if is_inconspicuous(class, &body) {
                return Ok(body);
            }
        }
        Err(PseudonymError::Format)
    }

    /// Finds pseudonyms in text: in any case, between brackets, quotes and signs, with `_` escaped
    /// for Markdown, URLs or HTML. In order; none overlaps another.
    #[must_use]
    pub fn find(&self, text: &str) -> Vec<Found> {
        words::find(text, &self.words)
    }

    /// Returns the value that a pseudonym stands for, if it is one of this tenant's, made with one
    /// of the keys, and every character of it is right.
    #[must_use]
    pub fn restore(&self, tenant: &str, found: &Found) -> Option<Restored> {
        let value = match <[u8; ID]>::try_from(found.body.as_slice()) {
            Ok(id) => {
                let Scheme::Stored(store) = &self.scheme else {
                    return None;
                };
                let entry = store.get(&id)?;
                (entry.class == found.class).then_some(())?;
                self.open_entry(&id, tenant, &entry)?
            }
            Err(_) => self.unseal(tenant, &found.class, &found.body)?,
        };
        let class = found.class.clone();
        Some(Restored { class, value })
    }

    fn open_entry(&self, id: &[u8; ID], tenant: &str, entry: &Entry) -> Option<String> {
        let associated = stored_with(tenant, &entry.class, id);
        let keys = self.keys.all();
        let mut opened = keys.filter_map(|key| key.decrypt(&associated, &entry.sealed));
        String::from_utf8(opened.next()?).ok()
    }

    fn unseal(&self, tenant: &str, class: &Class, body: &[u8]) -> Option<String> {
        let (head, sealed) = body.split_first_chunk::<2>()?;
        let [version, number] = *head;
        (version >> 4 == VERSION).then_some(())?;
        let associated = sealed_with(*head, tenant, class);
        let keys = self
            .keys
            .all()
            .filter(|key: &&PseudonymKey| key.number() == number);
        let mut opened = keys.filter_map(|key| key.decrypt(&associated, sealed));
        String::from_utf8(opened.next()?).ok()
    }

    /// Waits until all pseudonyms that were made so far would survive the end of the process.
    ///
    /// # Errors
    /// They cannot be stored: none of them may leave.
    pub async fn saved(&self) -> Result<(), PseudonymError> {
        match &self.scheme {
            Scheme::Stored(store) => store.saved().await,
            Scheme::Sealed => Ok(()),
        }
    }
}

/// Returns the associated data of a value in a store.
fn stored_with<'t>(tenant: &'t str, class: &'t Class, id: &'t [u8; ID]) -> [&'t [u8]; 4] {
    [
        b"weir stored pseudonym 1",
        tenant.as_bytes(),
        class.name().as_bytes(),
        id,
    ]
}

/// Returns the associated data of a value in its pseudonym.
fn sealed_with(head: [u8; 2], tenant: &str, class: &Class) -> [Vec<u8>; 4] {
    [
        b"weir sealed pseudonym".to_vec(),
        head.to_vec(),
        tenant.as_bytes().to_vec(),
        class.name().as_bytes().to_vec(),
    ]
}

/// Returns whether no detector takes a pseudonym for a value: it would be replaced again.
fn is_inconspicuous(class: &Class, body: &str) -> bool {
    static ALL: LazyLock<Option<Detectors>> = LazyLock::new(|| {
        let classes = Class::all().filter(Class::is_detected);
        Detectors::compile(classes, []).ok()
    });
    let word = format!("{}_{body}", class.word());
    ALL.as_ref()
        .is_none_or(|all| all.find(&word).is_empty() && all.find(body).is_empty())
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pseudonyms")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
