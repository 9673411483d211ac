//! Keeps child processes from reading the secrets of weir and of other upstreams.
//!
//! The kernel's Landlock takes rights away from a process and all that it starts, for good. Its
//! rules only grant, so what is not to be read is left out: in each folder above it, everything
//! beside it is granted. Only reading files is restricted; a process of another one's domain can
//! neither be traced nor its memory or environment be read, whoever runs it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError,
};
use parking_lot::Mutex;

use crate::audit;
use crate::config::Config;
use crate::name::UpstreamId;

/// Most rules for one process: files and folders beside what is hidden. A folder with more, such as
/// a full `/tmp`, is no place for secrets, and asking for it would make each start slow.
const MOST_RULES: usize = 50_000;

/// Why a process cannot be confined.
#[derive(Debug, thiserror::Error)]
pub enum ConfinementError {
    /// The kernel refuses.
    #[error("the kernel refuses Landlock rules")]
    Kernel(#[from] RulesetError),
    /// A folder above a secret cannot be listed.
    #[error(
        "the folder {} above a secret cannot be listed, so the rest of it cannot be allowed; move the secret, or set `hide_secrets: false`",
        folder.display()
    )]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// There are too many files beside the secrets.
    #[error(
        "more than {MOST_RULES} files lie beside secrets; move the secrets to a folder of their own, or set `hide_secrets: false`"
    )]
    TooMany,
}

/// Returns whether this kernel has Landlock.
#[must_use]
pub fn is_supported() -> bool {
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let handled = ruleset.handle_access(AccessFs::ReadFile);
    handled.and_then(Ruleset::create).is_ok()
}

/// Takes from this thread, and from all that it starts, the right to read these files and folders.
/// Paths that do not exist are left out. Does nothing where the kernel has no Landlock.
///
/// # Errors
/// A folder above one of them cannot be listed, or the kernel refuses.
pub fn hide(paths: &[PathBuf]) -> Result<(), ConfinementError> {
    let hidden: BTreeSet<_> = paths
        .iter()
        .filter_map(|path| fs::canonicalize(path).ok())
        .collect();
    let outermost: Vec<_> = hidden
        .iter()
        .filter(|path| !path.ancestors().skip(1).any(|above| hidden.contains(above)))
        .map(PathBuf::as_path)
        .collect();
    if outermost.is_empty() || !is_supported() {
        return Ok(());
    }
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V1) & AccessFs::ReadFile)?
        .create()?;
    let mut rules = Rules { ruleset, count: 0 };
    rules = rules.allow_beside(Path::new("/"), &outermost)?;
    rules.ruleset.restrict_self()?;
    Ok(())
}

struct Rules {
    ruleset: RulesetCreated,
    count: usize,
}

impl Rules {
    /// Allows everything in a folder but what is hidden. Links are left out: what they lead to has a
    /// rule of its own or is hidden.
    fn allow_beside(mut self, folder: &Path, hidden: &[&Path]) -> Result<Self, ConfinementError> {
        let failed = |source| ConfinementError::Folder {
            folder: folder.to_owned(),
            source,
        };
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            let inside: Vec<_> = hidden
                .iter()
                .copied()
                .filter(|hidden| hidden.starts_with(&path))
                .collect();
            if inside.contains(&path.as_path()) {
                continue;
            }
            if !inside.is_empty() {
                self = self.allow_beside(&path, &inside)?;
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                continue;
            }
            // One that is gone by now or cannot be entered needs no rule.
            let Ok(opened) = PathFd::new(&path) else {
                continue;
            };
            self.count += 1;
            if self.count > MOST_RULES {
                return Err(ConfinementError::TooMany);
            }
            let rule = PathBeneath::new(opened, AccessFs::ReadFile);
            self.ruleset = self.ruleset.add_rule(rule)?;
        }
        Ok(self)
    }
}

/// The files and folders with secrets, each with the upstream that it is for. They follow the config
/// while weir runs; a child gets what holds when it starts.
#[derive(Debug, Default)]
pub struct SecretPaths(Mutex<Vec<SecretPath>>);

#[derive(Clone, Debug)]
struct SecretPath {
    path: PathBuf,
    /// The upstream whose process may read it all the same.
    owner: Option<UpstreamId>,
}

impl SecretPaths {
    /// Returns the paths of a config.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let paths = Self::default();
        paths.follow(config);
        paths
    }

    /// Takes over the paths of a config: the state folder, the files of secrets and of records, and
    /// files of the config itself that have secrets in them.
    pub fn follow(&self, config: &Config) {
        let is_config = |path: &Path| config.sources.iter().any(|source| source.file == path);
        let own = config.state_dir.iter().chain(&config.secret_files).cloned();
        let records = config.audit.iter();
        let records = records.filter_map(|audit| audit::files_of(&audit.file).ok());
        let mut all: Vec<_> = own
            .chain(records.flatten())
            .map(|path| SecretPath { path, owner: None })
            .collect();
        for (id, upstream) in &config.upstreams {
            all.extend(upstream.secret_files.iter().map(|path| SecretPath {
                path: path.clone(),
                owner: (!is_config(path)).then(|| id.clone()),
            }));
        }
        // A config that came through a pipe has no file.
        all.retain(|secret| secret.path.is_file() || secret.path.is_dir());
        *self.0.lock() = all;
    }

    /// Returns what the process of an upstream may not read, each once.
    pub(super) fn hidden_from(&self, upstream: &UpstreamId) -> BTreeSet<PathBuf> {
        let all = self.0.lock();
        let is_own = |secret: &&SecretPath| secret.owner.as_ref() == Some(upstream);
        let own: BTreeSet<_> = all.iter().filter(is_own).map(|own| &own.path).collect();
        let others = all.iter().map(|secret| &secret.path);
        others.filter(|path| !own.contains(path)).cloned().collect()
    }
}
