//! Edits of JSON text in place: what is not replaced keeps its bytes.

use std::ops::Range;

/// Where `part`, a slice of `whole`, begins and ends in it.
pub(crate) fn span(whole: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start + part.len()
}

/// A place in a text, and what is put there.
pub(super) type Edit = (Range<usize>, String);

/// A text after edits whose places do not overlap.
pub(super) fn edited<const N: usize>(text: &str, mut edits: [Option<Edit>; N]) -> String {
    edits.sort_by_key(|edit| edit.as_ref().map(|(at, _)| at.start));
    let more: usize = edits.iter().flatten().map(|(_, value)| value.len()).sum();
    let (mut out, mut from) = (String::with_capacity(text.len() + more), 0);
    for (at, value) in edits.iter().flatten() {
        out.push_str(text.get(from..at.start).unwrap_or_default());
        out.push_str(value);
        from = at.end;
    }
    out.push_str(text.get(from..).unwrap_or_default());
    out
}
