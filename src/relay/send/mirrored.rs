//! The headers of modern requests that repeat parts of the body.

use http::HeaderMap;

use crate::protocol::era::Era;
use crate::protocol::error::Fault;
use crate::protocol::headers;
use crate::relay::call::Target;

/// Returns the `Mcp-*` headers for a modern upstream; none for a legacy one.
///
/// # Errors
/// A value is too long for a header.
pub(super) fn mirrored_headers(target: &Target<'_>, upstream: Era) -> Result<HeaderMap, Fault> {
    let mut headers = HeaderMap::new();
    if upstream == Era::Modern {
        headers::write_method(&mut headers, target.method);
        if let Some(name) = &target.name {
            headers::write_name(&mut headers, target.method, name)?;
        }
        let mirrored = target.route.as_ref().map(|route| route.header_params());
        let arguments = target.params.get("arguments");
        headers::write_params(&mut headers, mirrored.unwrap_or_default(), arguments)?;
    }
    Ok(headers)
}
