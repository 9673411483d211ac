//! Writes the wire format of protocol buffers (<https://protobuf.dev/programming-guides/encoding/>),
//! as far as OTLP needs it.
//!
//! Written by hand because it is little, and because spans are encoded while calls wait: the SDK of
//! OpenTelemetry takes ten times as long for one.

/// The wire types that are written.
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH: u32 = 2;
const FIXED32: u32 = 5;

/// Writes a number in groups of seven bits, the lowest first.
fn write_varint(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Returns how many bytes a number takes as a varint.
fn varint_size(number: u64) -> usize {
    let bits = 64 - (number | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn write_tag(out: &mut Vec<u8>, field: u32, wire: u32) {
    write_varint(out, u64::from(field << 3 | wire));
}

/// Writes an integer (`int64`, `uint32`, `enum`, `bool`). A negative one has ten bytes.
pub(super) fn write_int(out: &mut Vec<u8>, field: u32, number: i64) {
    write_tag(out, field, VARINT);
    write_varint(out, number as u64);
}

/// Writes a `fixed64`.
pub(super) fn write_fixed64(out: &mut Vec<u8>, field: u32, number: u64) {
    write_tag(out, field, FIXED64);
    out.extend_from_slice(&number.to_le_bytes());
}

/// Writes a `fixed32`.
pub(super) fn write_fixed32(out: &mut Vec<u8>, field: u32, number: u32) {
    write_tag(out, field, FIXED32);
    out.extend_from_slice(&number.to_le_bytes());
}

/// Writes `bytes`, a `string`, or a message that is encoded already.
pub(super) fn write_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    write_tag(out, field, LENGTH);
    write_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes a message whose fields `write` writes.
pub(super) fn write_message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    write_message_of(out, field, 0, write);
}

/// Writes a message of about `expected` bytes, whose fields `write` writes. If its length takes as
/// many bytes as that of `expected`, it stays where it is written first.
pub(super) fn write_message_of(
    out: &mut Vec<u8>,
    field: u32,
    expected: usize,
    write: impl FnOnce(&mut Vec<u8>),
) {
    write_tag(out, field, LENGTH);
    let at = out.len();
    let begin = at + varint_size(expected as u64);
    out.resize(begin, 0);
    write(out);
    let end = out.len();
    let mut size = (end - begin) as u64;
    let moved = at + varint_size(size);
    if moved > begin {
        out.resize(end + moved - begin, 0);
    }
    if moved != begin {
        out.copy_within(begin..end, moved);
        out.truncate(end + moved - begin);
    }
    let length = out.get_mut(at..moved).unwrap_or_default();
    let last = length.len().saturating_sub(1);
    for (place, byte) in length.iter_mut().enumerate() {
        *byte = size as u8 & 0x7f | if place < last { 0x80 } else { 0 };
        size >>= 7;
    }
}

/// A value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AttributeValue<'v> {
    /// Text.
    Text(&'v str),
    /// A whole number.
    Int(i64),
    /// Yes or no.
    Bool(bool),
    /// A number.
    Double(f64),
}

impl<'v> From<&'v str> for AttributeValue<'v> {
    fn from(text: &'v str) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for AttributeValue<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<bool> for AttributeValue<'_> {
    fn from(is: bool) -> Self {
        Self::Bool(is)
    }
}

/// Writes a `KeyValue` (`opentelemetry/proto/common/v1/common.proto`): the key is its field 1, the
/// value field 2, an `AnyValue` with text in field 1, a bool in 2, an integer in 3, a double in 4.
pub(super) fn write_attribute(out: &mut Vec<u8>, field: u32, key: &str, value: AttributeValue<'_>) {
    if let AttributeValue::Text(text) = value
        && key.len() + text.len() <= SHORT
    {
        return write_short(out, field, key, text);
    }
    // Of the fields of both messages, all tags take one byte.
    let size = match value {
        AttributeValue::Text(text) => 1 + varint_size(text.len() as u64) + text.len(),
        AttributeValue::Int(number) => 1 + varint_size(number as u64),
        AttributeValue::Bool(_) => 2,
        AttributeValue::Double(_) => 9,
    };
    let key_size = 1 + varint_size(key.len() as u64) + key.len();
    write_tag(out, field, LENGTH);
    write_varint(out, (key_size + 1 + varint_size(size as u64) + size) as u64);
    write_bytes(out, 1, key.as_bytes());
    write_tag(out, 2, LENGTH);
    write_varint(out, size as u64);
    match value {
        AttributeValue::Text(text) => write_bytes(out, 1, text.as_bytes()),
        AttributeValue::Bool(is) => write_int(out, 2, i64::from(is)),
        AttributeValue::Int(number) => write_int(out, 3, number),
        AttributeValue::Double(number) => write_fixed64(out, 4, number.to_bits()),
    }
}

/// The most bytes of a key and a text with which their length takes one byte, with all that is
/// between them.
const SHORT: usize = 0x7f - 6;

/// Writes a short text as [`write_attribute`] does, which is what most attributes are.
fn write_short(out: &mut Vec<u8>, field: u32, key: &str, text: &str) {
    let (key, text) = (key.as_bytes(), text.as_bytes());
    let (key_size, text_size) = (key.len() as u8, text.len() as u8);
    out.reserve(16 + key.len() + text.len());
    write_tag(out, field, LENGTH);
    let first = |field: u8| field << 3 | LENGTH as u8;
    out.extend_from_slice(&[key_size + text_size + 6, first(1), key_size]);
    out.extend_from_slice(key);
    out.extend_from_slice(&[first(2), text_size + 2, first(1), text_size]);
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the description of the format.
    #[test]
    fn numbers_and_text_are_written_as_the_format_says() {
        let written = |write: fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            out
        };
        assert_eq!(written(|out| write_int(out, 1, 150)), [0x08, 0x96, 0x01]);
        assert_eq!(
            written(|out| write_int(out, 1, -2)),
            [
                0x08, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01
            ]
        );
        assert_eq!(
            written(|out| write_bytes(out, 2, b"testing")),
            b"\x12\x07testing"
        );
        assert_eq!(
            written(|out| write_message(out, 3, |out| write_int(out, 1, 150))),
            [0x1a, 0x03, 0x08, 0x96, 0x01]
        );
        assert_eq!(
            written(|out| write_fixed32(out, 16, 1)),
            [0x85, 1, 1, 0, 0, 0]
        );
    }

    #[test]
    fn the_size_of_a_message_is_the_size_of_what_is_in_it() {
        for size in [0, 1, 127, 128, 129, 16_383, 16_384, 70_000] {
            let body = vec![7_u8; size];
            let mut plain = vec![1, 2];
            write_bytes(&mut plain, 1, &body);
            for expected in [0, 127, 128, 16_384, 1 << 30] {
                let mut nested = vec![1, 2];
                let write = |out: &mut Vec<u8>| out.extend_from_slice(&body);
                write_message_of(&mut nested, 1, expected, write);
                assert_eq!(plain, nested, "{size} {expected}");
            }
        }
        for number in [0, 1, 0x7f, 0x80, 1 << 14, 1 << 63, u64::MAX] {
            let mut out = Vec::new();
            write_varint(&mut out, number);
            assert_eq!(out.len(), varint_size(number), "{number}");
        }
    }

    #[test]
    fn an_attribute_is_a_message_of_key_and_value() {
        let long = "x".repeat(300);
        let texts = (0..long.len()).map(|size| AttributeValue::Text(&long[..size]));
        let others = [
            AttributeValue::Int(-1),
            AttributeValue::Int(300),
            AttributeValue::Bool(true),
            AttributeValue::Double(0.5),
        ];
        for value in texts.chain(others) {
            let (mut out, mut nested) = (Vec::new(), Vec::new());
            write_attribute(&mut out, 9, "key", value);
            write_message(&mut nested, 9, |out| {
                write_bytes(out, 1, b"key");
                write_message(out, 2, |out| match value {
                    AttributeValue::Text(text) => write_bytes(out, 1, text.as_bytes()),
                    AttributeValue::Bool(is) => write_int(out, 2, i64::from(is)),
                    AttributeValue::Int(number) => write_int(out, 3, number),
                    AttributeValue::Double(number) => write_fixed64(out, 4, number.to_bits()),
                });
            });
            assert_eq!(out, nested, "{value:?}");
        }
    }
}
