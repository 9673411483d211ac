//! Classes of data: the names under which rules, records and metrics speak of what was found.
//!
//! They are those of Amazon Bedrock Guardrails where it has one (its API reference,
//! `GuardrailPiiEntityConfig`), those of Microsoft Presidio elsewhere. A config adds its own.

use std::fmt;
use std::sync::Arc;

mod known;

use known::{Finding, KNOWN, KnownClass};

/// The most bytes of a name of a config's own.
const MOST_BYTES: usize = 64;

/// The domain of pseudonyms in fields for e-mail addresses (RFC 2606 §2: it never exists).
pub const PSEUDONYM_DOMAIN: &str = "pii.invalid";

/// A class of data, by its name: `EMAIL`, or one of a config's own, `EMPLOYEE`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class(ClassName);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum ClassName {
    /// The name of one of [`KNOWN`].
    Known(&'static str),
    Own(Arc<str>),
}

/// Why a text cannot name a class of a config's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClassNameError {
    /// It has other characters, or too many.
    #[error(
        "a class is named in capitals, digits and `_`, beginning with a capital, at most 64 of them"
    )]
    Form,
    /// Weir has a class of this name.
    #[error("weir has a class of this name: take another")]
    Known,
}

impl Class {
    /// Returns the class that weir knows by this name.
    #[must_use]
    pub fn known(name: &str) -> Option<Self> {
        let found = known(name)?;
        Some(Self(ClassName::Known(found.name)))
    }

    /// Makes a class of a config's own.
    ///
    /// # Errors
    /// The name has another form, or is one that weir knows.
    pub fn own(name: &str) -> Result<Self, ClassNameError> {
        if known(name).is_some() {
            return Err(ClassNameError::Known);
        }
        let is_legal = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let begins = name.starts_with(|c: char| c.is_ascii_uppercase());
        if !begins || name.len() > MOST_BYTES || !name.chars().all(is_legal) {
            return Err(ClassNameError::Form);
        }
        Ok(Self(ClassName::Own(name.into())))
    }

    /// Returns all classes that weir knows, in the order of their names.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        KNOWN.iter().map(|class| Self(ClassName::Known(class.name)))
    }

    /// Returns the names of all classes that weir knows, in their order.
    pub fn names() -> impl Iterator<Item = &'static str> + Clone {
        KNOWN.iter().map(|class| class.name)
    }

    /// Returns the name, `[A-Z][A-Z0-9_]*`.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.0 {
            ClassName::Known(name) => name,
            ClassName::Own(name) => name,
        }
    }

    /// Returns the word that pseudonyms of the class begin with: `email`.
    #[must_use]
    pub fn word(&self) -> String {
        let known = known(self.name()).map_or("", |class| class.word);
        match known {
            "" => self.name().to_ascii_lowercase(),
            word => word.to_owned(),
        }
    }

    /// Returns the class whose pseudonyms begin with this word, in any case. Every word that could
    /// be the name of a class is one.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        let short = |class: &&KnownClass| class.word.eq_ignore_ascii_case(word);
        if let Some(class) = KNOWN.iter().find(short)
            && !word.is_empty()
        {
            return Some(Self(ClassName::Known(class.name)));
        }
        let name = word.to_ascii_uppercase();
        Self::known(&name).or_else(|| Self::own(&name).ok())
    }

    /// Returns whether weir finds values of the class in text, without a pattern in the config.
    #[must_use]
    pub fn is_detected(&self) -> bool {
        known(self.name()).is_some_and(|class| class.origin == Finding::Text)
    }

    /// Returns whether the class has so few values that a pseudonym of one would be found out by
    /// trying all of them.
    #[must_use]
    pub fn is_guessable(&self) -> bool {
        known(self.name()).is_some_and(|class| class.is_guessable)
    }
}

fn known(name: &str) -> Option<&'static KnownClass> {
    let at = KNOWN.binary_search_by(|class| class.name.cmp(name)).ok()?;
    KNOWN.get(at)
}

impl fmt::Debug for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_words_lead_back() {
        assert!(KNOWN.is_sorted_by(|a, b| a.name < b.name));
        for class in Class::all() {
            assert_eq!(Class::known(class.name()), Some(class.clone()));
            assert_eq!(Class::of_word(&class.word()), Some(class.clone()));
            let upper = class.word().to_uppercase();
            assert_eq!(Class::of_word(&upper), Some(class));
        }
    }

    #[test]
    fn a_config_may_not_take_a_name_that_weir_has() {
        assert_eq!(Class::own("EMAIL"), Err(ClassNameError::Known));
        for wrong in ["", "employee", "1A", "_A", "A-B", "Ä", &"A".repeat(65)] {
            assert_eq!(Class::own(wrong), Err(ClassNameError::Form), "{wrong}");
        }
        let own = Class::own("EMPLOYEE").unwrap();
        assert_eq!((own.name(), &*own.word()), ("EMPLOYEE", "employee"));
        assert_eq!(Class::of_word("employee"), Some(own.clone()));
        assert!(!own.is_detected() && !own.is_guessable());
    }
}
