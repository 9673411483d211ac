//! Pseudonyms as they are made, found and led back.

use std::fmt;
use std::ops::Range;

use crate::classes::Class;

/// The bytes of an id.
pub(super) const ID: usize = 10;
/// The fewest characters of a value that cannot be found out by trying all.
pub(super) const FEWEST: usize = 4;

/// The form that a field wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Any text: a pseudonym as it is.
    Word,
    /// An e-mail address: a pseudonym in [`crate::classes::PSEUDONYM_DOMAIN`].
    Email,
    /// Another format, such as a telephone number: no pseudonym has it.
    Other,
}

/// A pseudonym that stands for a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pseudonym {
    /// The text that takes the value's place.
    pub text: String,
    /// The id under which records name it: the pseudonym as a word; of a long one its beginning.
    pub id: String,
}

/// Why a value gets no pseudonym.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PseudonymError {
    /// So few values are possible that all can be tried.
    #[error("the class has so few values that a pseudonym would be found out: mask it")]
    Guessable,
    /// The value has too few characters.
    #[error("a value of fewer than {FEWEST} characters would be found out")]
    Short,
    /// The value has too many bytes.
    #[error("the value is too long for a pseudonym")]
    Long,
    /// The field wants a format that no pseudonym has.
    #[error("the field wants a format that no pseudonym has")]
    Format,
    /// It cannot be stored.
    #[error("pseudonyms cannot be stored")]
    NotStored,
}

/// A pseudonym that was found in text. It may be damaged, or not weir's.
#[derive(Clone, PartialEq, Eq)]
pub struct Found {
    /// Where it is, in bytes of the text.
    pub range: Range<usize>,
    pub(super) class: Class,
    pub(super) body: Vec<u8>,
    pub(super) id: String,
}

/// A value that a pseudonym stands for.
#[derive(Clone, PartialEq, Eq)]
pub struct Restored {
    /// Its class.
    pub class: Class,
    /// The value, byte for byte.
    pub value: String,
}

impl Found {
    /// Returns the class whose word it begins with.
    #[must_use]
    pub fn class(&self) -> &Class {
        &self.class
    }

    /// Returns the id under which records name it, as [`Pseudonym::id`].
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Found({:?}, {})", self.range, self.class)
    }
}

impl fmt::Debug for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Restored({})", self.class)
    }
}
