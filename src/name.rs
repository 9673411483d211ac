//! The names that routing depends on, each with `parse` as the only way in.
//!
//! A name is looked up, never split: only this file knows how a namespace and a name are joined,
//! and nothing takes them apart again.

use std::borrow::Borrow;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Why text is not a valid name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// An upstream needs a name.
    #[error("an upstream's name must have 1 to 64 printable characters")]
    Upstream,
    /// A namespace has a narrow alphabet, because it begins every exposed name.
    #[error("a namespace has at most 31 of the characters a-z, 0-9 and -")]
    Namespace,
    /// A separator is part of every exposed name.
    #[error("a separator has 1 to 8 of the characters A-Z a-z 0-9 _ . -")]
    Separator,
    /// A separator with a dot would make every exposed name illegal.
    #[error(
        "`.` is not among the characters of `naming.charset: strict`: choose another separator, such as `__`, or write `charset: mcp`"
    )]
    StrictSeparator,
    /// An instance's name is in metadata that every weir of a chain reads.
    #[error("an instance has 1 to 64 of the characters A-Z a-z 0-9 _ . -")]
    Instance,
}

/// The name of a weir and its replicas in chains: `[A-Za-z0-9_.-]{1,64}`. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Instance {
    /// `["name"]`: the form in which it is most often sent.
    alone: Arc<str>,
}

impl Instance {
    /// Takes `[A-Za-z0-9_.-]{1,64}`, which in JSON needs no escape.
    ///
    /// # Errors
    /// The text is empty, too long, or has other characters.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if Self::is_one(text) {
            let alone = format!("[\"{text}\"]").into();
            Ok(Self { alone })
        } else {
            Err(NameError::Instance)
        }
    }

    /// Returns whether the text may be the name of an instance.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        (1..=64).contains(&text.len()) && text.bytes().all(is_legal)
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.alone.trim_matches(['[', '"', ']'])
    }

    /// Returns the name as JSON text.
    #[must_use]
    pub fn as_json(&self) -> &str {
        self.alone.trim_matches(['[', ']'])
    }

    /// Returns an array of this name alone, as JSON text.
    #[must_use]
    pub fn alone(&self) -> &str {
        &self.alone
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// The key of an upstream in the config. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UpstreamId(Arc<str>);

impl UpstreamId {
    /// Takes 1 to 64 printable characters.
    ///
    /// # Errors
    /// The text is empty, too long, or has control characters.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let fits = (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        if fits {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Upstream)
        }
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UpstreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UpstreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Borrow<str> for UpstreamId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// The position of an upstream in the config: links, parts of the catalog and routes refer to it by
/// this number. It holds within one snapshot; a reload may give the upstream another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpstreamIndex(u32); // 32 bits, as catalogs hold one for every item.

impl UpstreamIndex {
    /// Takes a position, counted from 0.
    #[must_use]
    pub fn new(position: usize) -> Self {
        Self(u32::try_from(position).unwrap_or(u32::MAX))
    }

    /// Returns the position, counted from 0.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0 as usize
    }

    /// Returns the bytes that stand for the position in digests.
    #[must_use]
    pub(crate) const fn to_be_bytes(self) -> [u8; 4] {
        self.0.to_be_bytes()
    }
}

/// Prefix of the exposed names of one upstream: `[a-z0-9-]{0,31}`. Empty means no prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Namespace(String);

impl Namespace {
    /// Takes `[a-z0-9-]{0,31}`.
    ///
    /// # Errors
    /// The text is too long or has other characters.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if text.len() <= 31 && text.bytes().all(legal) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::Namespace)
        }
    }

    /// Derives the namespace of an upstream whose config has none: its key in lower case, with `-`
    /// in place of illegal characters.
    #[must_use]
    pub fn of(upstream: &UpstreamId) -> Self {
        let legal = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        };
        Self(upstream.as_str().chars().map(legal).take(31).collect())
    }

    /// Returns the namespace as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The characters that exposed names may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Charset {
    /// `[a-zA-Z0-9_-]`: those of function names in the APIs of models, which refuse a whole request
    /// because of one name (`^[a-zA-Z0-9_-]{1,64}$`).
    #[default]
    Strict,
    /// `[a-zA-Z0-9_.-]`: those of MCP (`server/tools.mdx#tool-names`).
    Mcp,
}

