//! One meaning a word: a type that other files can see has a name of its own.

use std::collections::BTreeMap;

use super::sources;
use super::syntax::Syntax;

/// Names that several types have all the same, each with its files and the reason.
const HOMONYMS: &[(&str, &[&str], &str)] = &[
    (
        "Guard",
        &["config/raw/guard.rs", "guard/plan.rs"],
        "what is written has the name of what it becomes, which is not in `config`: it has detectors",
    ),
    (
        "Naming",
        &["config/raw.rs", "name.rs"],
        "what is written has the name of what it becomes, which is not in `config`: the catalog uses it",
    ),
];

/// Names of more than one type, each with its files. To become fewer, never more.
const HOMONYMS_TO_GO: &[(&str, &[&str])] = &[];

/// Returns each name that several files give to a type that others can see, with the files.
///
/// The types of a config file (`config/raw`) have the names of what they become (`config`).
fn homonyms<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> BTreeMap<String, Vec<&'a str>> {
    let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (path, text) in files {
        for name in Syntax::parse(text).visible_types {
            found.entry(name).or_default().push(path);
        }
    }
    found.retain(|_, files| {
        let raw = files.iter().filter(|path| path.starts_with("config/raw"));
        let becomes = files.iter().filter(|path| path.starts_with("config"));
        if raw.count() == 1 && becomes.count() == 2 {
            files.retain(|path| !path.starts_with("config/raw"));
        }
        files.len() > 1
    });
    found
}

#[test]
fn a_type_has_a_name_of_its_own() {
    let sources = sources();
    let files = sources.iter().filter(|source| !source.is_test());
    let found = homonyms(files.map(|source| (&*source.path, &*source.text)));
    let argued = HOMONYMS.iter().map(|(name, files, _)| (*name, *files));
    let listed = argued.chain(HOMONYMS_TO_GO.iter().copied());
    let listed: BTreeMap<&str, &[&str]> = listed.collect();
    let is_listed = |name: &str, files: &[&str]| listed.get(name).is_some_and(|l| *l == files);
    let mut wrong = Vec::new();
    for (name, files) in &found {
        if !is_listed(name, files) {
            wrong.push(format!("{name} is a type of each of {}", files.join(", ")));
        }
    }
    for (name, files) in &listed {
        if found.get(*name).is_none_or(|found| found != files) {
            let files = files.join(", ");
            wrong.push(format!("listed, but no homonym now: {name} in {files}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_homonym_is_found() {
        let a = ("a/x.rs", "pub(super) struct Held;\nstruct Own;");
        let b = ("b.rs", "pub(in crate::b) enum Held {}\nstruct Own;");
        assert_eq!(homonyms([a, b])["Held"], ["a/x.rs", "b.rs"]);
        assert_eq!(homonyms([a, b]).len(), 1);
        let private = ("b.rs", "type Held = ();\nimpl T for U { type Error = (); }");
        assert!(homonyms([a, private]).is_empty());
        let tests = "\n#[cfg(test)]\nmod tests {\n    pub struct Held;\n}";
        assert!(homonyms([a, ("b.rs", tests)]).is_empty());
    }

    #[test]
    fn a_written_type_is_called_as_what_it_becomes() {
        let raw = ("config/raw/tls.rs", "pub struct Tls;");
        let config = ("config/tls.rs", "pub struct Tls;");
        let other = ("tls.rs", "pub struct Tls;");
        assert!(homonyms([raw, config]).is_empty());
        assert!(!homonyms([raw, other]).is_empty());
        assert_eq!(
            homonyms([raw, config, other])["Tls"],
            ["config/tls.rs", "tls.rs"]
        );
    }
}
