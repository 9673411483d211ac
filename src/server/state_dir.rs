//! The identity of a weir across restarts: its sealing key and its instance name.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::config::{Admin, Config};
use crate::durable;
use crate::name::Instance;
use crate::seal::{self, KeyRing, NoRandom};
use crate::secret::Secret;
use crate::server::error::ServeError;

/// The permissions of others than user and group.
const OTHERS: u32 = 0o007;
/// The permission of others to write.
const OTHERS_WRITE: u32 = 0o002;
/// The permissions of all but the user.
const NOT_OWN: u32 = 0o077;

/// Takes from others what they may do in the state folder: they could read keys and tokens, or put
/// their own there. What the group may do is left: volumes are shared that way. Does nothing if there
/// is no such folder yet: weir makes it for itself only.
///
/// # Errors
/// The folder belongs to another user, so that its permissions cannot be changed.
pub fn secure_state(config: &Config) -> Result<(), ServeError> {
    let Some(dir) = &config.state_dir else {
        return Ok(());
    };
    let Ok(found) = fs::metadata(dir) else {
        return Ok(());
    };
    let mode = found.permissions().mode() & 0o7777;
    if mode & OTHERS == 0 {
        return Ok(());
    }
    let is_writable = mode & OTHERS_WRITE != 0;
    let closed = if is_writable {
        mode & !NOT_OWN
    } else {
        mode & !OTHERS
    };
    let closed = fs::Permissions::from_mode(closed);
    let failed = |_| {
        let advice = format!(
            "everybody may write in it (mode {mode:04o}), and it belongs to another user: write a folder inside it, such as {}, \
             which weir makes for itself, or take the permissions of others away",
            dir.join("weir").display()
        );
        ServeError::State {
            path: dir.clone(),
            source: io::Error::other(advice),
        }
    };
    let mended = fs::set_permissions(dir, closed);
    if !is_writable {
        // The files in it are weir's own alone, so that a list of them gives nothing away.
        return Ok(());
    }
    mended.map_err(failed)?;
    tracing::warn!(
        folder = %dir.display(),
        mode = format!("{mode:04o}"),
        "everybody could write in the state folder: only its user may now. If somebody may have been there, \
         remove `sealing.key` and `admin.token` and restart"
    );
    Ok(())
}

/// Takes from all others what they may do with a file that holds a secret.
fn secure_file(path: &Path) -> io::Result<()> {
    let found = fs::metadata(path)?.permissions().mode() & 0o7777;
    if found & NOT_OWN == 0 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(found & !NOT_OWN))?;
    tracing::warn!(
        file = %path.display(),
        mode = format!("{found:04o}"),
        "others could use a secret of weir: they may no longer. To have another one made, remove the file and restart"
    );
    Ok(())
}

/// Loads the key that seals session ids: from the config, or from the state folder (created there
/// once, readable only by its owner). Without either, makes one for this run.
pub(super) fn load_keys(config: &Config) -> Result<KeyRing, ServeError> {
    if !config.sealing_keys.is_empty() {
        let texts = config.sealing_keys.iter().map(Secret::expose);
        return Ok(KeyRing::from_texts(texts).ok_or(NoRandom)?);
    }
    let text = match &config.state_dir {
        Some(dir) => read_or_create(&dir.join("sealing.key"), check_key, KeyRing::new_text)?,
        None => KeyRing::new_text()?,
    };
    // One key a line, the newest first.
    let lines = text.lines().map(str::trim);
    let keys = lines.filter(|line| !line.is_empty());
    Ok(KeyRing::from_texts(keys).ok_or(NoRandom)?)
}

/// The file of the key of pseudonyms.
const PSEUDONYM_KEY: &str = "pseudonyms.key";

/// Loads the keys of pseudonyms: from the config, or from the state folder (created there once,
/// readable only by its owner, by a process that `stores` something). Without either, makes one for
/// this run, which is `own`.
pub(super) fn load_pseudonym_keys(
    config: &Config,
    stores: bool,
    own: &mut Option<String>,
) -> Result<Vec<String>, ServeError> {
    let written = &config.guard.pseudonyms.keys;
    if !written.is_empty() {
        let texts = written.iter().map(|key| key.expose().to_owned());
        return Ok(texts.collect());
    }
    let path = config.state_dir.as_ref().map(|dir| dir.join(PSEUDONYM_KEY));
    if let Some(path) = path.filter(|path| stores || path.exists()) {
        let text = read_or_create(&path, check_key, KeyRing::new_text)?;
        return Ok(text.lines().map(|line| line.trim().to_owned()).collect());
    }
    let key = match own {
        Some(key) => key.clone(),
        None => own.insert(KeyRing::new_text()?).clone(),
    };
    Ok(vec![key])
}

