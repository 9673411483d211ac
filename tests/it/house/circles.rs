//! Files of a room (a module at the top of the crate, with its folder) that import each other in a
//! circle have to be read and changed together: there are none, but for those in the list.

use std::collections::{BTreeMap, BTreeSet};

use super::sources;
use super::syntax::Syntax;

/// Circles that stay, each with the reason.
const CIRCLES: &[(&[&str], &str)] = &[
    (
        &["document/de.rs", "document/de/access.rs"],
        "a deserializer of serde and the accessors of its lists and mappings need each other",
    ),
    (
        &[
            "session/caller_session.rs",
            "session/server_requests.rs",
            "session/stream.rs",
            "session/upstream_session.rs",
        ],
        "a session owns its stream, its sessions at upstreams and the requests that came over them, and these report to it",
    ),
];

/// Files by the path of their module: `catalog/page.rs` is `["catalog", "page"]`.
pub struct Crate {
    modules: BTreeMap<Vec<String>, Syntax>,
}

/// The most re-exports that lead from a name to its definition. Two globs may lead to each other
/// for ever.
const HOPS: usize = 8;

impl Crate {
    pub fn parse<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let is_test = |path: &str| {
            let mut parts = path.split('/');
            parts.any(|part| part == "tests" || part == "tests.rs")
        };
        let files = files.into_iter().filter(|(path, _)| !is_test(path));
        let files = files.filter(|(path, _)| *path != "main.rs");
        let modules = files.map(|(path, text)| (module_path(path), Syntax::parse(text)));
        let mut modules: BTreeMap<_, _> = modules.collect();
        modules.entry(Vec::new()).or_default();
        Self { modules }
    }

    /// For each file, the other files of its room that it imports.
    fn edges(&self) -> BTreeMap<&[String], BTreeSet<&[String]>> {
        let edges = self.modules.iter().map(|(module, syntax)| {
            let imports = syntax.imports.iter().filter(|import| !import.is_public);
            // An imported module is used by the paths that begin with it; these tell more.
            let imported = imports.filter_map(|import| match self.resolve(module, &import.path) {
                Some(Target::Item(found)) => Some(found),
                Some(Target::Module(_)) | None => None,
            });
            let longer = syntax.paths.iter().filter(|path| path.len() > 1);
            let mentioned = longer.filter_map(|path| self.resolve(module, path));
            let mentioned = mentioned.map(|(Target::Item(found) | Target::Module(found))| found);
            let in_room = |found: &&[String]| found.first() == module.first();
            let other = |found: &&[String]| *found != module.as_slice();
            let all = imported.chain(mentioned).filter(in_room).filter(other);
            (module.as_slice(), all.collect())
        });
        edges.collect()
    }

    /// Returns what a path in a file stands for, if it is something of this crate.
    fn resolve(&self, from: &[String], path: &[String]) -> Option<Target<'_>> {
        self.resolve_within(from, path, HOPS)
    }

    fn resolve_within(&self, from: &[String], path: &[String], hops: usize) -> Option<Target<'_>> {
        let hops = hops.checked_sub(1)?;
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.walk(&[], rest, hops),
            "self" => self.walk(from, rest, hops),
            "super" => {
                let (_, parent) = from.split_last()?;
                let mut rest = rest;
                let mut parent = parent;
                while let Some((next, after)) = rest.split_first()
                    && next == "super"
                {
                    (rest, parent) = (after, parent.split_last()?.1);
                }
                self.walk(parent, rest, hops)
            }
            // Something in scope: a module below, or something imported. Whatever else comes from
            // another crate.
            _ => self.find(from, path, hops),
        }
    }

    /// Follows the path from a module, by modules, definitions and re-exports.
    fn walk(&self, module: &[String], path: &[String], hops: usize) -> Option<Target<'_>> {
        let (here, syntax) = self.modules.get_key_value(module)?;
        let Some((name, _)) = path.split_first() else {
            return Some(Target::Module(here));
        };
        if let Some(found) = self.find(module, path, hops) {
            return Some(found);
        }
        let globs = syntax.imports.iter().filter(|import| import.name == "*");
        for glob in globs {
            if let Some(Target::Module(found)) = self.resolve_within(module, &glob.path, hops)
                && self.modules[found].definitions.contains(name)
            {
                return Some(Target::Item(found));
            }
        }
        // Made by a macro, for example.
        Some(Target::Item(here))
    }

    fn find(&self, module: &[String], path: &[String], hops: usize) -> Option<Target<'_>> {
        let (name, rest) = path.split_first()?;
        let (here, syntax) = self.modules.get_key_value(module)?;
        let below = [module, std::slice::from_ref(name)].concat();
        // A function may be called as its module is. The module is meant where a path goes on.
        if !rest.is_empty() && self.modules.contains_key(&below) {
            return self.walk(&below, rest, hops);
        }
        if syntax.definitions.contains(name) {
            return Some(Target::Item(here));
        }
        for import in syntax.imports.iter().filter(|import| import.name == *name) {
            let path = [&import.path, rest].concat();
            if let Some(found) = self.resolve_within(module, &path, hops) {
                return Some(found);
            }
        }
        if self.modules.contains_key(&below) {
            return self.walk(&below, rest, hops);
        }
        None
    }

    /// The sets of files that import each other, directly or through others of the set.
    pub fn circles(&self) -> BTreeSet<Vec<String>> {
        let edges = self.edges();
        let reached = edges.keys().map(|file| (*file, reached(&edges, file)));
        let reached: BTreeMap<_, _> = reached.collect();
        let circle = |file: &[String]| {
            let back = |other: &&&[String]| reached[**other].contains(file);
            let circle = reached[file].iter().filter(back);
            circle.map(|file| self.file(file)).collect::<Vec<_>>()
        };
        let circles = edges.keys().map(|file| circle(file));
        circles.filter(|circle| !circle.is_empty()).collect()
    }

    /// The imports inside a circle, one a line.
    fn imports_between(&self, circle: &[String]) -> String {
        let edges = self.edges();
        let in_circle = |file: &[String]| circle.contains(&self.file(file));
        let mut lines = Vec::new();
        for (file, imported) in edges.iter().filter(|(file, _)| in_circle(file)) {
            let imported = imported.iter().filter(|file| in_circle(file));
            let imported: Vec<_> = imported.map(|file| self.file(file)).collect();
            lines.push(format!("  {} <- {}", self.file(file), imported.join(" ")));
        }
        lines.join("\n")
    }

    fn file(&self, module: &[String]) -> String {
        format!("{}.rs", module.join("/"))
    }
}

