//! Commands that were run, as the same text every time.

use std::ffi::OsStr;
use std::path::Path;

use super::weir::Process;

/// The outcome of a command.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs `weir` with these arguments.
pub async fn weir<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    let (status, out, err) = Process::start(args).wait_exit().await;
    Ran {
        code: status.code(),
        out,
        err,
    }
}

impl Ran {
    /// Without what differs from run to run: the folder, ports, ages.
    pub fn told(&self, home: &Path) -> String {
        let mut text = format!("exit {}\n{}", self.code.unwrap(), self.out);
        if !self.err.is_empty() {
            text.push_str(&format!("stderr:\n{}", self.err));
        }
        let text = text.replace(home.to_str().unwrap(), "HOME");
        let text = without(&text, "127.0.0.1:", "PORT");
        without(&text, "listed ", "SOME")
    }
}

/// With a word in place of the digits behind another.
fn without(text: &str, before: &str, word: &str) -> String {
    let mut pieces = text.split(before);
    let first = pieces.next().unwrap().to_owned();
    pieces.fold(first, |text, piece| {
        let rest = piece.trim_start_matches(|c: char| c.is_ascii_digit());
        let word = if rest.len() < piece.len() { word } else { "" };
        format!("{text}{before}{word}{rest}")
    })
}
