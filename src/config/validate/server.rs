//! `server` (weir's description of itself), and the instructions of upstreams.

use url::Url;

use super::check::Check;
use super::values::check_url;
use crate::config::raw::{self, forms};
use crate::config::rules::{Rule, UrlError};
use crate::config::{INSTRUCTIONS_BYTES, Instructions, ServerIdentity};
use crate::document::path::KeyPath;
use crate::json::{self, Object};

/// The most icons. Every `initialize` is answered with them.
const ICONS: usize = 8;
/// The most bytes of a text or URL of `server`: an icon may be a `data:` URL.
const TEXT_BYTES: usize = 8 * 1024;

/// Checks the description of weir itself.
pub(super) fn check_server(
    check: &mut Check<'_>,
    raw: raw::ServerSettings,
    at: &KeyPath,
) -> ServerIdentity {
    let mut info = Object::new();
    info.set("name", "\"weir\"");
    info.set("version", json::quote(env!("CARGO_PKG_VERSION")));
    let texts = [
        ("title", "title", &raw.title),
        ("description", "description", &raw.description),
    ];
    for (key, member, text) in texts {
        if let Some(text) = text {
            check_text(check, text, TEXT_BYTES, &at.key(key));
            info.set(member, json::quote(text));
        }
    }
    if let Some(text) = &raw.website_url {
        let at = at.key("website_url");
        if let Some(url) = check_url(check, text, true, &at) {
            info.set("websiteUrl", json::quote(url.as_str()));
        }
    }
    let icons = raw.icons.unwrap_or_default();
    if icons.len() > ICONS {
        let most = ICONS as u64;
        check.report(&at.key("icons"), Rule::Most(most));
    }
    let icons = icons.into_iter().enumerate();
    let icons: Vec<_> = icons
        .map(|(index, icon)| check_icon(check, &icon, &at.key("icons").item(index)))
        .collect();
    if !icons.is_empty() {
        info.set("icons", format!("[{}]", icons.join(",")));
    }
    let own = raw.instructions.as_deref().map(str::trim);
    if let Some(text) = own {
        check_text(check, text, INSTRUCTIONS_BYTES, &at.key("instructions"));
    }
    ServerIdentity {
        info: info.to_text().into(),
        instructions: own.map(|text| json::escape(text).into()),
    }
}

/// Returns an icon as JSON text (`schema.ts`, `Icon`).
fn check_icon(check: &mut Check<'_>, icon: &raw::Icon, at: &KeyPath) -> String {
    let source = &at.key("src");
    check_text(check, &icon.src, TEXT_BYTES, source);
    let url = Url::parse(&icon.src).map_err(UrlError::Syntax);
    if let Some(url) = check.ok(source, url)
        && !matches!(url.scheme(), "https" | "http" | "data")
    {
        check.report(source, Rule::IconScheme);
    }
    let mut members = Object::new();
    members.set("src", json::quote(&icon.src));
    if let Some(text) = &icon.mime_type {
        members.set("mimeType", json::quote(text));
    }
    if let Some(sizes) = &icon.sizes {
        let sizes: Vec<_> = sizes.iter().map(|size| json::quote(size)).collect();
        members.set("sizes", format!("[{}]", sizes.join(",")));
    }
    members.to_text()
}

fn check_text(check: &mut Check<'_>, text: &str, most: usize, at: &KeyPath) {
    if text.len() > most {
        check.report(
            at,
            Rule::LongText {
                bytes: text.len(),
                most,
            },
        );
    }
}

/// Checks which instructions callers see of an upstream.
pub(super) fn check_instructions(
    check: &mut Check<'_>,
    written: Option<forms::Instructions>,
    base: &Instructions,
    at: &KeyPath,
) -> Instructions {
    match written {
        None => base.clone(),
        Some(forms::Instructions::On) => Instructions::Served,
        Some(forms::Instructions::Off) => Instructions::Off,
        Some(forms::Instructions::Own(text)) => {
            let text = text.trim();
            check_text(check, text, INSTRUCTIONS_BYTES, at);
            Instructions::Own(text.into())
        }
    }
}
