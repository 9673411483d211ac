//! Around the items of a batch: the resource and the scope that they belong to.

use crate::telemetry::protobuf::{AttributeValue, write_attribute, write_bytes, write_message_of};

/// The conventions that names of attributes follow: those of OpenTelemetry for MCP and for
/// generative AI (`open-telemetry/semantic-conventions-genai`, v0.1.0).
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.38.0";

/// The kinds of items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Log records.
    Logs,
    /// Metrics.
    Metrics,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Traces, Self::Logs, Self::Metrics];

    /// Returns the word for it in metrics, logs, and the path of the exporter's URL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
            Self::Metrics => "metrics",
        }
    }
}

/// The resource and the scope of everything that one weir sends, encoded.
#[derive(Debug)]
pub struct Envelope {
    /// A `Resource`.
    resource: Vec<u8>,
    /// An `InstrumentationScope`.
    scope: Vec<u8>,
}

impl Envelope {
    /// Encodes the attributes of the resource.
    #[must_use]
    pub(super) fn new<'a>(attributes: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let (mut resource, mut scope) = (Vec::new(), Vec::new());
        for (key, value) in attributes {
            write_attribute(&mut resource, 1, key, AttributeValue::Text(value));
        }
        write_bytes(&mut scope, 1, b"weir");
        write_bytes(&mut scope, 2, env!("CARGO_PKG_VERSION").as_bytes());
        Self { resource, scope }
    }

    /// Makes a request of the items of a batch. `ExportTraceServiceRequest`, `ExportLogsServiceRequest`
    /// and `ExportMetricsServiceRequest` have the same shape: the resource's items in field 1, in them the
    /// resource in 1 and the scope's items in 2, in them the scope in 1, the items in 2, and the
    /// schema in 3.
    #[must_use]
    pub fn wrap(&self, items: &[u8]) -> Vec<u8> {
        let expected = items.len() + self.resource.len() + 256;
        let mut out = Vec::with_capacity(expected);
        write_message_of(&mut out, 1, expected, |out| {
            write_bytes(out, 1, &self.resource);
            write_message_of(out, 2, expected, |out| {
                write_bytes(out, 1, &self.scope);
                out.extend_from_slice(items);
                write_bytes(out, 3, SCHEMA.as_bytes());
            });
        });
        out
    }
}

/// The part of a request that a receiver did not take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartialSuccess {
    /// How many items it rejected.
    pub rejected: u64,
    /// Its reason, as it came.
    pub message: String,
}

impl PartialSuccess {
    /// Reads the answer to a request: `partial_success` in field 1, in it the number in 1 and the
    /// reason in 2. Returns `None` if everything was taken, and for an answer that is none.
    #[must_use]
    pub fn read(answer: &[u8]) -> Option<Self> {
        let (_, inner) = fields(answer).find(|(field, _)| *field == 1)?;
        let FieldValue::Bytes(inner) = inner else {
            return None;
        };
        let mut partial = Self::default();
        for (field, value) in fields(inner) {
            match (field, value) {
                (1, FieldValue::Number(number)) => partial.rejected = number,
                (2, FieldValue::Bytes(text)) => {
                    let text = String::from_utf8_lossy(text);
                    partial.message = text.chars().take(200).collect();
                }
                _ => {}
            }
        }
        (partial != Self::default()).then_some(partial)
    }
}

#[derive(Clone, Copy)]
enum FieldValue<'b> {
    Number(u64),
    Bytes(&'b [u8]),
    Other,
}

/// Reads the fields of a message until its end, or until it is not one.
fn fields(mut bytes: &[u8]) -> impl Iterator<Item = (u64, FieldValue<'_>)> {
    std::iter::from_fn(move || {
        let tag = read_varint(&mut bytes)?;
        let value = match tag & 7 {
            0 => FieldValue::Number(read_varint(&mut bytes)?),
            1 => skip(&mut bytes, 8)?,
            2 => {
                let size = usize::try_from(read_varint(&mut bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(size)?;
                bytes = rest;
                FieldValue::Bytes(value)
            }
            5 => skip(&mut bytes, 4)?,
            _ => return None,
        };
        Some((tag >> 3, value))
    })
}

fn skip<'b>(bytes: &mut &[u8], size: usize) -> Option<FieldValue<'b>> {
    *bytes = bytes.get(size..)?;
    Some(FieldValue::Other)
}

fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for place in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::protobuf::{write_int, write_message};

    #[test]
    fn what_a_receiver_rejects_is_read_and_nothing_else_is() {
        let answer = |rejected: i64, message: &[u8]| {
            let mut out = Vec::new();
            write_message(&mut out, 1, |out| {
                write_int(out, 1, rejected);
                write_bytes(out, 2, message);
            });
            out
        };
        let partial = PartialSuccess::read(&answer(3, b"too old")).unwrap();
        assert_eq!((partial.rejected, &*partial.message), (3, "too old"));
        assert_eq!(PartialSuccess::read(&answer(0, b"")), None);
        for odd in [&b""[..], b"{}", b"\x0a", b"\x0a\xff\xff", &[0x80; 20]] {
            assert_eq!(PartialSuccess::read(odd), None, "{odd:?}");
        }
    }
}
