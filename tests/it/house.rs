//! Rules for the source as a whole, so that no reviewer has to remember them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

mod bounds;
mod circles;
mod homonyms;
mod permits;
mod prose;
mod syntax;

/// The modules from the ground up. A module uses those of earlier lines, never its own line or a later one.
const LAYERS: &[&[&str]] = &[
    &[
        "allowance",
        "build_info",
        "classes",
        "document",
        "json",
        "hex",
        "large",
        "latest",
        "lookups",
        "recent",
        "memory",
        "name",
        "pem",
        "printable",
        "seal",
        "secret",
    ],
    &["caller", "files", "sigv4"],
    &["config", "protocol"],
    &["bridge", "catalog", "telemetry"],
    &["durable", "metrics", "policy", "processes", "replicas"],
    &["guard"],
    &["audit", "limits"],
    &["record"],
    &["tls"],
    &["credentials"],
    &["authentication", "exporter", "upstream"],
    &["hooks"],
    &["connector", "live"],
    &["session"],
    &["relay"],
    &["admin", "connections", "front"],
    &["page"],
    &["server"],
    &["import"],
    &["cli"],
];

/// Most lines of a file without its tests.
const LINES: usize = 450;

/// Files that are longer all the same, and how long they may be. To be split, not to be added to.
const LONGER: &[(&str, usize)] = &[];

/// A file of `src`: its path there, with `/`, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The module at the top of the crate that the file belongs to.
    fn module(&self) -> &str {
        let top = self.path.split('/').next().unwrap();
        top.strip_suffix(".rs").unwrap_or(top)
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs")
    }

    /// Every line but for comments.
    fn code(&self) -> impl Iterator<Item = &str> {
        let lines = self.text.lines();
        lines.map(|line| line.split_once("//").map_or(line, |(code, _)| code))
    }

    /// Counts the lines before the tests at the end.
    fn length(&self) -> usize {
        let tests = self.text.find("\n#[cfg(test)]\nmod tests {");
        self.text[..tests.unwrap_or(self.text.len())]
            .lines()
            .count()
    }

    /// The other modules whose paths occur in the code.
    fn uses(&self) -> BTreeSet<&str> {
        self.code()
            .flat_map(|line| line.split("crate::").skip(1))
            .map(first_word)
            .filter(|module| *module != self.module())
            .collect()
    }
}

fn first_word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    &text[..end.unwrap_or(text.len())]
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let source = |path: PathBuf| {
        let parts = path.strip_prefix(&root).unwrap().iter();
        let parts: Vec<_> = parts.map(|part| part.to_str().unwrap()).collect();
        let text = fs::read_to_string(&path).unwrap();
        let path = parts.join("/");
        Source { path, text }
    };
    let mut found: Vec<_> = files_below(&root).into_iter().map(source).collect();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Returns all files of Rust code in a folder and below it.