/// The file of the token for the admin listener.
const ADMIN_TOKEN: &str = "admin.token";

/// Returns the token for requests to the admin listener that change something: `admin.token`, or
/// that of the state folder (created there once, readable only by its owner). `None` without either.
///
/// # Errors
/// Fails if the state folder cannot be used, or there are no random numbers.
pub fn admin_token(config: &Config) -> Result<Option<Secret>, ServeError> {
    let written = config.admin.as_ref().and_then(Admin::first_token).cloned();
    match (written, &config.state_dir) {
        (Some(token), _) => Ok(Some(token)),
        (None, Some(dir)) => {
            let text = read_or_create(&dir.join(ADMIN_TOKEN), check_key, KeyRing::new_text)?;
            Ok(Some(Secret::new(&text)))
        }
        (None, None) => Ok(None),
    }
}

/// Returns the same for a client of a running weir. Creates nothing.
#[must_use]
pub fn known_admin_token(config: &Config) -> Option<Secret> {
    let written = config.admin.as_ref().and_then(Admin::first_token).cloned();
    written.or_else(|| {
        let path = config.state_dir.as_ref()?.join(ADMIN_TOKEN);
        let text = std::fs::read_to_string(path).ok()?;
        Some(Secret::new(text.trim()))
    })
}

/// Adds an instance name, by which weirs in a chain know each other, to a config without one: the name
/// in the state folder (created there once), or one for this run.
///
/// # Errors
/// Fails if the state folder cannot be used, or there are no random numbers.
pub fn with_instance(mut config: Config) -> Result<Config, ServeError> {
    if config.instance.is_none() {
        let text = match &config.state_dir {
            Some(dir) => read_or_create(&dir.join(INSTANCE), check_instance, new_instance)?,
            None => new_instance()?,
        };
        config.instance = Instance::parse(&text).ok();
    }
    Ok(config)
}

/// Adds the instance name of the state folder, if there is one, to a config without one. Creates
/// nothing: this is for commands that only look at what a weir would do.
#[must_use]
pub fn with_known_instance(mut config: Config) -> Config {
    config.instance = known_instance(&config);
    config
}

/// Returns the name of the instance: the one that is configured, or that an earlier run stored.
#[must_use]
pub fn known_instance(config: &Config) -> Option<Instance> {
    let configured = config.instance.clone();
    configured.or_else(|| {
        let file = config.state_dir.as_ref()?.join(INSTANCE);
        let text = std::fs::read_to_string(file).unwrap_or_default();
        Instance::parse(text.trim()).ok()
    })
}

const INSTANCE: &str = "instance";

fn new_instance() -> Result<String, NoRandom> {
    let name = u64::from_be_bytes(seal::random()?);
    Ok(format!("{name:016x}"))
}

/// Why the text of a file cannot be used.
pub(super) type Unfit = &'static str;

pub(super) fn check_key(text: &str) -> Result<(), Unfit> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let is_long = |line: &str| line.trim().len() >= 32;
    (lines.next().is_some_and(is_long) && lines.all(is_long))
        .then_some(())
        .ok_or("too short to be a key or token: remove the file, and weir makes another")
}

fn check_instance(text: &str) -> Result<(), Unfit> {
    Instance::is_one(text)
        .then_some(())
        .ok_or("not an instance name: 1 to 64 of the characters A-Z a-z 0-9 _ . -")
}

/// Reads a file of the state folder, and creates it if it does not exist.
pub(super) fn read_or_create(
    path: &Path,
    fits: impl Fn(&str) -> Result<(), Unfit>,
    make: impl Fn() -> Result<String, NoRandom>,
) -> Result<String, ServeError> {
    let at = |path: &Path| {
        let path: PathBuf = path.to_owned();
        move |source| ServeError::State { path, source }
    };
    match std::fs::read_to_string(path) {
        Ok(text) => {
            secure_file(path).map_err(at(path))?;
            let text = text.trim();
            let fit = fits(text).map_err(io::Error::other);
            return fit.map(|()| text.to_owned()).map_err(at(path));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(at(path)(error)),
    }
    let text = make()?;
    durable::replace(path, text.as_bytes()).map_err(at(path))?;
    Ok(text)
}
