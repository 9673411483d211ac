//! Values that are planted in messages, and how they are looked for.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::upstream::Upstream;
use crate::support::weir::Weir;

/// An e-mail address.
pub const MAIL: &str = "ann.planted@example.com";
/// The number of a card, with its checksum.
pub const CARD: &str = "4111 1111 1111 1111";

pub fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

/// The forms in which a value could be in bytes: as it is, escaped, percent-encoded, in base64 at each
/// offset, without its blanks.
fn forms(value: &str) -> Vec<String> {
    let escape_all = |prefix: &str, width: usize| {
        let units = value.encode_utf16();
        units
            .map(|unit| format!("{prefix}{unit:0width$x}"))
            .collect::<String>()
    };
    let mut forms = vec![
        value.to_owned(),
        value.replace(' ', ""),
        value.replace('@', "\\u0040"),
        value.replace('@', "%40"),
        value.replace('@', "&#64;"),
        escape_all("\\u", 4),
        escape_all("%", 2),
    ];
    forms.extend(base64_forms(&STANDARD, value));
    forms
}

/// A value in base64 at each offset, without what depends on its neighbours.
pub fn base64_forms(engine: &impl base64::Engine, value: &str) -> Vec<String> {
    let form = |offset: usize| {
        let padded = format!("{}{value}", "x".repeat(offset));
        let encoded = engine.encode(padded);
        let begin = [0, 2, 3][offset];
        let end = encoded.trim_end_matches('=').len() - 2;
        encoded[begin..end].to_owned()
    };
    (0..3).map(form).collect()
}

/// Asserts that none of the values is in bytes, in any form.
pub fn assert_absent(values: &[&str], bytes: &[u8], place: &str) {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    for form in values.iter().flat_map(|value| forms(value)) {
        assert!(
            !text.contains(&form.to_lowercase()),
            "{place} has {form}: {text}"
        );
    }
}

/// Asserts that none of the values reached an upstream, the log of a weir, or a file of its state.
pub fn assert_clean(values: &[&str], upstream: &Upstream, weir: &Weir) {
    for request in &upstream.log().seen().requests {
        assert_absent(values, &request.body, "a request");
        for (name, value) in &request.headers {
            assert_absent(values, value.as_bytes(), name.as_str());
        }
    }
    assert_absent(values, weir.stderr().as_bytes(), "the log");
    assert_no_file(values, &weir.home.path().join("state"));
}

fn assert_no_file(values: &[&str], folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_no_file(values, &path);
        } else {
            let bytes = std::fs::read(&path).unwrap_or_default();
            assert_absent(values, &bytes, &path.display().to_string());
        }
    }
}
