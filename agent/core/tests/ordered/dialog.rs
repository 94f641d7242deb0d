//! The text format of golden dialogs: what moved through one connection, in order.
//!
//! ```text
//! # what it shows
//! > GET / HTTP/1.1\r\n      bytes of the request side; lines of one side are one call
//! > \r\n
//!                           an empty line ends the call
//! < HTTP/1.1 200 OK\r\n     bytes of the response side
//! <fill 1000                so many letters
//! <gap 5000                 so many bytes that were not captured
//! <close                    the end of the side
//! !capture x-request-id     capture this request header
//! !text off                 export no text of queries; `verbatim`: as it is
//! !assume                   give up waiting for the request of the next response
//! ```

use autospan_core::protocol::{ProtocolConfig, Side};
use autospan_core::sql::TextPolicy;

/// One thing that happens on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// All bytes of one call, or a piece of them.
    Bytes {
        side: Side,
        bytes: Vec<u8>,
        call_end: bool,
    },
    Gap {
        side: Side,
        len: u64,
    },
    Close {
        side: Side,
    },
    Assume,
}

#[derive(Clone, Debug, Default)]
pub struct Dialog {
    pub turns: Vec<Turn>,
    pub config: ProtocolConfig,
}

impl Dialog {
    pub fn parse(text: &str) -> Self {
        let mut dialog = Self::default();
        let mut open_call = None;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (mark, rest) = line.split_at(line.len().min(1));
            let side = match mark {
                ">" => Side::Request,
                "<" => Side::Response,
                "!" => {
                    dialog.option(rest);
                    continue;
                }
                _ => {
                    open_call = None;
                    continue;
                }
            };
            match rest.split_once(' ') {
                Some(("", bytes)) => dialog.bytes(side, &unescaped(bytes), &mut open_call),
                Some(("fill", n)) => dialog.bytes(side, &vec![b'x'; number(n) as usize], &mut open_call),
                Some(("gap", n)) => dialog.turns.push(Turn::Gap { side, len: number(n) }),
                _ => dialog.turns.push(Turn::Close { side }),
            }
        }
        dialog.close_calls();
        dialog
    }

    fn option(&mut self, text: &str) {
        match text.split_once(' ') {
            Some(("capture", name)) => self.config.capture_headers.push(name.to_owned()),
            Some(("text", "off")) => self.config.query_text = TextPolicy::Off,
            Some(("text", "verbatim")) => self.config.query_text = TextPolicy::Verbatim,
            _ => self.turns.push(Turn::Assume),
        }
    }

    fn bytes(&mut self, side: Side, more: &[u8], open_call: &mut Option<Side>) {
        match self.turns.last_mut() {
            Some(Turn::Bytes { bytes, .. }) if *open_call == Some(side) => bytes.extend_from_slice(more),
            _ => self.turns.push(Turn::Bytes { side, bytes: more.to_vec(), call_end: true }),
        }
        *open_call = Some(side);
    }

    /// Bytes in front of a gap go on behind it, in the same call: only its last piece ends the call.
    fn close_calls(&mut self) {
        for i in 1..self.turns.len() {
            let before_gap = matches!(self.turns[i], Turn::Gap { .. });
            if let Turn::Bytes { call_end, .. } = &mut self.turns[i - 1]
                && before_gap
            {
                *call_end = false;
            }
        }
    }

    /// All bytes of one side, up to its first gap.
    pub fn start_of(&self, side: Side) -> Vec<u8> {
        let of_side = self.turns.iter().filter(|turn| turn.side() == Some(side));
        let bytes = of_side.map_while(|turn| match turn {
            Turn::Bytes { bytes, .. } => Some(bytes.as_slice()),
            _ => None,
        });
        bytes.flatten().copied().collect()
    }
}

impl Turn {
    pub fn side(&self) -> Option<Side> {
        match self {
            Self::Bytes { side, .. } | Self::Gap { side, .. } | Self::Close { side } => Some(*side),
            Self::Assume => None,
        }
    }

    /// The same, in two pieces.
    pub fn split_at(&self, at: usize) -> Vec<Self> {
        match self {
            Self::Bytes { side, bytes, call_end } if at > 0 && at < bytes.len() => vec![
                Self::Bytes { side: *side, bytes: bytes[..at].to_vec(), call_end: false },
                Self::Bytes { side: *side, bytes: bytes[at..].to_vec(), call_end: *call_end },
            ],
            Self::Gap { side, len } if at > 0 && (at as u64) < *len => {
                vec![Self::Gap { side: *side, len: at as u64 }, Self::Gap { side: *side, len: len - at as u64 }]
            }
            _ => vec![self.clone()],
        }
    }

    /// Places where it can be split.
    pub fn places(&self) -> usize {
        match self {
            Self::Bytes { bytes, .. } => bytes.len(),
            Self::Gap { len, .. } => usize::try_from(*len).unwrap_or(usize::MAX),
            _ => 0,
        }
    }
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or_else(|_| panic!("not a number: {text}"))
}

/// `\r`, `\n`, `\0`, `\\` and `\xNN`.
fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let unescaped = match byte {
            b'\\' => match rest.next() {
                Some(b'r') => b'\r',
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'0') => 0,
                Some(b'\\') => b'\\',
                Some(b'x') => {
                    let digits: String = rest.by_ref().take(2).map(char::from).collect();
                    u8::from_str_radix(&digits, 16).unwrap_or_else(|_| panic!("bad escape in {text}"))
                }
                other => panic!("unknown escape {other:?} in {text}"),
            },
            other => other,
        };
        out.push(unescaped);
    }
    out
}
