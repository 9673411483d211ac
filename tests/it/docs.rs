//! The documentation is true: generated pages are up to date, links lead somewhere, configs are valid.
//!
//! `UPDATE_DOCS=1 cargo test --test it docs` writes the generated pages.

mod detectors;
mod metrics;
mod pages;
mod settings;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use pages::{Page, pages, root};

/// The first lines of every generated page.
const GENERATED: &str = "<!-- Generated: UPDATE_DOCS=1 cargo test --test it docs -->\n";

/// Most bytes of the README: it is a front door, and the rest is in `docs`.
const README_BYTES: usize = 10 * 1024;

/// Compares a generated page with its file, or writes the file if the environment says so.
#[allow(
    clippy::disallowed_methods,
    reason = "a test is asked by a variable to write what it would compare"
)]
fn assert_generated(name: &str, text: &str) {
    let path = root().join("docs/src/reference").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let differs = found
        .lines()
        .zip(text.lines())
        .find(|(old, new)| old != new);
    assert!(
        found == text,
        "docs/src/reference/{name} is out of date. Write it with `UPDATE_DOCS=1 cargo test --test it docs`. \
         The first lines that differ: {differs:#?}"
    );
}

#[test]
fn the_settings_page_says_what_the_schema_says() {
    assert_generated("settings.md", &settings::page());
}

#[test]
fn every_setting_is_on_the_settings_page() {
    let page = settings::page();
    let schema = weir::config::schema();
    let definitions = schema["definitions"].as_object().unwrap().values();
    for object in definitions.chain([&schema]) {
        for key in settings::keys(object) {
            let written = [format!("| `{key}` |"), format!("| `{{ {key}: … }}`")];
            assert!(written.iter().any(|text| page.contains(text)), "{key}");
        }
    }
}

/// Parses a config with one upstream and a setting, and returns everything that it came to be.
fn parsed(path: &str, value: &str) -> String {
    let (section, keys) = path.split_once('.').unwrap_or((path, ""));
    let nested = keys.rsplit('.').filter(|key| !key.is_empty());
    let setting = nested.fold(value.to_owned(), |inner, key| {
        format!("{{ {key}: {inner} }}")
    });
    let admin = if section == "admin" { "" } else { "admin: {}" };
    // A policy has files, records have one, and telemetry goes somewhere, whatever else is written of
    // them; a gateway in front has a name.
    let setting = match section {
        "policy" => setting.replacen('{', "{ files: [src/config/tests/policies/a.cedar],", 1),
        "audit" => setting.replacen('{', "{ file: weir.jsonl,", 1),
        "telemetry" => setting.replacen('{', "{ endpoint: \"http://127.0.0.1:4318\",", 1),
        "on_publish" => setting.replacen(
            "synchronize: {",
            "synchronize: { gateway: gw-ab12cdef34, target: weir,",
            1,
        ),
        "replicas" if keys.starts_with("store.") => {
            setting.replacen("store: {", "store: { url: \"rediss://store\",", 1)
        }
        "replicas" => setting.replacen('{', "{ store: { url: \"rediss://store\" },", 1),
        _ => setting,
    };
    let shared = match section {
        "replicas" => "instance: a\nsealing_key: { value: 0123456789-0123456789-0123456789 }\n",
        _ => "",
    };
    let upstreams = "upstreams: { a: { url: \"https://a.example.com/mcp\" } }";
    let text = format!("{upstreams}\n{section}: {setting}\n{admin}\n{shared}");
    let config = weir::config::parse(&text, &config_path(), &|_| None);
    let config = config.unwrap_or_else(|errors| panic!("{text}: {errors}"));
    // A digest of what is written says that something is written.
    let digest = Regex::new(r"fingerprint: \S+").unwrap();
    digest.replace_all(&format!("{config:?}"), "").into_owned()
}

/// The path of a config beside the sources.
fn config_path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("weir.yaml")
}

