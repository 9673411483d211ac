//! JSON text in a canonical form, by which texts of equal meaning are found.

use crate::json::{self, Object};

/// The levels of nesting that are compared by meaning: each one costs another pass over the text.
/// Deeper values are compared byte by byte.
pub(super) const DEPTH: usize = 32;

/// Returns whether two JSON texts mean the same: white space, order of members and escapes do not count.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    one == other || canonical(one, DEPTH) == canonical(other, DEPTH)
}

pub(super) fn canonical(text: &str, depth: usize) -> String {
    let text = text.trim();
    let Some(depth) = depth.checked_sub(1) else {
        return text.to_owned();
    };
    match text.as_bytes().first() {
        Some(b'{') => match Object::parse(text) {
            Ok(object) => {
                let mut members: Vec<_> = object
                    .iter()
                    .map(|(key, value)| format!("{}:{}", json::quote(key), canonical(value, depth)))
                    .collect();
                members.sort_unstable();
                format!("{{{}}}", members.join(","))
            }
            Err(_) => text.to_owned(),
        },
        Some(b'[') => match json::array(text) {
            Ok(items) => {
                let items = items.into_iter().map(|item| canonical(item, depth));
                format!("[{}]", items.collect::<Vec<_>>().join(","))
            }
            Err(_) => text.to_owned(),
        },
        Some(b'"') => json::string(text).map_or_else(|| text.to_owned(), |text| json::quote(&text)),
        _ => text.to_owned(),
    }
}
