//! Arguments the operator hides or sets: refused from callers, put in on the way to the upstream.

use std::borrow::Cow;

use crate::catalog::render;
use crate::config::ToolOverride;
use crate::json::{self, Object, ObjectError};
use crate::protocol::error::Fault;

/// The arguments of one tool that the operator hides or sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArgumentRules {
    /// Names that callers may not send, sorted.
    hidden: Box<[Box<str>]>,
    /// Names and JSON text that weir sends itself; they are among the hidden ones.
    set: Box<[(Box<str>, Box<str>)]>,
}

/// The reason why a call's arguments are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentsError {
    /// The arguments are not a JSON object.
    #[error("`arguments` must be an object")]
    NotObject,
    /// A key is there twice: weir could judge one of them, and the upstream use the other.
    #[error("`arguments` has the key `{0}` twice")]
    Duplicate(String),
    /// The caller sent a hidden argument. The text is that of an argument which the schema does not
    /// have, so that it does not tell that the upstream has one.
    #[error("unknown argument `{0}`")]
    Hidden(String),
}

impl From<ArgumentsError> for Fault {
    fn from(error: ArgumentsError) -> Self {
        Self::Params(error.to_string())
    }
}

impl ArgumentRules {
    /// Takes the rules from an override, if it has any about arguments.
    #[must_use]
    pub fn of(change: &ToolOverride) -> Option<Self> {
        let mut hidden: Vec<Box<str>> = render::hidden(change).map(Box::from).collect();
        hidden.sort_unstable();
        hidden.dedup();
        let set = change.set_args.iter();
        let set = set.map(|(name, value)| (name.as_str().into(), value.get().into()));
        (!hidden.is_empty()).then(|| Self {
            set: set.collect(),
            hidden: hidden.into(),
        })
    }

    /// The names that callers may not send, sorted.
    pub fn hidden(&self) -> impl Iterator<Item = &str> {
        self.hidden.iter().map(AsRef::as_ref)
    }

    /// The names and JSON text that weir sends itself, in the order of the config.
    pub fn set(&self) -> impl Iterator<Item = (&str, &str)> {
        self.set.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The arguments that go to the upstream, for those the caller sent (JSON text; `None` if it
    /// sent none). The values the caller sent keep their bytes.
    ///
    /// # Errors
    /// The caller sent something that is not an object, a key twice, or an argument it may not
    /// send.
    pub fn apply<'a>(
        &'a self,
        arguments: Option<&'a str>,
    ) -> Result<Option<Cow<'a, str>>, ArgumentsError> {
        let Some(text) = arguments.filter(|text| !json::says_nothing(text)) else {
            if self.set.is_empty() {
                return Ok(None);
            }
            return Ok(Some(Cow::Owned(self.put_into(Object::new()))));
        };
        let object = Object::parse(text).map_err(|error| match error {
            ObjectError::Duplicate(key) => ArgumentsError::Duplicate(key),
            ObjectError::Syntax(_) | ObjectError::NotObject => ArgumentsError::NotObject,
        })?;
        if let Some(name) = self.hidden().find(|name| object.contains(name)) {
            return Err(ArgumentsError::Hidden(name.to_owned()));
        }
        if self.set.is_empty() {
            return Ok(Some(Cow::Borrowed(text)));
        }
        Ok(Some(Cow::Owned(self.put_into(object))))
    }

    fn put_into<'a>(&'a self, mut object: Object<'a>) -> String {
        for (name, value) in self.set() {
            object.set(name, value);
        }
        object.to_text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indexmap::IndexMap;
    use serde_json::value::RawValue;

    fn rules(hide: &[&str], set: &[(&str, &str)]) -> ArgumentRules {
        let set_args = set
            .iter()
            .map(|(name, value)| {
                (
                    (*name).to_owned(),
                    RawValue::from_string((*value).to_owned()).unwrap(),
                )
            })
            .collect::<IndexMap<_, _>>();
        ArgumentRules::of(&ToolOverride {
            hide_args: hide.iter().map(|name| (*name).to_owned()).collect(),
            set_args,
            ..ToolOverride::default()
        })
        .unwrap()
    }

    #[test]
    fn set_arguments_go_in_and_the_rest_keeps_its_bytes() {
        let rules = rules(&["debug"], &[("tenant", r#"{"id": 1e400}"#)]);
        assert_eq!(
            rules
                .apply(Some(r#"{ "q": "\u0061", "n":1.0 }"#))
                .unwrap()
                .unwrap(),
            r#"{"q":"\u0061","n":1.0,"tenant":{"id": 1e400}}"#
        );
        assert_eq!(
            rules.apply(None).unwrap().unwrap(),
            r#"{"tenant":{"id": 1e400}}"#
        );
    }

    #[test]
    fn hidden_arguments_are_refused_by_name_however_they_are_spelled() {
        let rules = rules(&["debug"], &[("tenant", "1")]);
        for (arguments, name) in [
            (r#"{"tenant":1}"#, "tenant"),
            (r#"{"\u0074enant":null}"#, "tenant"),
            (r#"{"q":1,"debug":true}"#, "debug"),
        ] {
            assert_eq!(
                rules.apply(Some(arguments)),
                Err(ArgumentsError::Hidden(name.into()))
            );
        }
        assert_eq!(
            rules.apply(Some("{\"a\":1,\"a\":2}")),
            Err(ArgumentsError::Duplicate("a".into()))
        );
        assert_eq!(rules.apply(Some("[1]")), Err(ArgumentsError::NotObject));
        assert_eq!(
            Fault::from(ArgumentsError::Hidden("x".into())).code(),
            -32602
        );
    }

    #[test]
    fn hiding_alone_changes_nothing() {
        let rules = rules(&["debug"], &[]);
        assert!(matches!(
            rules.apply(Some("{ \"q\" : 1 }")),
            Ok(Some(Cow::Borrowed("{ \"q\" : 1 }")))
        ));
        assert_eq!(rules.apply(None), Ok(None));
        assert_eq!(ArgumentRules::of(&ToolOverride::default()), None);
    }
}
