//! An HTTP request as far as all kinds of messages have it.

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::time::Instant;

use crate::upstream::peer::SenderIdentity;

/// An HTTP request without cookies and credentials.
#[derive(Debug)]
pub(super) struct HttpRequest<'r> {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    /// Empty for GET and DELETE.
    pub(super) body: Bytes,
    /// The identity that it is sent with.
    pub(super) sender: SenderIdentity<'r>,
    /// When credentials have to be there.
    pub(super) deadline: Instant,
}

impl<'r> HttpRequest<'r> {
    pub(super) fn post(
        headers: HeaderMap,
        body: Bytes,
        sender: SenderIdentity<'r>,
        deadline: Instant,
    ) -> Self {
        Self {
            method: Method::POST,
            headers,
            body,
            sender,
            deadline,
        }
    }
}
