use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;

const KEY: &str = "0123456789abcdefghijklmnopqrstuv";
const OTHER: &str = "another-secret-of-enough-characters";

fn keys(texts: &[&str]) -> PseudonymKeys {
    PseudonymKeys::from_texts(texts.iter().copied()).unwrap()
}

fn sealed(texts: &[&str]) -> Pseudonyms {
    Pseudonyms::new(keys(texts), Scheme::Sealed, own())
}

fn in_memory() -> Pseudonyms {
    let store = Arc::new(PseudonymStore::in_memory(StoreLimits::default()));
    Pseudonyms::new(keys(&[KEY]), Scheme::Stored(store), own())
}

fn own() -> [Class; 1] {
    [Class::own("STAFF_NUMBER").unwrap()]
}

fn class(name: &str) -> Class {
    Class::known(name).unwrap_or_else(|| Class::own(name).unwrap())
}

fn word(pseudonyms: &Pseudonyms, tenant: &str, value: &str) -> String {
    let email = class("EMAIL");
    pseudonyms
        .replace(tenant, &email, value, Form::Word)
        .unwrap()
        .text
}

/// Replaces every pseudonym that leads back.
fn restored(pseudonyms: &Pseudonyms, tenant: &str, text: &str) -> String {
    let (mut out, mut at) = (String::new(), 0);
    for found in pseudonyms.find(text) {
        out.push_str(&text[at..found.range.start]);
        match pseudonyms.restore(tenant, &found) {
            Some(restored) => out.push_str(&restored.value),
            None => out.push_str(&text[found.range.clone()]),
        }
        at = found.range.end;
    }
    out.push_str(&text[at..]);
    out
}

#[test]
fn a_stored_pseudonym_is_a_short_word_and_the_same_for_the_same_value() {
    let pseudonyms = in_memory();
    let first = word(&pseudonyms, "t", "max@example.com");
    let body = first.strip_prefix("email_").unwrap();
    assert_eq!(body.len(), 16, "{first}");
    assert!(
        body.bytes()
            .all(|c| b"0123456789abcdefghjkmnpqrstvwxyz".contains(&c))
    );
    assert_eq!(word(&pseudonyms, "t", "max@example.com"), first);
    assert_ne!(word(&pseudonyms, "u", "max@example.com"), first);
    assert_ne!(
        word(&pseudonyms, "t", "Max@example.com"),
        first,
        "byte for byte"
    );
    let phone = class("PHONE");
    let other = pseudonyms
        .replace("t", &phone, "max@example.com", Form::Word)
        .unwrap();
    assert!(!other.text.ends_with(body));
    assert_eq!(restored(&pseudonyms, "t", &first), "max@example.com");
    assert_eq!(restored(&pseudonyms, "u", &first), first, "another tenant");
}

#[test]
fn a_sealed_pseudonym_needs_the_key_and_nothing_else() {
    let text = word(&sealed(&[KEY]), "t", "max@example.com");
    assert_eq!(word(&sealed(&[KEY]), "t", "max@example.com"), text);
    assert_eq!(restored(&sealed(&[KEY]), "t", &text), "max@example.com");
    for (keys, tenant) in [([OTHER], "t"), ([KEY], "u")] {
        assert_eq!(restored(&sealed(&keys), tenant, &text), text);
    }
    // A weir that stores reads sealed ones of others, too.
    assert_eq!(restored(&in_memory(), "t", &text), "max@example.com");
}

#[test]
fn a_key_is_replaced_without_an_end_to_its_pseudonyms() {
    let old = word(&sealed(&[KEY]), "t", "max@example.com");
    let both = sealed(&[OTHER, KEY]);
    assert_eq!(restored(&both, "t", &old), "max@example.com");
    let new = word(&both, "t", "max@example.com");
    assert_ne!(new, old);
    assert_eq!(restored(&sealed(&[OTHER]), "t", &new), "max@example.com");
    let store = Arc::new(PseudonymStore::in_memory(StoreLimits::default()));
    let with =
        |texts: &[&str]| Pseudonyms::new(keys(texts), Scheme::Stored(Arc::clone(&store)), own());
    let old = word(&with(&[KEY]), "t", "max@example.com");
    assert_eq!(restored(&with(&[OTHER, KEY]), "t", &old), "max@example.com");
    assert_eq!(restored(&with(&[OTHER]), "t", &old), old);
}

#[test]
fn keys_have_to_be_long_enough() {
    let error = |texts: &[&str]| PseudonymKeys::from_texts(texts.iter().copied()).unwrap_err();
    assert_eq!(error(&[]), KeyTextError::None);
    assert_eq!(error(&["short"]), KeyTextError::Short);
    assert_eq!(error(&[KEY; 17]), KeyTextError::Many);
    assert_eq!(format!("{:?}", keys(&[KEY])), "PseudonymKeys(1)");
}

