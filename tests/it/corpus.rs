//! The corpus of the fuzz targets, on a stable compiler: every file of `fuzz/corpus` under the
//! checks of its target.

mod config;
mod credential;
mod detectors;
mod envelope;
mod interceptor;
mod json;
mod listing;
mod pseudonyms;
mod sse;
mod strings;

use std::fs;
use std::path::Path;

#[allow(
    clippy::print_stdout,
    reason = "shown only of a check that fails: which file it was"
)]
fn run(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut files = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        // Printed only if the check fails.
        eprintln!("{}", path.display());
        check(&fs::read(&path).unwrap());
        files += 1;
    }
    assert!(files > 10, "{} has {files} files", folder.display());
}

#[test]
fn objects_keep_their_laws() {
    run("json", json::check);
}

#[test]
fn envelopes_keep_their_laws() {
    run("envelope", envelope::check);
}

#[test]
fn event_streams_keep_their_laws() {
    run("sse", sse::check);
}

#[test]
fn configs_keep_their_laws() {
    run("config", config::check);
}

#[test]
fn listings_keep_their_laws() {
    run("listing", listing::check);
}

#[test]
fn credentials_keep_their_laws() {
    run("credential", credential::check);
}

#[test]
fn detectors_keep_their_laws() {
    run("detectors", detectors::check);
}

#[test]
fn pseudonyms_keep_their_laws() {
    run("pseudonyms", pseudonyms::check);
}

#[test]
fn edited_strings_keep_their_laws() {
    run("strings", strings::check);
}

#[test]
fn answers_of_hooks_keep_their_laws() {
    run("interceptor", interceptor::check);
}