/// The meaning of a path, and its file.
enum Target<'a> {
    Module(&'a [String]),
    Item(&'a [String]),
}

fn module_path(file: &str) -> Vec<String> {
    let parts = file.strip_suffix(".rs").unwrap_or(file).split('/');
    let parts = parts.map(str::to_owned).collect::<Vec<_>>();
    if parts == ["lib"] { Vec::new() } else { parts }
}

/// The files that one imports, directly or through others.
fn reached<'a>(
    edges: &BTreeMap<&'a [String], BTreeSet<&'a [String]>>,
    from: &[String],
) -> BTreeSet<&'a [String]> {
    let mut found = BTreeSet::new();
    let mut next: Vec<_> = edges[from].iter().copied().collect();
    while let Some(file) = next.pop() {
        if found.insert(file) {
            next.extend(&edges[file]);
        }
    }
    found
}

#[test]
fn no_file_imports_one_that_imports_it() {
    let sources = sources();
    let files = sources.iter().map(|source| (&*source.path, &*source.text));
    let tree = Crate::parse(files);
    let found = tree.circles();
    let listed = CIRCLES.iter().map(|(files, _)| files.to_vec());
    let listed: BTreeSet<Vec<&str>> = listed.collect();
    let is_listed = |circle: &Vec<String>| listed.iter().any(|listed| listed == circle);
    for circle in found.iter().filter(|circle| !is_listed(circle)) {
        eprintln!(
            "{} files import each other:\n  {circle:?}\nEach, and what it imports of them:\n{}\n",
            circle.len(),
            tree.imports_between(circle)
        );
    }
    let new = found.iter().filter(|circle| !is_listed(circle)).count();
    let gone = listed
        .iter()
        .filter(|listed| !found.iter().any(|circle| circle == *listed));
    let gone: Vec<_> = gone.collect();
    assert_eq!(new, 0, "circles that are not in CIRCLES, see above");
    assert!(gone.is_empty(), "CIRCLES lists what is none now: {gone:#?}");
    assert!(CIRCLES.iter().all(|(_, reason)| !reason.is_empty()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(files: &[(&str, &str)]) -> Vec<String> {
        let found = Crate::parse(files.iter().copied()).circles();
        found.iter().map(|circle| circle.join(" ")).collect()
    }

    #[test]
    fn a_circle_is_found_through_re_exports() {
        let parent = "mod page;\nmod routes;\npub(crate) use routes::Route;";
        let page = "use crate::catalog::{Route, self};\npub struct Page(Route);";
        let routes = "use super::page::{self as pages};\npub struct Route(pages::Page);";
        let files = [
            ("catalog.rs", parent),
            ("catalog/page.rs", page),
            ("catalog/routes.rs", routes),
        ];
        assert_eq!(circles(&files), ["catalog/page.rs catalog/routes.rs"]);
        // An import of a re-export is none of the file that re-exports it. Comments and tests
        // import nothing.
        let routes = "// use super::page::Page;\npub struct Route(&'static str);";
        let tests = "\n#[cfg(test)]\nmod tests {\n    use crate::catalog::page::Page;\n}";
        let routes = format!("{routes}{tests}");
        let files = [files[0], files[1], ("catalog/routes.rs", routes.as_str())];
        assert_eq!(circles(&files), [""; 0]);
    }

    #[test]
    fn a_parent_that_uses_what_is_below_is_in_a_circle_with_it() {
        let below = ("a/b.rs", "use super::Outer;\npub struct Inner;");
        let circle = ["a.rs a/b.rs"];
        for imports in [
            "use b::Inner;",
            "use self::b::{Inner as Other};",
            "fn f() { b::Inner }",
            "fn f() { crate::a::b::Inner }",
        ] {
            let parent = format!("mod b;\n{imports}\npub struct Outer;");
            assert_eq!(circles(&[("a.rs", &parent), below]), circle, "{imports}");
        }
        let parent = "mod b;\npub use b::Inner;\npub struct Outer;";
        assert_eq!(circles(&[("a.rs", parent), below]), [""; 0]);
    }

    #[test]
    fn rooms_are_looked_at_one_by_one() {
        let a = ("a.rs", "use crate::b::B;\npub struct A;");
        let b = ("b.rs", "use crate::a::A;\npub struct B;");
        let both = circles(&[a, b]);
        // Between rooms there is the table of layers.
        assert_eq!(both, [""; 0]);
    }
}
