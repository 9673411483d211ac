//! Markdown, as far as the checks need it: links, headings, code blocks, names of files.

use std::fs;
use std::path::{Component, Path, PathBuf};

use regex::Regex;

/// One file of Markdown.
pub struct Page {
    pub path: PathBuf,
    pub text: String,
}

/// The folder of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Removes `.` and `..` from a path.
pub fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => clean.push(part),
        }
    }
    clean
}

/// Reads every page that people are pointed at: those at the top of the repository, and the book.
pub fn pages() -> Vec<Page> {
    let mut paths: Vec<_> = [
        "README",
        "ARCHITECTURE",
        "CHANGELOG",
        "CONTRIBUTING",
        "SECURITY",
    ]
    .map(|name| root().join(name).with_extension("md"))
    .into_iter()
    .filter(|path| path.exists())
    .collect();
    let mut folders = vec![root().join("docs/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths.into_iter().map(Page::read).collect()
}

impl Page {
    pub fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap();
        Self { path, text }
    }

    /// Returns the path inside of the repository.
    pub fn name(&self) -> String {
        let path = self.path.strip_prefix(root()).unwrap_or(&self.path);
        path.display().to_string()
    }

    /// Returns the lines outside of code blocks.
    fn prose(&self) -> impl Iterator<Item = &str> {
        let mut is_code = false;
        self.text.lines().filter(move |line| {
            let is_fence = line.trim_start().starts_with("```");
            is_code ^= is_fence;
            !is_code && !is_fence
        })
    }

    /// Returns the code blocks of one language, each with the number of its first line.
    pub fn blocks(&self, language: &str) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        let mut open: Option<(bool, usize, String)> = None;
        for (index, line) in self.text.lines().enumerate() {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(name), None) => open = Some((name == language, index + 2, String::new())),
                (Some(_), Some(_)) => {
                    let block = open.take().filter(|(wanted, ..)| *wanted);
                    found.extend(block.map(|(_, line, text)| (line, text)));
                }
                (None, Some((_, _, text))) => {
                    text.push_str(line);
                    text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a code block does not end", self.name());
        found
    }

    /// Returns where the links go, without those in code.
    pub fn links(&self) -> Vec<String> {
        let code = Regex::new("`[^`]*`").unwrap();
        let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
        let text: Vec<_> = self.prose().collect();
        let text = text.join("\n");
        let text = code.replace_all(&text, "code");
        link.captures_iter(&text)
            .map(|found| found[1].to_owned())
            .collect()
    }

    /// Returns the anchors of the headings, as GitHub and mdBook make them.
    pub fn anchors(&self) -> Vec<String> {
        let mut anchors: Vec<String> = Vec::new();
        for line in self.prose() {
            let text = line.trim_start_matches('#');
            if text.len() == line.len() || !text.starts_with(' ') {
                continue;
            }
            let wanted = |c: &char| c.is_alphanumeric() || ['-', '_', ' '].contains(c);
            let anchor = text.trim().chars().filter(wanted).collect::<String>();
            let anchor = anchor.to_lowercase().replace(' ', "-");
            let twice = anchors
                .iter()
                .filter(|other| is_numbered(other, &anchor))
                .count();
            anchors.push(match twice {
                0 => anchor,
                number => format!("{anchor}-{number}"),
            });
        }
        anchors
    }

    /// Returns the names of files of the repository that occur in the text, in code blocks too.
    pub fn file_names(&self) -> Vec<String> {
        let name = Regex::new(
            r"(?:^|[\s(`,])((?:src|tests|config|benches|docs|fuzz|\.github|\.ci)/[A-Za-z0-9_./-]*[A-Za-z0-9_])",
        )
        .unwrap();
        let found = name.captures_iter(&self.text);
        found.map(|found| found[1].to_owned()).collect()
    }

    /// Returns the tests that are named as `file::test`.
    pub fn test_names(&self) -> Vec<(String, String)> {
        let name = Regex::new("`([a-z_]+)::([a-z_]+)`").unwrap();
        let found = name.captures_iter(&self.text);
        found
            .map(|found| (found[1].to_owned(), found[2].to_owned()))
            .collect()
    }
}

/// Whether an anchor is `anchor`, or `anchor` with a number behind it.
fn is_numbered(other: &str, anchor: &str) -> bool {
    let rest = other.strip_prefix(anchor);
    rest.is_some_and(|rest| {
        let number = rest.strip_prefix('-').unwrap_or(rest);
        rest.is_empty() || (number != rest && number.chars().all(|c| c.is_ascii_digit()))
    })
}