#[test]
fn what_models_and_programs_do_to_a_word_does_not_hide_it() {
    for pseudonyms in [in_memory(), sealed(&[KEY])] {
        let text = word(&pseudonyms, "t", "max@example.com");
        let escaped = text.replace('_', "\\_");
        let encoded = text.replace('_', "%5F");
        let entity = text.replace('_', "&#95;");
        for written in [
            text.to_uppercase(),
            text.replace("email", "Email"),
            escaped,
            encoded.clone(),
            entity,
        ] {
            assert_eq!(
                restored(&pseudonyms, "t", &written),
                "max@example.com",
                "{written}"
            );
        }
        for around in [
            "<>",
            "[]",
            "()",
            "**",
            "``",
            "\"\"",
            "''",
            "_ ",
            " .",
            " ,",
            "&lt;&gt;",
            "=&",
            "/?",
            "：、",
            "は。",
            "\u{200b}\u{200b}",
            "__",
            "x ",
        ] {
            let mid = around.len() / 2;
            let mid = around.ceil_char_boundary(mid);
            let (before, after) = around.split_at(mid);
            let expected = format!("{before}max@example.com{after}");
            let written = format!("{before}{text}{after}");
            assert_eq!(restored(&pseudonyms, "t", &written), expected, "{written}");
        }
        let query = format!("?a=1%20{encoded}&work_{text}=x");
        let expected = "?a=1%20max@example.com&work_max@example.com=x";
        assert_eq!(restored(&pseudonyms, "t", &query), expected);
        let address = format!(
            "To: {}@PII.invalid, {encoded}%40pii.invalid.",
            text.to_uppercase()
        );
        let expected = "To: max@example.com, max@example.com.";
        assert_eq!(restored(&pseudonyms, "t", &address), expected);
    }
}

#[test]
fn a_damaged_one_is_found_and_leads_nowhere() {
    for pseudonyms in [in_memory(), sealed(&[KEY])] {
        let text = word(&pseudonyms, "t", "max@example.com");
        let body = text.len() - 1;
        for at in "email_".len()..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[at] = if damaged[at] == b'0' { b'2' } else { b'0' };
            let damaged = String::from_utf8(damaged).unwrap();
            let found = pseudonyms.find(&damaged);
            // Bits left over at the end have to be zero.
            assert!(found.len() == 1 || at == body, "{damaged}");
            assert_eq!(restored(&pseudonyms, "t", &damaged), damaged);
        }
        let other = text.replace("email", "phone");
        assert_eq!(restored(&pseudonyms, "t", &other), other, "another class");
        for cut in [&text[..text.len() - 1], &text[1..], &text["email_".len()..]] {
            assert_eq!(restored(&pseudonyms, "t", cut), cut);
        }
        let long = format!("{text}0");
        assert_eq!(restored(&pseudonyms, "t", &long), long);
    }
    assert!(
        in_memory().find("request_0123456789abcdef").is_empty(),
        "no class"
    );
}

#[test]
fn values_that_can_be_guessed_have_none() {
    let pseudonyms = in_memory();
    let error = |name: &str, value: &str, form: Form| {
        pseudonyms
            .replace("t", &class(name), value, form)
            .unwrap_err()
    };
    for name in ["PIN", "AGE", "CREDIT_DEBIT_CARD_CVV", "DATE_OF_BIRTH"] {
        assert_eq!(
            error(name, "1234567", Form::Word),
            PseudonymError::Guessable
        );
    }
    assert_eq!(error("USERNAME", "max", Form::Word), PseudonymError::Short);
    assert_eq!(
        error("PHONE", "+49 30 123456", Form::Other),
        PseudonymError::Format
    );
    assert_eq!(
        error("NAME", &"x".repeat(70_000), Form::Word),
        PseudonymError::Long
    );
    let error = sealed(&[KEY]).replace("t", &class("NAME"), &"x".repeat(2_000), Form::Word);
    assert_eq!(error.unwrap_err(), PseudonymError::Long);
}

#[test]
fn no_detector_takes_a_pseudonym_for_a_value() {
    let all = Detectors::compile(Class::all().filter(Class::is_detected), []).unwrap();
    for pseudonyms in [in_memory(), sealed(&[KEY])] {
        for (number, class) in Class::all().cycle().take(2_000).enumerate() {
            let value = format!("value {number}");
            let Ok(word) = pseudonyms.replace("t", &class, &value, Form::Word) else {
                assert!(class.is_guessable());
                continue;
            };
            for text in [word.text.clone(), format!("tel {} pesel", word.text)] {
                assert_eq!(all.find(&text), [], "{text}");
            }
            let address = pseudonyms
                .replace("t", &class, &value, Form::Email)
                .unwrap();
            assert_eq!(all.find(&address.text), [], "{}", address.text);
            assert!(address.text.starts_with(&word.text));
        }
    }
}

