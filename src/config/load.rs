//! Files → [`Config`].

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::error::{Defect, Problem};
use super::source;
use super::validate::{Read, validate};
use super::{Config, ConfigErrors, raw};

/// The folder beside the config whose `*.yaml`, `*.yml` and `*.json` files add upstreams.
const FRAGMENTS: &str = "upstreams.d";
/// Enough of a file to see that it is too large.
const MAX_BYTES: u64 = (1 << 20) + 1;

/// Reads a config: the file, and every `upstreams.d/*.yaml|*.yml|*.json` beside it, by file name.
///
/// A file of `upstreams.d` has the key `upstreams` (or `mcpServers`) and no other; `defaults` of the main file
/// hold there too. Paths are relative to the file that names them. Secrets are fetched: variables from `env`,
/// files from the disk.
///
/// # Errors
/// Everything that is wrong, in all files.
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigErrors> {
    let mut problems = Vec::new();
    let text =
        text_of(path).map_err(|error| ConfigErrors::new(vec![unreadable(path, 0, error)]))?;
    let (raw, source) = source::read::<raw::File>(&text, path, 0, &mut problems);
    let main = Read { raw, source };
    let mut fragments = Vec::new();
    for (index, path) in fragment_files(path, &mut problems).iter().enumerate() {
        let order = index + 1;
        match text_of(path) {
            Ok(text) => {
                let (raw, source) =
                    source::read::<raw::Fragment>(&text, path, order, &mut problems);
                fragments.push(Read { raw, source });
            }
            Err(error) => problems.push(unreadable(path, order, error)),
        }
    }
    validate(main, fragments, env, problems)
}

/// Reads a config from one text, as if it stood in `file`: paths are relative to its folder.
///
/// # Errors
/// Everything that is wrong.
pub fn parse(
    text: &str,
    file: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigErrors> {
    let mut problems = Vec::new();
    let (raw, source) = source::read::<raw::File>(text, file, 0, &mut problems);
    validate(Read { raw, source }, Vec::new(), env, problems)
}

/// The process's environment variable: what `env` is outside of tests. Empty is not unset.
#[must_use]
#[allow(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the environment"
)]
pub fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn text_of(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(MAX_BYTES)
        .read_to_string(&mut text)?;
    Ok(text)
}

fn unreadable(path: &Path, order: usize, source: std::io::Error) -> Problem {
    Problem {
        file: path.to_owned(),
        order,
        at: None,
        path: String::new(),
        defect: Defect::Unreadable { source },
    }
}

/// The files of `upstreams.d`, if there is one, sorted. Dot files are no config: Kubernetes and editors leave some.
fn fragment_files(main: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let folder = main.with_file_name(FRAGMENTS);
    let listed = std::fs::read_dir(&folder).and_then(|entries| {
        entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()
    });
    let mut files = match listed {
        Ok(files) => files,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            problems.push(unreadable(&folder, 1, error));
            Vec::new()
        }
    };
    files.retain(|path| is_config(path));
    files.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    files
}

fn is_config(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let extension = path.extension().and_then(|extension| extension.to_str());
    !name.starts_with('.') && matches!(extension, Some("yaml" | "yml" | "json"))
}
