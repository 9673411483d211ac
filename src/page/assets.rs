//! The files of the page: scripts, style and icon. The scripts are vendored, see
//! `src/page/assets/README.md`.

use axum::body::Body;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};

/// A file of the page.
pub(super) struct Asset {
    /// Its name in URLs. It changes with the content, so that browsers may keep the file.
    pub(super) name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

/// htmx 4.0.1 (npm: htmx.org), the Zero-Clause BSD License.
pub(super) const HTMX: Asset = Asset {
    name: "htmx-4.0.1.min.js",
    content_type: "text/javascript; charset=utf-8",
    bytes: include_bytes!("assets/htmx.min.js"),
};

/// Its extension for event streams, of the same package.
pub(super) const HTMX_SSE: Asset = Asset {
    name: "hx-sse-4.0.1.min.js",
    content_type: "text/javascript; charset=utf-8",
    bytes: include_bytes!("assets/hx-sse.min.js"),
};

/// The style.
pub(super) const STYLE: Asset = Asset {
    name: concat!("page-", env!("CARGO_PKG_VERSION"), ".css"),
    content_type: "text/css; charset=utf-8",
    bytes: include_bytes!("assets/page.css"),
};

/// The icon.
pub(super) const ICON: Asset = Asset {
    name: "favicon.svg",
    content_type: "image/svg+xml",
    bytes: include_bytes!("assets/favicon.svg"),
};

const ALL: [Asset; 4] = [HTMX, HTMX_SSE, STYLE, ICON];

/// Answers `GET /page/assets/{name}`.
pub(super) async fn asset(Path(name): Path<String>) -> Response {
    let Some(asset) = ALL.into_iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut answer = Response::new(Body::from(asset.bytes));
    let headers = answer.headers_mut();
    let content_type = HeaderValue::from_static(asset.content_type);
    headers.insert(header::CONTENT_TYPE, content_type);
    let kept = HeaderValue::from_static("max-age=86400");
    headers.insert(header::CACHE_CONTROL, kept);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the SHA-256 of a file in hexadecimal digits.
    fn digest(asset: &Asset) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, asset.bytes);
        let digits = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
        digits.collect()
    }

    #[test]
    fn vendored_scripts_are_those_that_were_published() {
        assert_eq!(
            digest(&HTMX),
            "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"
        );
        assert_eq!(
            digest(&HTMX_SSE),
            "18ef2761356ec1fe0bb6d92612315b37517a7c1e9856b661c5ae81fef239d103"
        );
        let license = include_str!("assets/htmx.LICENSE");
        assert!(license.starts_with("Zero-Clause BSD"));
    }
}
