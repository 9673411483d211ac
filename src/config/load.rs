//! Files → [`Config`].

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};

use super::error::{Problem, ProblemKind};
use super::policy::{MAX_FILES, find_files};
use super::secrets;
use super::source;
use super::validate::{ParsedFile, validate};
use super::{Config, ConfigErrors, raw};

/// The folder beside the config whose `*.yaml`, `*.yml` and `*.json` files add upstreams.
const FRAGMENTS: &str = "upstreams.d";
/// One byte more than a file may have.
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
    ConfigFiles::read(path).config(env)
}

/// The files of a config as they were read, valid or not.
pub struct ConfigFiles {
    main: PathBuf,
    text: io::Result<String>,
    /// The error of reading `upstreams.d`, if it exists and cannot be read.
    folder: Option<(PathBuf, io::Error)>,
    fragments: Vec<(PathBuf, io::Result<String>)>,
    /// The files of `policy`. Their texts are in the digest; validation reads them again.
    policies: Vec<(PathBuf, io::Result<String>)>,
}

/// A digest of the names and texts of all files of a config, to see whether any of them has
/// changed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TextDigest([u8; 32]);

impl fmt::Debug for TextDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // There may be secrets in the texts.
        f.write_str("TextDigest(…)")
    }
}

impl ConfigFiles {
    /// Reads the files.
    #[must_use]
    pub fn read(main: &Path) -> Self {
        let (paths, folder) = match fragments(main) {
            Ok(paths) => (paths, None),
            Err(error) => (Vec::new(), Some((folder_of(main), error))),
        };
        let read = |path: PathBuf| {
            let text = text_of(&path);
            (path, text)
        };
        let text = text_of(main);
        let policies = text
            .as_ref()
            .map_or(Vec::new(), |text| policies(text, main));
        Self {
            main: main.to_owned(),
            text,
            folder,
            fragments: paths.into_iter().map(read).collect(),
            policies: policies.into_iter().map(read).collect(),
        }
    }

    /// Parses and validates them, as [`load`] does.
    ///
    /// # Errors
    /// Everything that is wrong, in all files.
    pub fn config(self, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, ConfigErrors> {
        let mut problems = Vec::new();
        let path = &self.main;
        let text = self
            .text
            .map_err(|error| ConfigErrors::new(vec![unreadable(path, 0, error)]))?;
        let (raw, source) = source::read::<raw::File>(&text, path, 0, &mut problems);
        let main = ParsedFile { raw, source };
        if let Some((folder, error)) = self.folder {
            problems.push(unreadable(&folder, 1, error));
        }
        let mut fragments = Vec::new();
        for (index, (path, text)) in self.fragments.into_iter().enumerate() {
            let order = index + 1;
            match text {
                Ok(text) => {
                    let (raw, source) =
                        source::read::<raw::Fragment>(&text, &path, order, &mut problems);
                    fragments.push(ParsedFile { raw, source });
                }
                Err(error) => problems.push(unreadable(&path, order, error)),
            }
        }
        validate(main, fragments, env, problems)
    }

    /// Returns the digest of all names and texts.
    #[must_use]
    pub fn digest(&self) -> TextDigest {
        let mut context = Context::new(&SHA256);
        let mut take = |bytes: &[u8]| {
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        };
        let files = [(&self.main, self.text.as_ref())].into_iter();
        let fragments = self.fragments.iter().chain(&self.policies);
        let files = files.chain(fragments.map(|(path, text)| (path, text.as_ref())));
        let folder = self.folder.iter();
        for (path, text) in files.chain(folder.map(|(path, error)| (path, Err(error)))) {
            take(path.as_os_str().as_encoded_bytes());
            match text {
                Ok(text) => take(text.as_bytes()),
                Err(error) => take(format!("{:?}", error.kind()).as_bytes()),
            }
            // A text is no error that is called the same.
            take(&[u8::from(text.is_ok())]);
        }
        let mut digest = TextDigest([0; 32]);
        let finished = context.finish();
        let bytes = digest.0.iter_mut().zip(finished.as_ref());
        bytes.for_each(|(to, from)| *to = *from);
        digest
    }
}

/// Returns the paths of the files of a config, the main one first, those of its policies last; and
/// the path of its `upstreams.d`.
#[must_use]
pub fn paths(main: &Path) -> (Vec<PathBuf>, PathBuf) {
    let mut paths = vec![main.to_owned()];
    paths.extend(fragments(main).unwrap_or_default());
    paths.extend(text_of(main).map_or(Vec::new(), |text| policies(&text, main)));
    (paths, folder_of(main))
}

/// Returns the files of policies, and of tests of them, that a config names.
fn policies(text: &str, main: &Path) -> Vec<PathBuf> {
    // Most configs have none, and need not be parsed for this.
    if !text.contains("policy") {
        return Vec::new();
    }
    let (raw, _) = source::read::<raw::File>(text, main, 0, &mut Vec::new());
    let Some(policy) = raw.policy else {
        return Vec::new();
    };
    let patterns = policy.files.iter().chain(policy.tests.iter().flatten());
    let folder = main.parent().unwrap_or(Path::new(""));
    let mut files: Vec<_> = patterns
        .flat_map(|pattern| find_files(folder, pattern).unwrap_or_default())
        .collect();
    files.truncate(MAX_FILES);
    files
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
    validate(ParsedFile { raw, source }, Vec::new(), env, problems)
}

/// Returns the file of `listen.auth.api_keys` of a config, whatever else is wrong with that: the file
/// itself may be missing.
#[must_use]
pub fn api_keys_file(main: &Path, env: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let text = text_of(main).ok()?;
    let (raw, _) = source::read::<raw::File>(&text, main, 0, &mut Vec::new());
    let raw::ListenAuth::Callers(callers) = raw.listen?.auth? else {
        return None;
    };
    let file = secrets::expand(&callers.api_keys?.file, env).ok()?;
    let path = main.parent().unwrap_or(Path::new("")).join(file);
    Some(std::path::absolute(&path).unwrap_or(path))
}

/// Returns whether a variable counts though no config names it. Who makes values up for what a config
/// names leaves these alone.
#[must_use]
pub fn is_standard_variable(name: &str) -> bool {
    name.starts_with("OTEL_")
}

/// Returns an environment variable of the process. An empty one is not unset.
#[must_use]
#[allow(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the environment"
)]
pub fn process_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn text_of(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(MAX_BYTES)
        .read_to_string(&mut text)?;
    Ok(text)
}

fn unreadable(path: &Path, order: usize, source: io::Error) -> Problem {
    Problem {
        file: path.to_owned(),
        order,
        at: None,
        path: String::new(),
        kind: ProblemKind::Unreadable { source },
    }
}

fn folder_of(main: &Path) -> PathBuf {
    main.with_file_name(FRAGMENTS)
}

/// The files of `upstreams.d`, if there is one, sorted. Dot files are no config: Kubernetes and editors leave some.
fn fragments(main: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(folder_of(main)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let files = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut files = files.collect::<io::Result<Vec<_>>>()?;
    files.retain(|path| is_config(path));
    files.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    Ok(files)
}

fn is_config(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let extension = path.extension().and_then(|extension| extension.to_str());
    !name.starts_with('.') && matches!(extension, Some("yaml" | "yml" | "json"))
}