proptest! {
    #[test]
    fn every_value_comes_back(value in ".{4,300}", tenant in ".{0,20}", is_sealed: bool) {
        let pseudonyms = if is_sealed { sealed(&[KEY]) } else { in_memory() };
        for class in [class("EMAIL"), class("STAFF_NUMBER")] {
            let made = pseudonyms.replace(&tenant, &class, &value, Form::Word);
            let Ok(made) = made else {
                prop_assert!(value.len() > MOST_SEALED);
                continue;
            };
            let found = pseudonyms.find(&made.text);
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(&found[0].range, &(0..made.text.len()));
            let back = pseudonyms.restore(&tenant, &found[0]).unwrap();
            prop_assert_eq!((&back.value, &back.class), (&value, &class));
        }
    }

    #[test]
    fn any_text_is_looked_through(text in ".*") {
        for pseudonyms in [in_memory(), sealed(&[KEY])] {
            let mut end = 0;
            for found in pseudonyms.find(&text) {
                prop_assert!(found.range.start >= end);
                end = found.range.end;
                prop_assert!(text.get(found.range.clone()).is_some());
                prop_assert!(pseudonyms.restore("t", &found).is_none());
            }
        }
    }
}

fn opened(folder: &Path, limits: StoreLimits) -> (Arc<PseudonymStore>, Pseudonyms) {
    let store = Arc::new(PseudonymStore::open(folder, limits).unwrap());
    let scheme = Scheme::Stored(Arc::clone(&store));
    (store, Pseudonyms::new(keys(&[KEY]), scheme, own()))
}

#[tokio::test]
async fn what_was_saved_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let shutdown = CancellationToken::new();
    let (store, pseudonyms) = opened(folder.path(), StoreLimits::default());
    let writer = TaskTracker::new().spawn(store_changes(store, shutdown.clone()));
    let mut words = Vec::new();
    for number in 0..100 {
        words.push(word(&pseudonyms, "t", &format!("user{number}@example.com")));
        pseudonyms.saved().await.unwrap();
    }
    // The process is killed: nothing is written any more.
    writer.abort();
    let file = folder.path().join("pseudonyms");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        !text.contains("user") && !text.contains("example"),
        "{text}"
    );
    let (_, pseudonyms) = opened(folder.path(), StoreLimits::default());
    for (number, word) in words.iter().enumerate() {
        let value = format!("user{number}@example.com");
        assert_eq!(restored(&pseudonyms, "t", word), value);
    }
    // A line that was cut off takes nothing else with it.
    std::fs::write(&file, &text[..text.len() - 3]).unwrap();
    let (store, pseudonyms) = opened(folder.path(), StoreLimits::default());
    assert_eq!(store.len(), 99);
    assert_eq!(restored(&pseudonyms, "t", &words[0]), "user0@example.com");
    let writer = TaskTracker::new().spawn(store_changes(store, shutdown.clone()));
    word(&pseudonyms, "t", "one-more@example.com");
    pseudonyms.saved().await.unwrap();
    shutdown.cancel();
    writer.await.unwrap();
    assert_eq!(opened(folder.path(), StoreLimits::default()).0.len(), 100);
}

#[tokio::test]
async fn a_disk_that_takes_nothing_refuses_and_recovers_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (store, pseudonyms) = opened(&state, StoreLimits::default());
    // A file where the folder should be.
    std::fs::write(&state, "").unwrap();
    let shutdown = CancellationToken::new();
    let writer = TaskTracker::new().spawn(store_changes(store, shutdown.clone()));
    let text = word(&pseudonyms, "t", "max@example.com");
    assert_eq!(pseudonyms.saved().await, Err(PseudonymError::NotStored));
    std::fs::remove_file(&state).unwrap();
    let wait = async {
        while pseudonyms.saved().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .unwrap();
    shutdown.cancel();
    writer.await.unwrap();
    let (_, pseudonyms) = opened(&state, StoreLimits::default());
    assert_eq!(restored(&pseudonyms, "t", &text), "max@example.com");
}

#[test]
fn the_number_of_values_is_bounded_and_the_oldest_go_first() {
    let limits = StoreLimits {
        values: 100,
        ..StoreLimits::default()
    };
    let store = Arc::new(PseudonymStore::in_memory(limits));
    let pseudonyms = Pseudonyms::new(keys(&[KEY]), Scheme::Stored(Arc::clone(&store)), own());
    for number in 0..1_000 {
        let value = format!("user{number}@example.com");
        let text = word(&pseudonyms, "t", &value);
        assert_eq!(restored(&pseudonyms, "t", &text), value);
        assert!(store.len() <= 100);
    }
    assert!(store.len() > 80);
    let limits = StoreLimits {
        keep: Duration::ZERO,
        ..limits
    };
    let folder = tempfile::tempdir().unwrap();
    let old = "weir pseudonyms 1\n0000000000000000 EMAIL 1700000000 AAAA\n";
    std::fs::write(folder.path().join("pseudonyms"), old).unwrap();
    let store = PseudonymStore::open(folder.path(), limits).unwrap();
    assert!(store.is_empty(), "out of date");
    std::fs::write(folder.path().join("pseudonyms"), "something else").unwrap();
    assert!(
        PseudonymStore::open(folder.path(), limits)
            .unwrap()
            .is_empty()
    );
    let files = std::fs::read_dir(folder.path()).unwrap();
    let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names.len(), 1, "moved, not lost: {names:?}");
}