impl Charset {
    /// Returns whether a byte may be part of an exposed name.
    #[must_use]
    pub const fn has(self, byte: u8) -> bool {
        match self {
            Self::Strict => is_legal(byte) && byte != b'.',
            Self::Mcp => is_legal(byte),
        }
    }
}

/// How exposed names are made: their characters, the separator and the budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    charset: Charset,
    separator: String,
    max_length: NonZeroUsize,
}

impl Default for Naming {
    fn default() -> Self {
        Self {
            charset: Charset::default(),
            separator: "__".to_owned(),
            max_length: NonZeroUsize::new(64).unwrap_or(NonZeroUsize::MIN),
        }
    }
}

impl Naming {
    /// The shortest budget that leaves room for a namespace, a separator and a hash.
    pub const SHORTEST: usize = 24;
    /// The longest name MCP recommends (`server/tools.mdx#tool-names`).
    pub const LONGEST: usize = 128;

    /// Takes a separator of these characters and a budget in characters, clamped to
    /// [`Self::SHORTEST`]..=[`Self::LONGEST`].
    ///
    /// # Errors
    /// The separator is empty, longer than 8, or has other characters.
    pub fn new(charset: Charset, separator: &str, max_length: usize) -> Result<Self, NameError> {
        if !(1..=8).contains(&separator.len()) || !separator.bytes().all(is_legal) {
            return Err(NameError::Separator);
        }
        if !separator.bytes().all(|byte| charset.has(byte)) {
            return Err(NameError::StrictSeparator);
        }
        let max_length = max_length.clamp(Self::SHORTEST, Self::LONGEST);
        Ok(Self {
            charset,
            separator: separator.to_owned(),
            max_length: NonZeroUsize::new(max_length).unwrap_or(NonZeroUsize::MIN),
        })
    }

    /// Returns the characters that an exposed name may have.
    #[must_use]
    pub const fn charset(&self) -> Charset {
        self.charset
    }

    /// Returns whether a text has only characters that an exposed name may have.
    #[must_use]
    pub fn allows(&self, text: &str) -> bool {
        text.bytes().all(|byte| self.charset.has(byte))
    }

    /// Returns the most characters that an exposed name may have.
    #[must_use]
    pub fn max_length(&self) -> usize {
        self.max_length.get()
    }

    /// Returns the text between namespace and name.
    #[must_use]
    pub fn separator(&self) -> &str {
        &self.separator
    }

    /// Returns `namespace + separator + name`, or the name alone if the namespace is empty. The
    /// result is not yet shortened or made legal.
    #[must_use]
    pub fn join(&self, namespace: &Namespace, name: &str) -> String {
        if namespace.as_str().is_empty() {
            name.to_owned()
        } else {
            format!("{}{}{name}", namespace.as_str(), self.separator)
        }
    }
}

/// Returns whether a byte is one of those that MCP allows in names: `[A-Za-z0-9_.-]`.
#[must_use]
pub const fn is_legal(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_a_narrow_alphabet() {
        assert!(Namespace::parse("").is_ok());
        assert!(Namespace::parse("eu-west-1").is_ok());
        assert_eq!(Namespace::parse("Jira"), Err(NameError::Namespace));
        assert_eq!(Namespace::parse("a_b"), Err(NameError::Namespace));
        assert_eq!(Namespace::parse(&"a".repeat(32)), Err(NameError::Namespace));
    }

    #[test]
    fn any_upstream_has_a_legal_namespace() {
        for key in [
            "Sequential Thinking",
            "github_mcp",
            "données",
            &"x".repeat(64),
        ] {
            let namespace = Namespace::of(&UpstreamId::parse(key).unwrap());
            assert_eq!(
                Namespace::parse(namespace.as_str()).as_ref(),
                Ok(&namespace),
                "{key}"
            );
        }
    }

    #[test]
    fn the_empty_namespace_adds_nothing() {
        let naming = Naming::default();
        assert_eq!(naming.join(&Namespace::default(), "x"), "x");
        assert_eq!(naming.join(&Namespace::parse("a").unwrap(), "x"), "a__x");
    }
}