#[test]
fn every_default_that_is_documented_is_true() {
    let defaults = settings::defaults();
    assert!(
        defaults.len() >= 20,
        "descriptions name a default as \"by default 3s\": {defaults:#?}"
    );
    let nothing = parsed("version", "1");
    let sections = [
        "policy",
        "audit",
        "telemetry",
        "on_publish.synchronize",
        "replicas",
    ];
    let [no_policy, no_audit, no_telemetry, no_front, no_replicas] =
        sections.map(|section| parsed(section, "{ }"));
    // Lines on stdout are written as soon as their key is there.
    let lines = parsed("telemetry.emf", "{ }");
    // A login has a `type`, which says what else it has.
    let is_whole = |(path, _): &(String, String)| !path.starts_with("telemetry.auth.");
    for (path, default) in defaults.into_iter().filter(is_whole) {
        let is_bare = default.parse::<f64>().is_ok()
            || default.starts_with('[')
            || ["true", "false"].contains(&default.as_str());
        let value = if is_bare {
            default
        } else {
            format!("{default:?}")
        };
        let expected = match path.split('.').next() {
            Some("policy") => &no_policy,
            Some("audit") => &no_audit,
            Some("telemetry") if path.starts_with("telemetry.emf.") => &lines,
            Some("telemetry") => &no_telemetry,
            Some("on_publish") => &no_front,
            Some("replicas") => &no_replicas,
            _ => &nothing,
        };
        assert_eq!(parsed(&path, &value), *expected, "{path}: {value}");
    }
}

#[test]
fn every_variable_that_children_inherit_is_named() {
    let page = fs::read_to_string(root().join("docs/src/configuration.md")).unwrap();
    for entry in weir::config::InheritEnv::usual() {
        assert!(page.contains(&format!("`{entry}`")), "{entry}");
    }
}

#[test]
fn the_metrics_page_has_every_metric() {
    assert_generated("metrics.md", &metrics::page());
}

#[test]
fn the_page_of_detectors_says_how_good_they_are() {
    assert_generated("detectors.md", &detectors::page());
}

