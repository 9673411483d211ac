//! How to run a child process: program, arguments, environment.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use tokio::process::Command;

use super::interpreter::{self, Interpreter};
use super::user::{UserError, UserIds};
use crate::config::{ChildUser, EnvDecision, InheritEnv};
use crate::credentials::secrets::{SecretCell, SecretUnavailable};
use crate::memory::MemoryShare;
use crate::name::UpstreamId;
use crate::upstream::confinement::SecretPaths;

/// How to run a child.
#[derive(Clone, Debug)]
pub struct ChildSpec {
    /// The upstream that the child is. The child's log lines carry this name.
    pub name: UpstreamId,
    /// The program: a path (a relative one starts at `cwd`), or a name looked up in the child's
    /// `PATH`.
    pub program: PathBuf,
    /// The arguments.
    pub args: Vec<String>,
    /// The whole environment but for `env`.
    pub inherited: InheritedEnv,
    /// Variables added to `inherited`. They win over inherited ones of the same name.
    pub env: Vec<(String, SecretCell)>,
    /// The working folder, if not weir's.
    pub cwd: Option<PathBuf>,
    /// The absolute path of a program that runs [`reaper::run`](crate::upstream::reaper::run) as
    /// `reap -- PROGRAM ARGS…`. Without it, a child may outlive a killed weir.
    pub reaper: Option<PathBuf>,
    /// The files that the child may not read, if it is kept from them; needs the reaper.
    pub hidden: Option<Arc<SecretPaths>>,
    /// The user that it runs as, if not weir's.
    pub user: Option<ChildUser>,
    /// The longest line accepted from the child, in bytes, without its end.
    pub max_message: usize,
    /// The share that pays for messages of the child's own.
    pub memory: MemoryShare,
}

