//! Every bound is written down: a file that starts tasks, opens channels or keeps collections
//! behind a lock is in the table of `docs/src/security.md`. Whether the row is true is a matter for
//! the tests that it names.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use regex::Regex;

use super::{Source, sources};

/// Starts a task or a thread, opens a channel, or keeps a collection for longer than a call.
const KEEPS: &str = r"\bspawn(_blocking|_on|_local)?\(|JoinSet::new|mpsc::channel\(|unbounded_channel|broadcast::channel|: (\w+::)*(Arc<)?(Mutex|RwLock)<.*(Map|Vec|Set|Deque|Inner|State)";

/// Commands run once and end; scripts are doubles of tests.
fn is_exempt(source: &Source) -> bool {
    let tests = source.is_test() || source.path.contains("/tests/");
    tests || ["cli", "import"].contains(&source.module()) || source.path.ends_with("scripted.rs")
}

/// The code of a file before its tests.
fn code(source: &Source) -> String {
    let text = source.text.split("#[cfg(test)]\nmod tests {").next();
    let lines = text.unwrap_or_default().lines();
    let code = lines.map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    code.collect::<Vec<_>>().join("\n")
}

fn table() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join("docs/src/security.md")).unwrap()
}

#[test]
fn whatever_starts_tasks_or_keeps_things_is_in_the_table_of_what_is_bounded() {
    let (keeps, table) = (Regex::new(KEEPS).unwrap(), table());
    let named = Regex::new("`([a-z0-9_/]+)(\\.rs|::)").unwrap();
    let named: BTreeSet<_> = named
        .captures_iter(&table)
        .map(|found| found[1].to_owned())
        .collect();
    let missing: Vec<_> = sources()
        .into_iter()
        .filter(|source| !is_exempt(source) && keeps.is_match(&code(source)))
        .filter_map(|source| source.path.strip_suffix(".rs").map(str::to_owned))
        .filter(|path| !named.contains(path))
        .collect();
    assert!(
        missing.is_empty(),
        "not in docs/src/security.md: {missing:#?}"
    );
}

#[test]
fn the_table_of_what_is_bounded_names_files_that_there_are() {
    let paths: BTreeSet<_> = sources().into_iter().map(|source| source.path).collect();
    let named = Regex::new("`([a-z0-9_/]+\\.rs)`").unwrap();
    let table = table();
    let gone: Vec<_> = named
        .captures_iter(&table)
        .map(|found| found[1].to_owned())
        .filter(|path| !paths.contains(path))
        .collect();
    assert!(gone.is_empty(), "{gone:?}");
}

#[test]
fn no_channel_is_unbounded() {
    let unbounded = |source: &Source| code(source).contains("unbounded_channel");
    let found: Vec<_> = sources().into_iter().filter(unbounded).collect();
    let paths: Vec<_> = found.iter().map(|source| &source.path).collect();
    assert!(paths.is_empty(), "{paths:?}");
}

#[test]
fn the_table_of_what_is_bounded_names_tests_that_there_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let declared = Regex::new(r"\b(?:fn|mod) (\w+)").unwrap();
    let mut names = BTreeSet::new();
    for path in ["src", "tests/it"]
        .map(|folder| super::files_below(&root.join(folder)))
        .concat()
    {
        let text = fs::read_to_string(path).unwrap();
        names.extend(
            declared
                .captures_iter(&text)
                .map(|found| found[1].to_owned()),
        );
    }
    let exists = |part: &str| match part.strip_suffix('…') {
        Some(begin) => {
            let mut others = names.range(begin.to_owned()..);
            others.next().is_some_and(|name| name.starts_with(begin))
        }
        None => part == "*" || names.contains(part),
    };
    let named = Regex::new(r"`([a-z0-9_]+(?:::[a-z0-9_]+)*(?:…|::\*)?)`").unwrap();
    let table = table();
    let cells = table
        .lines()
        .filter_map(|line| line.strip_suffix('|')?.rsplit_once(" | "));
    let tests: Vec<_> = cells
        .flat_map(|(_, cell)| named.captures_iter(cell).map(|found| found[1].to_owned()))
        .collect();
    assert!(tests.len() > 100, "{tests:?}");
    let gone: Vec<_> = tests
        .iter()
        .filter(|test| !test.split("::").all(exists))
        .collect();
    assert!(gone.is_empty(), "{gone:?}");
}
