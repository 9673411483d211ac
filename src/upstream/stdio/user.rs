//! The user that a child process runs as.

use std::fs;

use rustix::process::geteuid;

use crate::config::ChildUser;

/// The bits of `CAP_KILL`, `CAP_SETGID` and `CAP_SETUID` in a set of capabilities (capabilities(7)).
/// Without the first one weir cannot end a process that it has started.
const NEEDED: u64 = 1 << 5 | 1 << 6 | 1 << 7;

/// Why a child cannot run as the user that the config names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// Weir may not change users.
    #[error(
        "weir itself has to run as root, or with CAP_SETUID, CAP_SETGID and CAP_KILL, to start and end a process as another user"
    )]
    NotPermitted,
    /// No such user.
    #[error("there is no user `{0}` in /etc/passwd; write UID:GID")]
    Unknown(String),
}

/// The numbers of a user and its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UserIds {
    pub(super) user: u32,
    pub(super) group: u32,
}

impl UserIds {
    /// Looks up a user, and checks that weir may become it.
    ///
    /// # Errors
    /// There is no such user, or weir may not.
    pub(super) fn find(user: &ChildUser) -> Result<Self, UserError> {
        if !may_change() {
            return Err(UserError::NotPermitted);
        }
        match user {
            ChildUser::Ids { user, group } => Ok(Self {
                user: *user,
                group: *group,
            }),
            ChildUser::Name(name) => {
                let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
                find_in(&passwd, name).ok_or_else(|| UserError::Unknown(name.clone()))
            }
        }
    }
}

/// Finds a user in the text of a `passwd` file, by name or number (passwd(5)).
fn find_in(passwd: &str, name: &str) -> Option<UserIds> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (known, _, user, group) = (
            fields.next()?,
            fields.next()?,
            fields.next()?,
            fields.next()?,
        );
        let is_it = known == name || user == name;
        is_it.then_some(UserIds {
            user: user.parse().ok()?,
            group: group.parse().ok()?,
        })
    })
}

fn may_change() -> bool {
    let status = || fs::read_to_string("/proc/self/status").ok();
    let effective = || {
        let status = status()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    match effective() {
        Some(capabilities) => capabilities & NEEDED == NEEDED,
        None => geteuid().is_root(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_name_or_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nnot a line\nkid:x:1001:2002::/:/bin/false\n";
        let kid = Some(UserIds {
            user: 1001,
            group: 2002,
        });
        assert_eq!(find_in(passwd, "kid"), kid);
        assert_eq!(find_in(passwd, "1001"), kid);
        assert_eq!(find_in(passwd, "2002"), None);
        assert_eq!(find_in(passwd, "ki"), None);
    }
}
