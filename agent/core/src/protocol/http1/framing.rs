//! How long is the body? (RFC 9112 section 6.3)

/// A length past this is a lie; it also keeps stream positions from overflowing.
const LENGTH_MAX: u64 = i64::MAX as u64;

/// Body of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Bytes; 0 where there is none.
    Length(u64),
    Chunked,
    UntilClose,
}

/// The sender and the receiver may disagree on where the message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Faulty;

/// What a response answers, as far as its framing depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Plain,
    Head,
    Connect,
}

impl Asked {
    /// A response with this status turns the connection into a tunnel.
    pub(super) fn tunnels(self, status: u16) -> bool {
        self == Self::Connect && matches!(status, 200..=299)
    }
}

/// The header fields that frame a message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Framing {
    length: Option<Result<u64, Faulty>>,
    coding: Option<Coding>,
    /// The connection goes on with HTTP/2.
    pub(super) h2c: bool,
}

/// The last transfer coding named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Chunked,
    Other,
    /// Something follows `chunked`.
    Misplaced,
}

impl Framing {
    /// Adds a `Content-Length` field. Several are one list; a list of equal numbers is that number.
    pub(super) fn content_length(&mut self, value: &[u8]) {
        for item in value.split(|&b| b == b',') {
            let item = length(item.trim_ascii());
            let agreed = self.length.is_none_or(|known| known == item);
            self.length = Some(if agreed { item } else { Err(Faulty) });
        }
    }

    /// Adds a `Transfer-Encoding` field.
    pub(super) fn transfer_encoding(&mut self, value: &[u8]) {
        for item in value.split(|&b| b == b',') {
            let name = item.split(|&b| b == b';').next().unwrap_or(item).trim_ascii();
            self.coding = Some(match self.coding {
                Some(Coding::Chunked | Coding::Misplaced) => Coding::Misplaced,
                _ if name.eq_ignore_ascii_case(b"chunked") => Coding::Chunked,
                _ => Coding::Other,
            });
        }
    }

    /// Body of a request. A transfer coding overrides a length; one that hides the end, or that HTTP/1.0 does not have,
    /// is what request smuggling is made of.
    pub(super) fn request(self, version: &str) -> Result<Body, Faulty> {
        match self.coding {
            None => self.length.unwrap_or(Ok(0)).map(Body::Length),
            Some(Coding::Chunked) if version != "1.0" => Ok(Body::Chunked),
            Some(_) => Err(Faulty),
        }
    }

    /// Body of a final response. Where a server's transfer coding does not tell the end, the close does.
    pub(super) fn response(self, version: &str, status: u16, asked: Asked) -> Result<Body, Faulty> {
        if asked == Asked::Head || asked.tunnels(status) || matches!(status, 100..=199 | 204 | 304) {
            return Ok(Body::Length(0));
        }
        match self.coding {
            None => self.length.map_or(Ok(Body::UntilClose), |length| length.map(Body::Length)),
            Some(Coding::Chunked) if version != "1.0" => Ok(Body::Chunked),
            Some(_) => Ok(Body::UntilClose),
        }
    }
}

/// `1*DIGIT`
fn length(digits: &[u8]) -> Result<u64, Faulty> {
    if digits.is_empty() {
        return Err(Faulty);
    }
    digits.iter().try_fold(0u64, |n, &b| {
        let digit = u64::from(b.wrapping_sub(b'0'));
        let n = n.checked_mul(10).and_then(|n| n.checked_add(digit)).filter(|n| *n <= LENGTH_MAX);
        n.filter(|_| b.is_ascii_digit()).ok_or(Faulty)
    })
}
