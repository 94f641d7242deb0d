//! Lines and lengths of RESP (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).

/// A number and the end of its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Partial,
    Malformed,
    /// `bytes` of it with the line's end.
    Of {
        n: i64,
        bytes: usize,
    },
    /// `?`: what ends it comes later.
    Streamed {
        bytes: usize,
    },
}

/// Digits of the longest: no length is above that of 2^63.
const DIGITS_MAX: usize = 19;

impl Length {
    /// Of the bytes behind the type.
    pub(super) fn read(bytes: &[u8]) -> Self {
        if let [b'?', rest @ ..] = bytes {
            return match rest {
                [b'\r', b'\n', ..] => Self::Streamed { bytes: 3 },
                [] | [b'\r'] => Self::Partial,
                _ => Self::Malformed,
            };
        }
        let signs = usize::from(matches!(bytes, [b'-' | b'+', ..]));
        let digits = bytes.get(signs..).unwrap_or_default();
        let len = digits.iter().take(DIGITS_MAX + 1).take_while(|byte| byte.is_ascii_digit()).count();
        match digits.get(len..).unwrap_or_default() {
            _ if len > DIGITS_MAX => Self::Malformed,
            [] | [b'\r'] if len > 0 || digits.is_empty() => Self::Partial,
            [b'\r', b'\n', ..] if len > 0 => {
                let sign = if bytes.first() == Some(&b'-') { -1 } else { 1 };
                number(&digits[..len]).map_or(Self::Malformed, |n| Self::Of { n: sign * n, bytes: signs + len + 2 })
            }
            _ => Self::Malformed,
        }
    }
}

/// Of digits and nothing else.
pub(super) fn number(digits: &[u8]) -> Option<i64> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
    let add = |n: i64, byte| n.checked_mul(10)?.checked_add(digit(byte)?);
    if digits.is_empty() { None } else { digits.iter().try_fold(0, add) }
}

/// How long the line at the start is, with its end.
pub(super) fn line_len(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n').map(|end| end + 1)
}

/// `len` bytes from `at` and the line's end behind them.
pub(super) fn bulk(bytes: &[u8], at: usize, len: u64) -> Option<&[u8]> {
    let end = at.checked_add(usize::try_from(len).ok()?)?;
    bytes.get(..end.checked_add(2)?)?.get(at..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_to_the_end_of_their_line() {
        let read = |text: &str| Length::read(text.as_bytes());
        assert_eq!(read("17\r\nx"), Length::Of { n: 17, bytes: 4 });
        assert_eq!(read("-1\r\n"), Length::Of { n: -1, bytes: 4 });
        assert_eq!(read("+5\r\n"), Length::Of { n: 5, bytes: 4 });
        assert_eq!(read("?\r\n"), Length::Streamed { bytes: 3 });
        assert_eq!(read("9223372036854775807\r\n"), Length::Of { n: i64::MAX, bytes: 21 });
        assert!(["", "-", "1", "17\r", "?", "?\r"].iter().all(|text| read(text) == Length::Partial));
        let malformed =
            ["\r\n", "\r", "x", "1x", "1\n", "1\rx", "-\r\n", "?x", "9223372036854775808\r\n", "00000000000000000000"];
        assert!(malformed.iter().all(|text| read(text) == Length::Malformed));
    }
}
