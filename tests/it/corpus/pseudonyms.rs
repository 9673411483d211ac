//! The laws of pseudonyms: of any value, and in any text that may have some.

use std::sync::{Arc, LazyLock};

use weir::classes::Class;
use weir::guard::pseudonyms::{
    Form, PseudonymKeys, PseudonymStore, Pseudonyms, Scheme, StoreLimits,
};

const KEY: &str = "a key of these checks, long enough";

fn keys(text: &str) -> PseudonymKeys {
    PseudonymKeys::from_texts([text]).unwrap()
}

static SEALED: LazyLock<Pseudonyms> =
    LazyLock::new(|| Pseudonyms::new(keys(KEY), Scheme::Sealed, []));
static OTHER: LazyLock<Pseudonyms> =
    LazyLock::new(|| Pseudonyms::new(keys("another key of these checks"), Scheme::Sealed, []));
static STORED: LazyLock<Pseudonyms> = LazyLock::new(|| {
    let limits = StoreLimits {
        values: 1_000,
        ..StoreLimits::default()
    };
    let store = Arc::new(PseudonymStore::in_memory(limits));
    Pseudonyms::new(keys(KEY), Scheme::Stored(store), [])
});

/// Checks these bytes as a text, and as a value.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for pseudonyms in [&*SEALED, &*STORED] {
        let mut end = 0;
        for found in pseudonyms.find(&text) {
            assert!(found.range.start >= end && text.get(found.range.clone()).is_some());
            end = found.range.end;
            assert!(pseudonyms.restore("t", &found).is_none(), "nobody made it");
        }
        check_value(pseudonyms, &text, data);
    }
}

fn check_value(pseudonyms: &Pseudonyms, value: &str, data: &[u8]) {
    let class = Class::known("EMAIL").unwrap();
    let Ok(made) = pseudonyms.replace("t", &class, value, Form::Email) else {
        assert!(value.chars().count() < 4 || value.len() > 1 << 10);
        return;
    };
    let written = format!("`{}`, <{}>.", made.text.to_uppercase(), made.text);
    let found = pseudonyms.find(&written);
    assert_eq!(found.len(), 2, "{written}");
    for found in &found {
        let restored = pseudonyms.restore("t", found).unwrap();
        assert_eq!((&*restored.value, &restored.class), (value, &class));
        assert!(pseudonyms.restore("u", found).is_none());
        assert!(OTHER.restore("t", found).is_none());
    }
    // One character of it is another: which one, the bytes say.
    let at = data.iter().map(|byte| usize::from(*byte)).sum::<usize>();
    let word = made.text.strip_suffix("@pii.invalid").unwrap();
    let at = "email_".len() + at % (word.len() - "email_".len());
    let mut damaged = word.as_bytes().to_vec();
    damaged[at] = if damaged[at] == b'7' { b'8' } else { b'7' };
    let damaged = String::from_utf8(damaged).unwrap();
    for found in pseudonyms.find(&damaged) {
        assert!(pseudonyms.restore("t", &found).is_none(), "{damaged}");
    }
}