#[test]
fn every_class_that_is_found_in_text_has_cases_and_no_checksum_is_missed() {
    let scores = detectors::scores();
    for class in weir::classes::Class::all().filter(weir::classes::Class::is_detected) {
        let score = scores.get(class.name());
        let score = score.unwrap_or_else(|| panic!("{class} has no cases"));
        let (precision, recall) = (score.precision(), score.recall());
        let is_good = |share: Option<f64>| share.is_none_or(|share| share >= 0.85);
        assert!(is_good(recall), "{class}: {score:?}");
        let is_checked = weir::guard::detectors::has_checksum(&class);
        assert!(!is_checked || is_good(precision), "{class}: {score:?}");
    }
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let mut wrong = Vec::new();
    for page in &pages {
        for link in page.links() {
            if let Err(why) = resolve(page, &link, &pages) {
                wrong.push(format!("{}: ({link}): {why}", page.name()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Checks that the file of a link is there, and its anchor in that file.
fn resolve(page: &Page, link: &str, pages: &[Page]) -> Result<(), String> {
    if link.starts_with("https://") || link.starts_with("http://") {
        return Ok(());
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let folder = page.path.parent().unwrap();
    let target = match file {
        "" => page.path.clone(),
        file => pages::clean(&folder.join(file)),
    };
    if !target.exists() {
        return Err("there is no such file".to_owned());
    }
    let book = root().join("docs/src");
    if page.path.starts_with(&book) && !target.starts_with(&book) {
        return Err("the book has no such page: name the file instead of linking it".to_owned());
    }
    if anchor.is_empty() {
        return Ok(());
    }
    let Some(target) = pages.iter().find(|page| page.path == target) else {
        return Err("an anchor into a file that is no page".to_owned());
    };
    let found = target.anchors().iter().any(|found| found == anchor);
    found
        .then_some(())
        .ok_or("there is no such heading".to_owned())
}

#[test]
fn every_page_is_in_the_summary() {
    let book = root().join("docs/src");
    let summary = Page::read(book.join("SUMMARY.md"));
    let linked: Vec<PathBuf> = summary.links().iter().map(|link| book.join(link)).collect();
    for page in pages() {
        let is_in_book = page.path.starts_with(&book) && page.path != summary.path;
        assert!(
            !is_in_book || linked.contains(&page.path),
            "{}",
            page.name()
        );
    }
}

#[test]
fn the_readme_is_short() {
    let readme = fs::read(root().join("README.md")).unwrap();
    assert!(readme.len() <= README_BYTES, "{} bytes", readme.len());
}

#[test]
fn every_config_that_is_shown_is_valid() {
    let mut count = 0;
    for page in pages() {
        for (line, text) in page.blocks("yaml") {
            if !text.lines().any(|line| line == "version: 1") {
                continue;
            }
            count += 1;
            let file = Path::new("/nonexistent/weir.yaml");
            let config = weir::config::parse(&text, file, &|name| {
                let is_named = !weir::config::is_standard_variable(name);
                is_named.then(|| "t0ken".to_owned())
            });
            if let Err(errors) = config {
                panic!("{}:{line}: {errors}", page.name());
            }
        }
    }
    assert!(count >= 8, "only {count} configs were found");
}

#[test]
fn every_file_that_is_named_is_there() {
    let mut missing = Vec::new();
    for page in pages() {
        for name in page.file_names() {
            // ARCHITECTURE.md names files as seen from `src`.
            if !root().join(&name).exists() && !root().join("src").join(&name).exists() {
                missing.push(format!("{}: {name}", page.name()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_test_that_the_readme_names_is_there() {
    let readme = Page::read(root().join("README.md"));
    let tests = readme.test_names();
    assert!(tests.len() >= 5, "{tests:?}");
    for (file, test) in tests {
        let path = root().join("tests/it").join(&file).with_extension("rs");
        let text = fs::read_to_string(&path).unwrap_or_default();
        assert!(text.contains(&format!("fn {test}()")), "{file}::{test}");
    }
}

/// The justfile is for single steps, `tests/run` for all of them: no step is in one only.
#[test]
fn every_step_of_the_tests_can_be_run_alone() {
    let run = fs::read_to_string(root().join("tests/run")).unwrap();
    let justfile = fs::read_to_string(root().join("justfile")).unwrap();
    let commands = Regex::new(r#"(?m)(?:RUSTDOCFLAGS="-D warnings" )?(?:cargo (?:fmt|clippy|test|doc|deny --locked)|tests/\w+/run|mdbook build) [^|$\n]*"#).unwrap();
    let commands: BTreeSet<_> = commands
        .find_iter(&run)
        .map(|found| {
            let command = found.as_str().split(" --weir ").next().unwrap();
            let command = command.split(" 2>").next().unwrap();
            command.trim_end_matches("; then").trim_end()
        })
        .collect();
    assert!(commands.len() >= 12, "{commands:#?}");
    for command in commands {
        // Whether a tool is installed, and the second try, are no steps.
        let is_step = !command.ends_with("--version >/dev/null") && !command.contains("--exact");
        assert!(!is_step || justfile.contains(command), "{command}");
    }
}

#[test]
fn the_checks_of_pages_find_what_is_wrong() {
    let page = Page {
        path: root().join("docs/src/drift.md"),
        text: "# One\n\n## Two `x`, three\n## One\n\n[a](#two-x-three) [b](chains.md#nowhere) [c](no.md) [d](../../README.md)\n\
               `[no](link)` see `src/no.rs` and tests/it/house.rs.\n\n```yaml\n# not a heading\nversion: 1\n```\n"
            .to_owned(),
    };
    assert_eq!(page.anchors(), ["one", "two-x-three", "one-1"]);
    assert_eq!(
        page.links(),
        [
            "#two-x-three",
            "chains.md#nowhere",
            "no.md",
            "../../README.md"
        ]
    );
    assert_eq!(page.file_names(), ["src/no.rs", "tests/it/house.rs"]);
    assert_eq!(
        page.blocks("yaml"),
        [(10, "# not a heading\nversion: 1\n".to_owned())]
    );
    let mut all = pages();
    all.retain(|other| other.path != page.path);
    all.push(page);
    let page = all.last().unwrap();
    let wrong: Vec<_> = page.links();
    let wrong: Vec<_> = wrong
        .iter()
        .map(|link| resolve(page, link, &all).is_ok())
        .collect();
    assert_eq!(wrong, [true, false, false, false]);
}
