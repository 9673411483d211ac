//! The files of the crate, as crates.io gets it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Folders and files that belong into the crate; cargo adds the last ones.
const WANTED: [&str; 11] = [
    "src",
    "config",
    "build.rs",
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "Cargo.toml",
    "Cargo.lock",
    "Cargo.toml.orig",
    ".cargo_vcs_info.json",
    ".cargo-ok",
];

fn packaged() -> BTreeSet<String> {
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let told = Command::new(cargo)
        .args(["package", "--list", "--allow-dirty", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success(), "{err}");
    let listed = String::from_utf8(told.stdout).unwrap();
    listed.lines().map(|line| line.replace('\\', "/")).collect()
}

/// The files that a source file includes, by their path from the crate's folder.
fn included(path: &str, text: &str) -> Vec<String> {
    let folder = Path::new(path).parent().unwrap();
    let parts = text
        .split("include_str!(\"")
        .skip(1)
        .chain(text.split("include_bytes!(\"").skip(1));
    let names = parts.filter_map(|rest| rest.split('"').next());
    names
        .map(|name| {
            let mut found = folder.to_path_buf();
            for part in Path::new(name).iter() {
                match part.to_str().unwrap() {
                    ".." => assert!(found.pop(), "{path}: {name}"),
                    part => found.push(part),
                }
            }
            found.to_string_lossy().into_owned()
        })
        .collect()
}

#[test]
fn the_crate_has_what_it_is_built_from_and_nothing_else() {
    let files = packaged();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_wanted = |file: &String| WANTED.contains(&file.split('/').next().unwrap());
    let needless: Vec<_> = files.iter().filter(|file| !is_wanted(file)).collect();
    assert_eq!(needless, Vec::<&String>::new());
    for needed in [
        "build.rs",
        "src/main.rs",
        "src/lib.rs",
        "Cargo.lock",
        "LICENSE",
        "README.md",
    ] {
        assert!(files.contains(needed), "no {needed}");
    }
    // Keys of unit tests are worth nothing.
    let outside = |file: &&String| !file.contains("/tests/");
    let secrets = [".key", ".pem", ".token", ".env", ".state"];
    let mut all = files.iter().filter(outside);
    let secret = all.find(|file| secrets.iter().any(|end| file.ends_with(end)));
    assert_eq!(secret, None);
    let size: u64 = files
        .iter()
        .filter_map(|file| root.join(file).metadata().ok())
        .map(|metadata| metadata.len())
        .sum();
    // crates.io takes 10 MB, packed.
    assert!(size < 12 * 1024 * 1024, "{size} bytes");
    let mut looked_at = 0;
    for file in files
        .iter()
        .filter(|file| file.ends_with(".rs") && !file.ends_with("tests.rs"))
    {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        for included in included(file, &text) {
            assert!(
                files.contains(&included),
                "{file} includes {included}, which is not packed"
            );
            looked_at += 1;
        }
    }
    assert!(looked_at > 3, "{looked_at}");
}
