//! How a name of an upstream becomes an exposed name: legal, within budget, stable.
//!
//! `namespace + separator + name`. What is not legal or too long ends in a hash of where it comes
//! from, so that it depends on nothing else; names are looked up, never taken apart.

use regex::Regex;

use crate::catalog::digest::{Digest, Hasher};
use crate::name::{Namespace, Naming, UpstreamId};

/// Most prefixes that are cut off one name. Chains are shorter.
const PREFIXES: usize = 32;

/// Cuts what the expression matches off the front of a name, again and again: `a___b___c` → `c`
/// under `^[^_]+___`, at most 32 times. A name never becomes empty.
#[must_use]
pub fn strip_prefix<'n>(prefix: Option<&Regex>, name: &'n str) -> &'n str {
    let Some(prefix) = prefix else { return name };
    let mut rest = name;
    // An expression may look at the whole rest each time.
    for _ in 0..PREFIXES {
        let Some(found) = prefix.find(rest) else {
            break;
        };
        match rest.get(found.end()..) {
            Some(shorter) if found.start() == 0 && found.end() > 0 && !shorter.is_empty() => {
                rest = shorter;
            }
            _ => break,
        }
    }
    rest
}

/// Makes the exposed name that a tool or prompt of an upstream wants. `name` is the original one,
/// stripped, or the one that the operator gave it.
#[must_use]
pub fn expose_name(
    naming: &Naming,
    namespace: &Namespace,
    upstream: &UpstreamId,
    original: &str,
    name: &str,
) -> String {
    let joined = naming.join(namespace, name);
    if joined.len() <= naming.max_length() && !joined.is_empty() && naming.allows(&joined) {
        joined
    } else {
        hash_name(naming, &joined, upstream, original, 0)
    }
}

/// Returns the first alternative to the name `wanted` that is not taken.
pub(crate) fn find_free_name(
    naming: &Naming,
    wanted: &str,
    upstream: &UpstreamId,
    original: &str,
    mut is_taken: impl FnMut(&str) -> bool,
) -> String {
    let mut before = 0;
    loop {
        let name = make_alternative(naming, wanted, upstream, original, before);
        if !is_taken(&name) {
            return name;
        }
        before += 1;
    }
}

/// Makes an alternative to the name `wanted`: they form a sequence, and this is the one after
/// `before` others.
pub(crate) fn make_alternative(
    naming: &Naming,
    wanted: &str,
    upstream: &UpstreamId,
    original: &str,
    before: u32,
) -> String {
    // A name that ends in a hash already would get the same hash again.
    let hash = make_suffix(upstream, original, 0);
    match wanted.strip_suffix(&hash) {
        Some(base) => hash_name(naming, base, upstream, original, before + 1),
        None => hash_name(naming, wanted, upstream, original, before),
    }
}

/// Makes `name` legal and cuts it so that a hash of upstream and original name fits behind it.
fn hash_name(
    naming: &Naming,
    name: &str,
    upstream: &UpstreamId,
    original: &str,
    attempt: u32,
) -> String {
    let suffix = make_suffix(upstream, original, attempt);
    let room = naming.max_length().saturating_sub(suffix.len());
    let legal = |c: char| match u8::try_from(c) {
        Ok(byte) if naming.charset().has(byte) => c,
        _ => '_',
    };
    let mut name: String = name.chars().map(legal).take(room).collect();
    name.push_str(&suffix);
    name
}

/// Makes the suffix: `_` and 8 hex digits; 16 from the second attempt on.
fn make_suffix(upstream: &UpstreamId, original: &str, attempt: u32) -> String {
    let digest = digest_origin(upstream, original, attempt).to_string();
    let digits = if attempt == 0 { 8 } else { 16 };
    format!("_{}", digest.get(..digits).unwrap_or_default())
}