/// Why a child could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ChildStartError {
    /// The program is not in the child's `PATH`.
    #[error(
        "there is no program `{program}` in the `PATH` of the process: {}install it, write its whole path, or set `PATH` in the upstream's `env`",
        describe_other(*.other)
    )]
    NotInPath {
        /// The program.
        program: PathBuf,
        /// Another name of it that is there.
        other: Option<&'static str>,
    },
    /// There is no file at the path of the program.
    #[error("there is no program `{0}`")]
    NoProgram(PathBuf),
    /// The program is a script, and what runs it does not exist.
    #[error(
        "`{program}` is a script for `{}`, and there is no such program{}: install it, or name what runs the script in `command` and the script in `args`",
        .interpreter.display().to_string().escape_debug(),
        if *.in_path { " in the `PATH` of the process" } else { "" }
    )]
    NoInterpreter {
        /// The script.
        program: PathBuf,
        /// The program that its first line names.
        interpreter: PathBuf,
        /// Whether it was looked for in `PATH`.
        in_path: bool,
    },
    /// The program is a file that may not be executed.
    #[error("`{0}` is not executable")]
    NotExecutable(PathBuf),
    /// The working folder does not exist.
    #[error("there is no folder `{0}`")]
    NoFolder(PathBuf),
    /// It cannot run as the user that the config names.
    #[error("it cannot run as the `user` of the config")]
    User(#[from] UserError),
    /// A secret of the child's environment cannot be read.
    #[error("the secret for `{name}` cannot be had")]
    Secret {
        /// The variable.
        name: String,
        /// The reason.
        #[source]
        source: SecretUnavailable,
    },
    /// The operating system refused.
    #[error("`{program}` could not be started")]
    Spawn {
        /// The program that was to be started, or the reaper.
        program: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
}

impl ChildSpec {
    /// Reads all secrets of `env`. A child gets them once, when it starts.
    ///
    /// # Errors
    /// A secret cannot be read.
    pub async fn read_secrets(&self) -> Result<(), ChildStartError> {
        for (name, secret) in &self.env {
            let read = secret.read().await;
            read.map_err(|source| ChildStartError::Secret {
                name: name.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// Checks that the program can be found, and what runs it if it is a script. A reaper could
    /// report it only by an exit status.
    pub(super) fn check_program(&self) -> Result<(), ChildStartError> {
        if let Some(cwd) = &self.cwd
            && !cwd.is_dir()
        {
            return Err(ChildStartError::NoFolder(cwd.clone()));
        }
        let program = match self.find(&self.program) {
            Found::Program(program) => program,
            Found::NotExecutable(program) => return Err(ChildStartError::NotExecutable(program)),
            Found::Nothing if is_path(&self.program) => {
                return Err(ChildStartError::NoProgram(self.program.clone()));
            }
            Found::Nothing => {
                let mut others = interpreter::other_names(&self.program).iter();
                let is_there =
                    |name: &&&str| matches!(self.find(Path::new(name)), Found::Program(_));
                return Err(ChildStartError::NotInPath {
                    program: self.program.clone(),
                    other: others.find(is_there).copied(),
                });
            }
        };
        let (interpreter, in_path) = match Interpreter::of(&program) {
            Some(Interpreter::At(path)) => (path, false),
            Some(Interpreter::Named(name)) => (name, true),
            None => return Ok(()),
        };
        match self.find(&interpreter) {
            Found::Program(_) => Ok(()),
            Found::NotExecutable(_) | Found::Nothing => Err(ChildStartError::NoInterpreter {
                program,
                interpreter,
                in_path,
            }),
        }
    }

    /// Finds a program as `execvp` does.
    fn find(&self, program: &Path) -> Found {
        let mut found = Found::Nothing;
        for candidate in self.candidates(program) {
            match candidate.metadata() {
                Ok(file) if file.is_file() && file.permissions().mode() & 0o111 != 0 => {
                    return Found::Program(candidate);
                }
                Ok(file) if file.is_file() => found = Found::NotExecutable(candidate),
                _ => {}
            }
        }
        found
    }

    /// Returns the files that a program may be, in the order in which `execvp` tries them.
    fn candidates(&self, program: &Path) -> Vec<PathBuf> {
        let cwd = self.cwd.as_deref().unwrap_or(Path::new(""));
        if is_path(program) {
            return vec![cwd.join(program)];
        }
        let given = self.env.iter().rfind(|(name, _)| name == "PATH");
        let path = given
            .and_then(|(_, path)| Some(OsString::from(path.current()?.expose())))
            .or_else(|| {
                let inherited = self.inherited.variables.iter();
                let inherited = inherited.rev().find(|(name, _)| name == "PATH");
                inherited.map(|(_, path)| path.clone())
            })
            // `execvp` searches these when there is no `PATH`.
            .unwrap_or_else(|| "/bin:/usr/bin".into());
        std::env::split_paths(&path)
            .map(|folder| cwd.join(folder).join(program))
            .collect()
    }

    /// Returns the command to spawn, below the reaper if there is one: clean environment, own
    /// process group, three pipes.
    ///
    /// # Errors
    /// It cannot run as its user.
    pub(super) fn to_command(&self) -> Result<Command, UserError> {
        let mut command = Command::new(self.executable());
        let user = self.user.as_ref().map(UserIds::find).transpose()?;
        let given = self.env.iter();
        let given: Vec<_> = given
            .filter_map(|(name, value)| Some((name, value.current()?)))
            .collect();
        if self.reaper.is_some() {
            command.arg("reap");
            if let Some(UserIds { user, group }) = user {
                command.arg("--user").arg(format!("{user}:{group}"));
            }
            let hidden = self.hidden.as_ref();
            for path in hidden
                .into_iter()
                .flat_map(|all| all.hidden_from(&self.name))
            {
                command.arg("--hide").arg(path);
            }
            command.arg("--").arg(&self.program);
        } else if let Some(UserIds { user, group }) = user {
            command.uid(user).gid(group);
        }
        command
            .args(&self.args)
            .env_clear()
            .envs(self.inherited.variables.iter().cloned())
            .envs(given.iter().map(|(name, value)| (name, value.expose())))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Its own group, so that Ctrl-C at a terminal reaches weir alone, and so that all
            // processes of the child can be signalled at once.
            .process_group(0);
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        Ok(command)
    }

    /// Returns the program that is spawned: the reaper if there is one.
    pub(super) fn executable(&self) -> &Path {
        self.reaper.as_ref().unwrap_or(&self.program)
    }
}

/// The state of a program in the file system.
enum Found {
    Program(PathBuf),
    NotExecutable(PathBuf),
    Nothing,
}

/// Returns whether a program is a path, and not a name to look up.
fn is_path(program: &Path) -> bool {
    program.components().count() > 1
}

/// Describes another name of a program that is there.
fn describe_other(other: Option<&'static str>) -> String {
    other
        .map(|name| format!("`{name}` is there; write that, or "))
        .unwrap_or_default()
}

/// The part of weir's environment that a child inherits.
#[derive(Clone, Debug, Default)]
pub struct InheritedEnv {
    /// The variables.
    pub variables: Vec<(OsString, OsString)>,
    /// The names of those that it does not get because they hold credentials, in order.
    pub withheld: Vec<String>,
}

impl InheritedEnv {
    /// Reads weir's environment and chooses what the config lets through. Everything else, above all
    /// secrets, has to be named in the config.
    #[must_use]
    pub fn read(list: &InheritEnv) -> Self {
        let mut found = Self::default();
        for (name, value) in std::env::vars_os() {
            // An exported shell function, which bash would run. The SDKs leave these out too.
            let is_function = value.as_encoded_bytes().starts_with(b"()");
            let Some(text) = name.to_str().filter(|_| !is_function) else {
                continue;
            };
            match list.decide(text, &value.to_string_lossy()) {
                EnvDecision::Inherit => found.variables.push((name, value)),
                EnvDecision::Withhold => found.withheld.push(text.to_owned()),
                EnvDecision::Omit => {}
            }
        }
        found.withheld.sort_unstable();
        found
    }
}
