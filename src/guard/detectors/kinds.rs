//! The kinds of values that have a form and, mostly, a checksum: one table, by region.

mod africa_asia_oceania;
mod americas;
mod europe;
mod finance;
mod kind;

pub(super) use kind::ValueKind;

/// Returns all kinds. Where two fit alike, the earlier one is meant.
pub(super) fn all() -> impl Iterator<Item = &'static ValueKind> {
    let tables = [
        finance::KINDS,
        europe::KINDS,
        americas::KINDS,
        africa_asia_oceania::KINDS,
    ];
    tables.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::Class;

    #[test]
    fn every_kind_has_a_class_and_a_layout() {
        for kind in all() {
            let class = Class::known(kind.class);
            assert!(
                class.is_some_and(|class| class.is_detected()),
                "{}",
                kind.class
            );
            let mut layouts = kind.layouts.iter().chain(kind.vague);
            assert!(layouts.next().is_some(), "{}", kind.class);
            assert!(
                kind.vague.is_empty() || !kind.words.is_empty(),
                "{}",
                kind.class
            );
            for layout in kind.layouts.iter().chain(kind.vague) {
                let values = layout.chars().filter(|c| c.is_ascii_alphanumeric()).count();
                assert!(values <= super::super::layout::MOST, "{layout}");
            }
            for word in kind.words {
                assert_eq!(*word, word.to_lowercase());
            }
        }
    }
}
