//! The facts that weir says of its build, and how the build script finds it.

use std::fs;
use std::path::Path;

use crate::support::weir::Process;

#[allow(
    dead_code,
    unreachable_pub,
    reason = "the build script itself, as a module: its `main` is not called"
)]
#[path = "../../build.rs"]
mod script;

const HASH: &str = "0123456789abcdef0123456789abcdef01234567";

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn checked_out(root: &Path) -> Option<String> {
    let mut read = Vec::new();
    let found = script::checked_out_commit(root, &mut read);
    // Cargo builds anew each time where a file that it is to watch is missing.
    assert_eq!(read.iter().find(|path| !path.exists()), None);
    found
}

#[tokio::test]
async fn weir_says_what_it_was_built_from_line_by_line() {
    let (status, out, err) = Process::start(["--version"]).wait_exit().await;
    assert!(status.success(), "{err}");
    let (first, rest) = out.split_once('\n').unwrap();
    assert_eq!(first, concat!("weir ", env!("CARGO_PKG_VERSION")));
    let facts: Vec<_> = rest
        .lines()
        .map(|line| line.split_once(':').unwrap())
        .collect();
    let names: Vec<_> = facts.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["commit", "date", "profile", "target", "rustc"]);
    assert!(
        facts.iter().all(|(_, value)| !value.trim().is_empty()),
        "{out}"
    );
    let target = facts
        .iter()
        .find(|(name, _)| *name == "target")
        .unwrap()
        .1
        .trim();
    assert!(target.contains(std::env::consts::ARCH), "{target}");
    let (_, short, _) = Process::start(["-V"]).wait_exit().await;
    assert_eq!(short.trim_end(), first);
}

#[test]
fn the_commit_is_the_one_that_is_checked_out_and_needs_no_git() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path();
    assert_eq!(checked_out(root), None, "no repository");
    write(root, ".git/HEAD", &format!("{HASH}\n"));
    assert_eq!(checked_out(root).as_deref(), Some(HASH), "no branch");
    write(root, ".git/HEAD", "ref: refs/heads/work\n");
    assert_eq!(checked_out(root), None, "a branch without a commit");
    let packed = format!(
        "# pack-refs with: peeled\n{} refs/heads/other\n{HASH} refs/heads/work\n",
        "f".repeat(40)
    );
    write(root, ".git/packed-refs", &packed);
    assert_eq!(checked_out(root).as_deref(), Some(HASH), "packed");
    let newer = "e".repeat(40);
    write(root, ".git/refs/heads/work", &format!("{newer}\n"));
    assert_eq!(checked_out(root), Some(newer), "a file of its own wins");
    write(root, ".git/HEAD", "ref: refs/heads/../../../etc/passwd\n");
    assert_eq!(checked_out(root), None);
    // A worktree: `.git` is a file, and branches are with the repository.
    let tree = tempfile::tempdir().unwrap();
    let folder = root.join(".git/worktrees/tree");
    write(root, ".git/worktrees/tree/HEAD", "ref: refs/heads/tree\n");
    write(root, ".git/worktrees/tree/commondir", "../..\n");
    write(root, ".git/refs/heads/tree", &format!("{HASH}\n"));
    write(
        tree.path(),
        ".git",
        &format!("gitdir: {}\n", folder.display()),
    );
    assert_eq!(
        checked_out(tree.path()).as_deref(),
        Some(HASH),
        "a worktree"
    );
}

#[test]
fn a_packed_crate_names_the_commit_that_it_was_packed_from() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(script::packaged_commit(home.path()), None);
    let info = |git: &str| {
        let text = format!("{{\n  \"git\": {{\n    {git}\n  }},\n  \"path_in_vcs\": \"\"\n}}");
        write(home.path(), ".cargo_vcs_info.json", &text);
        script::packaged_commit(home.path())
    };
    assert_eq!(
        info(&format!("\"sha1\": \"{HASH}\"")).as_deref(),
        Some(HASH)
    );
    let changed = info(&format!("\"sha1\": \"{HASH}\",\n    \"dirty\": true"));
    assert_eq!(changed, Some(format!("{HASH}-changed")));
    assert_eq!(info("\"sha1\": \"no hash\""), None);
}

#[test]
fn the_date_is_that_of_the_source_and_no_clock_is_asked() {
    let date = |seconds: &str| script::date(seconds);
    assert_eq!(date("0").as_deref(), Some("1970-01-01"));
    assert_eq!(date("951782399").as_deref(), Some("2000-02-28"));
    assert_eq!(date("951782400").as_deref(), Some("2000-02-29"));
    assert_eq!(date("1796083199").as_deref(), Some("2026-11-30"));
    assert_eq!(date("4107542400").as_deref(), Some("2100-03-01"));
    for wrong in ["", "-1", "now", "99999999999999999999", "999999999999999"] {
        assert_eq!(date(wrong), None, "{wrong}");
    }
}

#[test]
fn the_profile_is_the_folder_that_cargo_builds_in() {
    let of = script::profile;
    assert_eq!(of("/x/target/dist/build/mcp-weir-1f/out"), "dist");
    assert_eq!(
        of("/x/build/target/aarch64-unknown-linux-gnu/release/build/mcp-weir-1f/out"),
        "release"
    );
    assert_eq!(of(""), "unknown");
}

#[test]
fn names_that_would_need_quotes_are_not_taken() {
    assert_eq!(script::label(" v1.2-rc_3\n").as_deref(), Some("v1.2-rc_3"));
    for wrong in ["", "a b", "a\"", "a\nb", &"a".repeat(65)] {
        assert_eq!(script::label(wrong), None, "{wrong}");
    }
}
