//! Attributes of a query, in front of its text: MySQL's clients send them since 8.0.23 to servers that take them.

use super::wire::Reader;

/// More of them are not followed.
const ATTRIBUTES_MAX: u64 = 128;

/// The text of a query, or nothing where its start was not found. Whether attributes come first needs no negotiation: behind their
/// number stands that of their sets, which is 1, and no text has that byte there.
pub(super) fn text(payload: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader(payload);
    let (Some(count), Some(1)) = (reader.integer(), reader.u8()) else { return Some(payload) };
    if count > ATTRIBUTES_MAX {
        return None;
    }
    values(&mut reader, count as usize)?;
    Some(reader.0)
}

/// Passes over them: which are NULL, types and names, then the values.
fn values(reader: &mut Reader<'_>, count: usize) -> Option<()> {
    if count == 0 {
        return Some(());
    }
    let nulls = reader.bytes(count.div_ceil(8))?;
    if reader.u8()? != 1 {
        return None;
    }
    let mut types = [0; ATTRIBUTES_MAX as usize];
    for kind in types.get_mut(..count)? {
        *kind = reader.u16()?.to_le_bytes()[0];
        reader.counted()?;
    }
    let is_null = |at: usize| nulls.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1);
    let sent = types.iter().take(count).enumerate().filter(|(at, _)| !is_null(*at));
    for (_, kind) in sent {
        value(reader, *kind)?;
    }
    Some(())
}

/// Passes over a value of this type, in the form of the binary protocol.
pub(super) fn value(reader: &mut Reader<'_>, kind: u8) -> Option<()> {
    const NULL: u8 = 6;
    let fixed = match kind {
        NULL => 0,
        // TINY
        1 => 1,
        // SHORT, YEAR
        2 | 13 => 2,
        // LONG, FLOAT, INT24
        3 | 4 | 9 => 4,
        // DOUBLE, LONGLONG
        5 | 8 => 8,
        // TIMESTAMP, DATE, TIME, DATETIME: a byte tells how many, as it does for texts.
        _ => return reader.counted().map(|_| ()),
    };
    reader.bytes(fixed).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_follows_the_attributes() {
        assert_eq!(text(b"SELECT 1"), Some(&b"SELECT 1"[..]));
        assert_eq!(text(b""), Some(&b""[..]));
        assert_eq!(text(b"\x00\x01SELECT 1"), Some(&b"SELECT 1"[..]));
        let one = b"\x01\x01\x00\x01\xfe\x00\x05trace\x03abcSELECT 1";
        assert_eq!(text(one), Some(&b"SELECT 1"[..]));
        let null_and_number = b"\x02\x01\x01\x01\xfe\x00\x01a\x08\x00\x01b\x01\x02\x03\x04\x05\x06\x07\x08SELECT 1";
        assert_eq!(text(null_and_number), Some(&b"SELECT 1"[..]));
    }

    #[test]
    fn no_text_is_taken_from_the_midst_of_attributes() {
        assert_eq!(text(b"\x01\x01\x00\x01\xfe\x00\x05trace\x30abc"), None);
        assert_eq!(text(b"\x01\x01\x00\x00\xfe\x00\x05trace\x03abcSELECT 1"), None);
        assert_eq!(text(b"\xfc\xff\xff\x01"), None);
    }
}