fn files_below(root: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The files whose code has this text in it.
fn files_with(text: &str) -> Vec<String> {
    let has = |source: &Source| source.code().any(|line| line.contains(text));
    let found = sources().into_iter().filter(has);
    found.map(|source| source.path).collect()
}

#[test]
fn a_module_uses_only_layers_below_its_own() {
    let layers = LAYERS.iter().zip(0..);
    let layer_of: BTreeMap<&str, usize> = layers
        .flat_map(|(modules, layer)| modules.iter().map(move |module| (*module, layer)))
        .collect();
    let sources = sources();
    let inside = |source: &&Source| !matches!(source.module(), "lib" | "main");
    let mut wrong = Vec::new();
    for source in sources.iter().filter(inside) {
        let own = layer_of.get(source.module());
        let own = own.unwrap_or_else(|| panic!("{} has no place in LAYERS", source.path));
        for module in source.uses() {
            let layer = layer_of.get(module);
            let layer = layer.unwrap_or_else(|| panic!("{} uses crate::{module}", source.path));
            if layer >= own {
                wrong.push(format!("{} uses {module}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let modules: BTreeSet<&str> = sources.iter().filter(inside).map(Source::module).collect();
    assert!(modules.iter().eq(layer_of.keys()), "{modules:?}");
}

#[test]
fn a_file_is_short_enough_to_be_read() {
    let limit = |source: &Source| {
        let longer = LONGER.iter().find(|(path, _)| *path == source.path);
        longer.map_or(LINES, |(_, lines)| *lines)
    };
    let long = |source: &&Source| !source.is_test() && source.length() > limit(source);
    let line = |source: &Source| format!("{}: {} lines", source.path, source.length());
    let sources = sources();
    let long: Vec<_> = sources.iter().filter(long).map(line).collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn a_module_with_parts_is_a_file_beside_a_folder() {
    let old = |source: &Source| source.path.ends_with("mod.rs");
    assert_eq!(sources().iter().filter(|source| old(source)).count(), 0);
}

#[test]
fn the_environment_is_read_in_one_place() {
    assert_eq!(files_with("env::var("), ["config/load.rs"]);
    assert!(files_with("env::var_os(").is_empty());
    // The environment that a child process inherits.
    let all = [files_with("env::vars("), files_with("env::vars_os(")].concat();
    let all: BTreeSet<_> = all.iter().map(String::as_str).collect();
    assert_eq!(
        all,
        ["upstream/stdio/spec.rs", "upstream/stdio/tests.rs"].into()
    );
}

#[test]
fn one_file_knows_the_scheduler() {
    assert_eq!(files_with("tokio_cron_scheduler::"), ["live/schedule.rs"]);
}

#[test]
fn there_is_one_arc_swap_for_all_that_callers_see() {
    // A token is nothing that callers see: it is replaced under their calls. Nor is the way they are
    // authenticated, which comes before all that is decided by a snapshot.
    assert_eq!(
        files_with("arc_swap::"),
        [
            "authentication/current.rs",
            "credentials/token_source.rs",
            "live.rs"
        ]
    );
    let sources = sources();
    let live = sources.iter().find(|source| source.path == "live.rs");
    let fields = live
        .unwrap()
        .code()
        .filter(|line| line.contains(": ArcSwap<"));
    assert_eq!(fields.count(), 1);
}

#[test]
fn the_typed_model_is_in_the_demo_only() {
    let files = files_with("rmcp::");
    assert!(!files.is_empty());
    // Logging in has nothing to do with the model.
    let auth = files_with("rmcp::transport::auth::");
    let auth: BTreeSet<_> = auth.iter().map(String::as_str).collect();
    assert_eq!(
        auth,
        [
            "credentials/oauth/authorization_server.rs",
            "credentials/oauth/login_http.rs"
        ]
        .into()
    );
    let outside = |file: &&String| !file.starts_with("cli/demo/") && !auth.contains(file.as_str());
    let outside: Vec<_> = files.iter().filter(outside).collect();
    assert!(outside.is_empty(), "{outside:?}");
    for file in auth {
        let sources = sources();
        let source = sources.iter().find(|source| source.path == file).unwrap();
        let other =
            |line: &&str| line.contains("rmcp::") && !line.contains("rmcp::transport::auth::");
        assert_eq!(source.code().find(other), None, "{file}");
    }
}

#[test]
fn the_image_starts_with_a_config_that_is_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dockerfile = fs::read_to_string(root.join("Dockerfile")).unwrap();
    let has = |line: &str| assert!(dockerfile.contains(line), "no `{line}` in the Dockerfile");
    let path = "config/docker/weir.yaml";
    has(&format!("COPY {path} /etc/weir/weir.yaml\n"));
    // No environment: the image starts as it is.
    let config = weir::config::load(&root.join(path), &|_| None).unwrap();
    has(&format!("EXPOSE {}\n", config.listen.address.port()));
    has(&format!(
        "/dev/tcp/127.0.0.1/{}",
        config.listen.address.port()
    ));
    assert!(config.listen.address.ip().is_unspecified());
    let state = config.state_dir.unwrap();
    has(&format!("-g 10001 -m 700 {} ", state.display()));
}
