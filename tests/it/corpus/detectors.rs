//! The laws of detections in any text.

use std::sync::LazyLock;

use weir::classes::Class;
use weir::guard::detectors::{Detection, Detectors};

static ALL: LazyLock<Detectors> = LazyLock::new(|| {
    let own = Class::own("EMPLOYEE").unwrap();
    let classes = Class::all().filter(Class::is_detected);
    Detectors::compile(classes, [(own, "E[0-9]{6}")]).unwrap()
});

/// Checks what is found in these bytes.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let found = ALL.find(&text);
    check_order(&text, &found);
    assert_eq!(ALL.find(&text), found, "the same again");
    // A word near the text takes nothing away, but may add to it.
    check_order(&text, &ALL.find_named(&text, &text));
    let masked = mask(&text, &found);
    for found in ALL.find(&masked) {
        // A part of what was around a value may be one of its own, but never a part of it.
        let value = &masked[found.range.clone()];
        assert!(
            !value.contains('█')
                || found.class.name() == "URL"
                || found.class.name() == "PRIVATE_KEY",
            "{value:?} of {masked:?}"
        );
    }
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    if let Some(class) = ALL.find_in_number("", &digits) {
        assert!(class.is_detected());
    }
    assert!(ALL.find_in_number("", &text).is_none() || digits == text);
}

fn check_order(text: &str, found: &[Detection]) {
    let mut end = 0;
    for detection in found {
        let range = detection.range.clone();
        assert!(range.start >= end && range.start < range.end, "{found:?}");
        assert!(text.get(range.clone()).is_some(), "{range:?} of {text:?}");
        end = range.end;
    }
}

fn mask(text: &str, found: &[Detection]) -> String {
    let (mut out, mut at) = (String::new(), 0);
    for detection in found {
        out.push_str(&text[at..detection.range.start]);
        out.push('█');
        at = detection.range.end;
    }
    out.push_str(&text[at..]);
    out
}
