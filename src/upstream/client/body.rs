//! The body of an answer, read chunk by chunk.

use std::future::poll_fn;

use bytes::Bytes;
use http::{HeaderMap, Response, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::gunzip::Gunzip;
use super::plain::PlainBody;
use super::transfer::TransferError;
use crate::large::Pauses;

/// The body of an answer, read chunk by chunk. What the server compressed with gzip is expanded on
/// the way.
#[derive(Debug)]
pub struct Body {
    source: BodySource,
    gunzip: Option<Box<Gunzip>>,
    pauses: Pauses,
}

/// The body as it arrives.
#[derive(Debug)]
pub(super) enum BodySource {
    Plain(PlainBody),
    Hyper(hyper::body::Incoming),
    Reqwest(reqwest::Body),
}

impl Body {
    /// Wraps the body of an answer.
    ///
    /// # Errors
    /// It is in a content coding other than gzip.
    pub(super) fn of(response: Response<BodySource>) -> Result<Response<Self>, TransferError> {
        let gunzip = match response.headers().get(header::CONTENT_ENCODING) {
            None => None,
            Some(_) if response.body().is_end() => None,
            Some(_) => read_coding(response.headers())?,
        };
        let pauses = Pauses::default();
        Ok(response.map(|source| Self {
            source,
            gunzip,
            pauses,
        }))
    }

    /// Returns the next chunk, `None` at the end.
    ///
    /// # Errors
    /// The connection broke, or what came is damaged.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, TransferError> {
        self.pauses.pause().await;
        let Some(gunzip) = &mut self.gunzip else {
            let next = self.source.next_chunk().await?;
            self.pauses.count(next.as_ref().map_or(0, Bytes::len));
            return Ok(next);
        };
        // Little can expand to much. Others should be served in between.
        tokio::task::consume_budget().await;
        loop {
            if let Some(piece) = gunzip.next().map_err(|_| TransferError::Gzip)? {
                return Ok(Some(piece));
            }
            match self.source.next_chunk().await? {
                Some(chunk) => gunzip.push(chunk),
                None => {
                    gunzip.end();
                    return gunzip.next().map_err(|_| TransferError::Gzip);
                }
            }
        }
    }

    /// Returns the number of bytes, if the head of the answer gives it.
    #[must_use]
    pub fn content_length(&self) -> Option<usize> {
        let exact = match (&self.source, &self.gunzip) {
            (_, Some(_)) => None,
            (BodySource::Plain(body), None) => body.incoming().size_hint().exact(),
            (BodySource::Hyper(body), None) => body.size_hint().exact(),
            (BodySource::Reqwest(body), None) => body.size_hint().exact(),
        };
        exact.and_then(|bytes| usize::try_from(bytes).ok())
    }

    /// Returns whether everything has been read.
    #[must_use]
    pub fn is_end(&self) -> bool {
        self.gunzip.is_none() && self.source.is_end()
    }
}

impl BodySource {
    async fn next_chunk(&mut self) -> Result<Option<Bytes>, TransferError> {
        loop {
            let frame = match self {
                Self::Plain(body) => match poll_fn(|context| body.poll_frame(context)).await {
                    Some(frame) => frame.map_err(|error| TransferError::Broken(Box::new(error)))?,
                    None => return Ok(None),
                },
                Self::Hyper(body) => match body.frame().await {
                    Some(frame) => frame.map_err(|error| TransferError::Broken(Box::new(error)))?,
                    None => return Ok(None),
                },
                Self::Reqwest(body) => match body.frame().await {
                    Some(frame) => frame.map_err(|error| {
                        // The URL may contain a secret.
                        TransferError::Broken(Box::new(error.without_url()))
                    })?,
                    None => return Ok(None),
                },
            };
            // Trailers are skipped: nothing here reads them.
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    fn is_end(&self) -> bool {
        match self {
            Self::Plain(body) => body.incoming().is_end_stream(),
            Self::Hyper(body) => body.is_end_stream(),
            Self::Reqwest(body) => body.is_end_stream(),
        }
    }
}

/// Returns what expands a body in this content coding (RFC 9110 §8.4); `None` if it is none.
///
/// # Errors
/// It is another coding than gzip, or more than one.
fn read_coding(headers: &HeaderMap) -> Result<Option<Box<Gunzip>>, TransferError> {
    let codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let codings: Vec<_> = codings
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
        .collect();
    match codings.as_slice() {
        [] => Ok(None),
        [coding]
            if coding.eq_ignore_ascii_case(b"gzip") || coding.eq_ignore_ascii_case(b"x-gzip") =>
        {
            Ok(Some(Box::new(Gunzip::new())))
        }
        codings => {
            let text = String::from_utf8_lossy(&codings.join(&b", "[..])).to_ascii_lowercase();
            let text = text.chars().filter(char::is_ascii_graphic).take(40);
            Err(TransferError::Coding(text.collect()))
        }
    }
}
