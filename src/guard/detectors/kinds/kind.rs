//! A kind of value, as the tables have it.

/// A kind of value: how it is written, and how a right one is told from a wrong one.
///
/// In a layout `9` stands for a digit, `A` for a letter, `X` for either and a small letter for
/// itself in any case. A space stands for the separators that people use (a space of any kind, a
/// dash, a dot), the same throughout the value; `_`, `-`, `.` and `/` for a space,
/// a dash, a dot and a slash only.
pub(in crate::guard::detectors) struct ValueKind {
    /// The name of its class.
    pub class: &'static str,
    /// How it is written so that it is known by itself.
    pub layouts: &'static [&'static str],
    /// How it is written so that only a word nearby tells it from other numbers.
    pub vague: &'static [&'static str],
    /// Tells a right value, without separators and in capitals, from a wrong one.
    pub check: fn(&[u8]) -> bool,
    /// Whether a wrong value is told from a right one by a checksum.
    pub has_checksum: bool,
    /// The words that stand near such a value, in small letters: whole words, or the beginnings of
    /// words if they are longer than four letters.
    pub words: &'static [&'static str],
    /// Whether the word has to be right beside the value: any number could be meant otherwise.
    pub is_close: bool,
}

/// Returns a kind with a checksum.
pub(super) const fn checked(
    class: &'static str,
    check: fn(&[u8]) -> bool,
    layouts: &'static [&'static str],
    vague: &'static [&'static str],
    words: &'static [&'static str],
) -> ValueKind {
    ValueKind {
        class,
        layouts,
        vague,
        check,
        has_checksum: true,
        words,
        is_close: false,
    }
}

/// Returns a kind without a checksum.
pub(super) const fn unchecked(
    class: &'static str,
    check: fn(&[u8]) -> bool,
    layouts: &'static [&'static str],
    vague: &'static [&'static str],
    words: &'static [&'static str],
) -> ValueKind {
    ValueKind {
        has_checksum: false,
        ..checked(class, check, layouts, vague, words)
    }
}

/// Returns a kind without a checksum, of which the word has to be right beside the value.
pub(super) const fn named(
    class: &'static str,
    check: fn(&[u8]) -> bool,
    vague: &'static [&'static str],
    words: &'static [&'static str],
) -> ValueKind {
    ValueKind {
        is_close: true,
        ..unchecked(class, check, &[], vague, words)
    }
}
