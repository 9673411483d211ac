//! Personal data and secrets in texts: found, replaced, restored.

use std::sync::Arc;

use divan::{Bencher, black_box};
use weir::caller::Caller;
use weir::classes::Class;
use weir::guard::coverage::Shape;
use weir::guard::detectors::Detectors;
use weir::guard::pseudonyms::{
    Form, PseudonymKeys, PseudonymStore, Pseudonyms, Scheme, StoreLimits,
};
use weir::guard::{Direction, Findings, Guard, RequestGuard};
use weir::json;
use weir::metrics::Metrics;

/// Text as tools pass it: sentences in several languages, JSON, a value now and then.
fn text(bytes: usize) -> String {
    const PARTS: [&str; 6] = [
        "Dear Ms Jones, the order 4711-0815 of 12 March has left our warehouse in Rotterdam and should be with you by Friday. ",
        r#"{"id":18273645,"status":"open","assignee":"jdoe","updated":"2026-11-29T18:30:00Z","labels":["billing","urgent"]} "#,
        "Bitte schreiben Sie an max.mustermann@example.com, oder rufen Sie an: +49 30 1234567. Viele Grüße aus München! ",
        "fn main() { let total: u64 = items.iter().map(|item| item.price * 100).sum(); println!(\"{total}\"); } ",
        "La société a versé 1 250,50 € sur le compte FR14 2004 1010 0505 0001 3M02 606, merci de vérifier. ",
        "See https://docs.example.com/guide/v2/index.html#install for the 15 steps; the build of 10.4.2 takes 3 minutes. ",
    ];
    let mut text: String = PARTS.iter().copied().cycle().take(bytes / 90 + 1).collect();
    text.truncate(text.floor_char_boundary(bytes));
    text
}

fn all_detectors() -> Detectors {
    let classes = Class::all().filter(Class::is_detected);
    Detectors::compile(classes, []).expect("detectors")
}

/// Finds values of all classes in a text.
#[divan::bench(args = [1 << 10, 100 << 10])]
fn find_all_classes(bencher: Bencher<'_, '_>, bytes: usize) {
    let (detectors, text) = (all_detectors(), text(bytes));
    bencher.bench(|| detectors.find(black_box(&text)).len());
}

/// Finds matches of a config's own pattern in a text.
#[divan::bench(args = [1 << 10, 100 << 10])]
fn find_an_own_pattern(bencher: Bencher<'_, '_>, bytes: usize) {
    let class = Class::own("EMPLOYEE").expect("a name");
    let detectors = Detectors::compile([], [(class, "E[0-9]{6}")]).expect("detectors");
    let text = text(bytes);
    bencher.bench(|| detectors.find(black_box(&text)).len());
}

fn pseudonyms(scheme: &str) -> Pseudonyms {
    let keys = PseudonymKeys::from_texts(["a key of this bench, long enough"]).expect("a key");
    let store = || Arc::new(PseudonymStore::in_memory(StoreLimits::default()));
    let scheme = match scheme {
        "stored" => Scheme::Stored(store()),
        _ => Scheme::Sealed,
    };
    Pseudonyms::new(keys, scheme, [])
}

/// Replaces a value that was replaced before.
#[divan::bench(args = ["stored", "sealed"])]
fn replace_a_value(bencher: Bencher<'_, '_>, scheme: &str) {
    let (pseudonyms, class) = (pseudonyms(scheme), Class::known("EMAIL").expect("a class"));
    bencher.bench(|| {
        let value = black_box("max.mustermann@example.com");
        pseudonyms.replace("tenant", &class, value, Form::Word)
    });
}

/// Finds a pseudonym in a text of 1 KiB, and restores its value.
#[divan::bench(args = ["stored", "sealed"])]
fn restore_a_value(bencher: Bencher<'_, '_>, scheme: &str) {
    let (pseudonyms, class) = (pseudonyms(scheme), Class::known("EMAIL").expect("a class"));
    let value = "max.mustermann@example.com";
    let made = pseudonyms
        .replace("tenant", &class, value, Form::Word)
        .expect("a pseudonym");
    let text = format!("{}{}", text(1 << 10), made.text);
    bencher.bench(|| {
        let found = pseudonyms.find(black_box(&text));
        let restored = found
            .iter()
            .filter_map(|found| pseudonyms.restore("tenant", found));
        restored.count()
    });
}

/// Looks at a message with a strings plan of all classes, as a call of a tool does.
#[divan::bench(args = [1 << 10, 10 << 10, 100 << 10])]
fn redact_a_message(bencher: Bencher<'_, '_>, bytes: usize) {
    let yaml = "guard: { redact: { towards_upstream: { '*': tokenise } } }\nupstreams: { ann: { url: http://127.0.0.1:1/mcp } }\n";
    let config = weir::config::parse(yaml, std::path::Path::new("weir.yaml"), &|_| None);
    let config = config.expect("a config");
    let guard = Guard::of(
        &config,
        Some(Arc::new(pseudonyms("stored"))),
        &Metrics::new(),
    );
    let guard = Arc::new(guard.expect("detectors").expect("rules"));
    let (upstream, _) = config.upstreams.first().expect("an upstream");
    let guard = RequestGuard::of(&guard, upstream, None, &Caller::anonymous()).expect("rules");
    let message = format!("{{\"a\":[{{\"b\":{}}}]}}", json::quote(&text(bytes)));
    bencher.bench(|| {
        let mut findings = Findings::default();
        let direction = Direction::TowardsUpstream;
        let redacted = guard.redact(
            direction,
            &Shape::Fields,
            black_box(&message),
            &mut findings,
        );
        // Nothing waits but for the store, which is in memory.
        futures::executor::block_on(redacted).expect("it may pass")
    });
}
