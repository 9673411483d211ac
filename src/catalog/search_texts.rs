//! The texts by which operators find definitions: names and descriptions.

use memchr::memmem::Finder;

use crate::json::Object;

/// A byte that no text has: a find never runs from one text into the next.
const END: u8 = 0xff;

/// The texts of an upstream's definitions of one kind, in lower case (of ASCII): of each its exposed
/// name, its original name and its description.
///
/// They are made when somebody first looks for a text, and live as long as the definitions. Catalogs
/// share them as they share the definitions, so that a change makes those of one upstream again.
#[derive(Debug)]
pub(super) struct SearchTexts {
    bytes: Box<[u8]>,
    /// Where the texts of each item end.
    ends: Box<[usize]>,
}

impl SearchTexts {
    /// Makes the texts of items: exposed and original names, and definitions as JSON text.
    pub(super) fn of<'i>(items: impl Iterator<Item = (&'i str, &'i str, &'i str)>) -> Self {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        let mut add = |text: &str| {
            let from = bytes.len();
            bytes.extend_from_slice(text.as_bytes());
            if let Some(added) = bytes.get_mut(from..) {
                added.make_ascii_lowercase();
            }
            bytes.push(END);
            bytes.len()
        };
        for (exposed, original, definition) in items {
            add(exposed);
            add(original);
            let parsed = Object::parse(definition).ok();
            let description = parsed
                .as_ref()
                .and_then(|object| object.string("description"));
            ends.push(add(&description.unwrap_or_default()));
        }
        Self {
            bytes: bytes.into(),
            ends: ends.into(),
        }
    }

    /// Iterates over the items that have a text in lower case, in order. An empty text is in all.
    pub(super) fn containing<'t>(
        &'t self,
        text: &'t Finder<'_>,
    ) -> impl Iterator<Item = usize> + 't {
        let mut from = 0;
        std::iter::from_fn(move || {
            let at = from + text.find(self.bytes.get(from..)?)?;
            let item = self.ends.partition_point(|end| *end <= at);
            from = *self.ends.get(item)?;
            Some(item)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(texts: &SearchTexts, text: &str) -> Vec<usize> {
        texts.containing(&Finder::new(text)).collect()
    }

    #[test]
    fn items_are_found_by_names_and_descriptions_only() {
        let described =
            r#"{"name":"a","description":"Sends \"MAIL\"\nnow","inputSchema":{"type":"object"}}"#;
        let items = [
            ("x__Send", "Send", described),
            ("x__read", "read", r#"{"name":"read"}"#),
            ("x__mail", "mail", "no JSON"),
        ];
        let texts = SearchTexts::of(items.into_iter());
        assert_eq!(found(&texts, "x__"), [0, 1, 2]);
        assert_eq!(found(&texts, ""), [0, 1, 2]);
        assert_eq!(found(&texts, "send"), [0]);
        assert_eq!(found(&texts, "mail"), [0, 2]);
        assert_eq!(found(&texts, "\"mail\"\nn"), [0]);
        for text in ["object", "sendsend", "readx", "inputschema", "Send"] {
            assert!(found(&texts, text).is_empty(), "{text}");
        }
        assert!(found(&SearchTexts::of([].into_iter()), "").is_empty());
    }
}
