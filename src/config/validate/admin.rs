//! `admin:`

mod roles;

use super::check::Check;
use super::values::check_address;
use crate::config::raw::forms::ScalarText;
use crate::config::rules::Rule;
use crate::config::{Admin, AdminAddress, AdminPage, AdminReading, Listen, raw};
use crate::document::path::KeyPath;

/// The beginning of a Unix socket's address.
const UNIX: &str = "unix:";
/// The permissions of the Unix socket: weir's user may use it.
const MODE: u32 = 0o600;
/// The permissions that it may have: others than user and group may never use it.
const MOST: u32 = 0o770;

/// Validates `admin`.
pub(super) fn check_admin(
    check: &mut Check<'_>,
    raw: raw::Admin,
    at: &KeyPath,
    listen: &Listen,
) -> Admin {
    let address = check_place(check, raw.address, raw.mode, at);
    let written = raw.token.is_some() || raw.auth.is_some();
    let excused = ["token", "auth"].map(|key| check.source.is_excused(at, key));
    let written = written || excused.contains(&true);
    let token = raw.token.and_then(|raw| {
        let reference = check.own_reference(&raw);
        check.ok(&at.key("token"), reference)
    });
    let reading = match raw.reading {
        None | Some(raw::AdminReading::Token) => AdminReading::Token,
        Some(raw::AdminReading::Open) => AdminReading::Open,
    };
    let page = match raw.page {
        None | Some(raw::AdminPage::Read) => AdminPage::Read,
        Some(raw::AdminPage::Write) => AdminPage::Write,
        Some(raw::AdminPage::Off) => AdminPage::Off,
    };
    let auth = raw
        .auth
        .map(|raw| roles::check_roles(check, raw, listen, &at.key("auth")));
    if let AdminAddress::Tcp(address) = &address {
        let open = reading == AdminReading::Open;
        if !address.ip().is_loopback() && !written {
            check.report(&at.key("address"), Rule::OpenAdmin(*address));
        } else if !address.ip().is_loopback() && open {
            check.report(&at.key("reading"), Rule::OpenReading(*address));
        }
        if *address == listen.address && address.port() != 0 {
            check.report(&at.key("address"), Rule::SameAddress);
        }
    }
    Admin {
        address,
        token,
        reading,
        auth,
        page,
        try_tools: raw.try_tools.unwrap_or_default(),
    }
}

fn check_place(
    check: &mut Check<'_>,
    address: Option<String>,
    mode: Option<ScalarText>,
    at: &KeyPath,
) -> AdminAddress {
    let path = address.as_deref().and_then(|text| text.strip_prefix(UNIX));
    let Some(path) = path.map(str::to_owned) else {
        if mode.is_some() {
            check.report(&at.key("mode"), Rule::ModeOfAddress);
        }
        return AdminAddress::Tcp(check_address(check, address, 8001, at));
    };
    check.refuse_variable(&at.key("address"), &path);
    if path.is_empty() {
        check.report(&at.key("address"), Rule::Address);
    }
    let mode = mode.map_or(Ok(MODE), |text| parse_mode(&text.0));
    AdminAddress::Unix {
        path: check.resolve(&path),
        mode: check.or(&at.key("mode"), mode, MODE),
    }
}

/// Parses permissions: octal digits, as `chmod` takes them, or with YAML's `0o`.
fn parse_mode(text: &str) -> Result<u32, Rule> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let mode = u32::from_str_radix(digits, 8).ok();
    let legal = mode.filter(|mode| mode & !MOST == 0 && mode & MODE == MODE);
    legal.ok_or(Rule::Mode)
}
