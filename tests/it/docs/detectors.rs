//! The reference of detectors: how good they are on the cases of `tests/guard`.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;

use serde::Deserialize;
use weir::classes::Class;
use weir::guard::detectors::{Detection, Detectors, has_checksum};

use super::{GENERATED, root};

/// One case: a text, and the values in it.
#[derive(Deserialize)]
struct Case {
    text: String,
    find: Vec<Labelled>,
}

#[derive(Deserialize)]
struct Labelled {
    class: String,
    value: String,
}

/// The places where a class was found rightly, those where it was found wrongly, and those where it
/// was.
#[derive(Clone, Copy, Default, Debug)]
pub struct Score {
    right: usize,
    wrong: usize,
    there: usize,
}

impl Score {
    pub fn precision(self) -> Option<f64> {
        let found = self.right + self.wrong;
        (found > 0).then(|| self.right as f64 / found as f64)
    }

    pub fn recall(self) -> Option<f64> {
        (self.there > 0).then(|| self.right as f64 / self.there as f64)
    }
}

fn cases() -> Vec<Case> {
    let text = fs::read_to_string(root().join("tests/guard/cases.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Scores all detectors on all cases. A value is found if a detection of its class is exactly where
/// it is. Prints what is wrong.
#[allow(
    clippy::print_stdout,
    reason = "shown only where asked for, to see which cases fail"
)]
pub fn scores() -> BTreeMap<String, Score> {
    let all = Detectors::compile(Class::all().filter(Class::is_detected), []).unwrap();
    let mut scores: BTreeMap<String, Score> = BTreeMap::new();
    for case in cases() {
        let found = all.find(&case.text);
        let labelled = case.find.iter().map(|labelled| {
            let start = case.text.find(&labelled.value).unwrap();
            (labelled.class.clone(), start..start + labelled.value.len())
        });
        let labelled: Vec<(String, Range<usize>)> = labelled.collect();
        for (class, range) in &labelled {
            let score = scores.entry(class.clone()).or_default();
            score.there += 1;
            let is_found = found.iter().any(|found| is_right(found, class, range));
            score.right += usize::from(is_found);
            if !is_found {
                println!("missed {class}: {} -> {found:?}", case.text);
            }
        }
        for found in &found {
            let mut labelled = labelled.iter();
            let is_right = labelled.any(|(class, range)| is_right(found, class, range));
            if !is_right {
                println!("wrong {}: {}", found.class, case.text);
                let score = scores.entry(found.class.name().to_owned()).or_default();
                score.wrong += 1;
            }
        }
    }
    scores
}

/// Returns whether a detection is a value of a class. A URL is found around what is found in it.
fn is_right(found: &Detection, class: &str, range: &Range<usize>) -> bool {
    let is_there = match class {
        "URL" => range.start <= found.range.start && found.range.end <= range.end,
        _ => found.range == *range,
    };
    found.class.name() == class && is_there
}

/// The whole page.
pub fn page() -> String {
    let cases = cases();
    let near_misses = cases.iter().filter(|case| case.find.is_empty()).count();
    let mut page = format!(
        "{GENERATED}\n# All detectors\n\n\
         All detectors together on the {} cases of `tests/guard/cases.jsonl`, {near_misses} of which have nothing \
         to be found and only look as if. *Precision*: of what was found, the share that was right. \
         *Recall*: of what was there, the share that was found, from its first character to its last. \
         [Data rules](../data-rules.md#what-detectors-find) says how they work, and what they miss.\n\n\
         | class | checksum | values | precision | recall |\n|---|---|---|---|---|\n",
        cases.len()
    );
    let share = |share: Option<f64>| share.map_or("–".to_owned(), |share| format!("{share:.3}"));
    for (class, score) in scores() {
        let checksum = if has_checksum(&Class::known(&class).unwrap()) {
            "yes"
        } else {
            ""
        };
        page.push_str(&format!(
            "| `{class}` | {checksum} | {} | {} | {} |\n",
            score.there,
            share(score.precision()),
            share(score.recall()),
        ));
    }
    page
}

/// Prints what is found in each case, a line each, for `tests/guard/run`.
#[test]
#[ignore = "prints for tests/guard/run"]
#[allow(clippy::print_stdout, reason = "it is what this is for")]
fn detections_are_printed() {
    let all = Detectors::compile(Class::all().filter(Class::is_detected), []).unwrap();
    for case in cases() {
        let found = all.find(&case.text).into_iter().map(|found| {
            // In characters, as Python counts.
            let place = |at: usize| case.text[..at].chars().count();
            let (start, end) = (place(found.range.start), place(found.range.end));
            (found.class.to_string(), start, end)
        });
        let found: Vec<_> = found.collect();
        println!("{}", serde_json::to_string(&found).unwrap());
    }
}