/// Computes a hash of the origin of a name.
pub(crate) fn digest_origin(upstream: &UpstreamId, original: &str, attempt: u32) -> Digest {
    let mut hasher = Hasher::new("name");
    hasher.add(upstream.as_str().as_bytes());
    hasher.add(original.as_bytes());
    if attempt > 0 {
        hasher.add(&attempt.to_be_bytes());
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{Charset, NameError};
    use proptest::prelude::*;

    fn id(text: &str) -> UpstreamId {
        UpstreamId::parse(text).unwrap()
    }

    fn name(namespace: &str, original: &str) -> String {
        let namespace = Namespace::parse(namespace).unwrap();
        expose_name(
            &Naming::default(),
            &namespace,
            &id("up"),
            original,
            original,
        )
    }

    #[test]
    fn a_legal_name_that_fits_gets_its_namespace_and_nothing_else() {
        assert_eq!(name("jira", "search"), "jira__search");
        assert_eq!(name("", "admin_tools-list_2"), "admin_tools-list_2");
        assert_eq!(name("a", &"x".repeat(61)), format!("a__{}", "x".repeat(61)));
    }

    #[test]
    fn a_name_that_is_illegal_or_too_long_ends_in_a_hash_of_its_origin() {
        // The digits are part of the contract with callers who remember names: they must never
        // change.
        assert_eq!(name("a", "get user"), "a__get_user_d73a0705");
        assert_eq!(
            name("a", &"x".repeat(62)),
            format!("a__{}_eaa118f8", "x".repeat(52))
        );
        assert_eq!(name("", "日本"), "___1ee3b1ec");
        assert_ne!(name("a", "get user"), name("a", "get/user"));
        let other_upstream = expose_name(
            &Naming::default(),
            &Namespace::parse("a").unwrap(),
            &id("other"),
            "get user",
            "get user",
        );
        assert_ne!(name("a", "get user"), other_upstream);
    }

    #[test]
    fn a_dot_is_legal_in_mcp_and_not_where_models_call() {
        let with = |charset| {
            let naming = Naming::new(charset, "__", 64).unwrap();
            let namespace = Namespace::parse("a").unwrap();
            expose_name(&naming, &namespace, &id("up"), "get.user", "get.user")
        };
        assert_eq!(with(Charset::Mcp), "a__get.user");
        assert_eq!(with(Charset::Strict), "a__get_user_84092056");
        let separator = Naming::new(Charset::Strict, ".", 64);
        assert_eq!(separator, Err(NameError::StrictSeparator));
        assert!(Naming::new(Charset::Mcp, ".", 64).is_ok());
    }

    #[test]
    fn a_taken_name_is_hashed_and_hashed_again() {
        let naming = Naming::default();
        let first = find_free_name(&naming, "a__x", &id("up"), "x", |_| false);
        assert!(
            first.starts_with("a__x_") && first.len() == "a__x_".len() + 8,
            "{first}"
        );
        let second = find_free_name(&naming, "a__x", &id("up"), "x", |name| name == first);
        assert!(
            second.starts_with("a__x_") && second.len() == "a__x_".len() + 16,
            "{second}"
        );
        let third = find_free_name(&naming, "a__x", &id("up"), "x", |name| {
            name == first || name == second
        });
        assert!(third != second && third.len() == second.len());
        assert_eq!(
            find_free_name(&naming, &first, &id("up"), "x", |name| name == first),
            second,
            "no hash behind a hash"
        );
    }

    #[test]
    fn strip_cuts_prefixes_until_none_is_left() {
        let prefix = Regex::new("^[^_]+___").unwrap();
        let strip = |name| strip_prefix(Some(&prefix), name).to_owned();
        assert_eq!(strip("a___b___c"), "c");
        assert_eq!(strip("c"), "c");
        assert_eq!(strip("a___"), "a___", "never to nothing");
        let anywhere = Regex::new("b").unwrap();
        assert_eq!(
            super::strip_prefix(Some(&anywhere), "ab"),
            "ab",
            "only at the front"
        );
        let empty = Regex::new("^x*").unwrap();
        assert_eq!(super::strip_prefix(Some(&empty), "ab"), "ab");
        assert_eq!(super::strip_prefix(None, "ab"), "ab");
    }

    proptest! {
        #[test]
        fn any_name_becomes_legal_and_fits(
            original in ".{1,200}",
            namespace in "[a-z0-9-]{0,31}",
            separator in "[A-Za-z0-9_.-]{1,8}",
            budget in 0_usize..200,
            charset in prop::sample::select(vec![Charset::Strict, Charset::Mcp]),
        ) {
            let charset = if separator.contains('.') { Charset::Mcp } else { charset };
            let naming = Naming::new(charset, &separator, budget).unwrap();
            let namespace = Namespace::parse(&namespace).unwrap();
            let name = expose_name(&naming, &namespace, &id("up"), &original, &original);
            prop_assert!(!name.is_empty() && name.len() <= naming.max_length());
            prop_assert!(naming.allows(&name));
            let mut taken = 0;
            let another = find_free_name(&naming, &name, &id("up"), &original, |candidate| { taken += 1; candidate == name || taken < 3 });
            prop_assert!(another != name && another.len() <= naming.max_length() && naming.allows(&another));
        }
    }
}
