//! The bytes that services say to one another: HTTP/1.1, what is asked for and the request's number in its path.

use crate::plan::Request;
use crate::random::Random;

pub(crate) fn request(id: usize, request: &Request) -> Vec<u8> {
    let Request { route, body: [body, _], .. } = *request;
    let mut bytes = match body {
        0 => format!("GET /{route}/r{id} HTTP/1.1\r\nHost: shop\r\n\r\n"),
        _ => format!("POST /{route}/r{id} HTTP/1.1\r\nHost: shop\r\nContent-Length: {body}\r\n\r\n"),
    }
    .into_bytes();
    bytes.resize(bytes.len() + body, b'q');
    bytes
}

pub(crate) fn response(body: usize) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {body}\r\n\r\n").into_bytes();
    bytes.resize(bytes.len() + body, b'a');
    bytes
}

/// Messages of one direction of a connection, as they come.
#[derive(Debug, Default)]
pub(crate) struct Reader(Vec<u8>);

impl Reader {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Bytes that come before those that are there.
    pub(crate) fn push_front(&mut self, bytes: &[u8]) {
        self.0.splice(0..0, bytes.iter().copied());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next message that is complete: its first line.
    pub(crate) fn next(&mut self) -> Option<String> {
        const END: &[u8] = b"\r\n\r\n";
        let head = self.0.windows(END.len()).position(|w| w == END)? + END.len();
        let text = String::from_utf8(self.0[..head].to_vec()).expect("heads are text");
        let length = text.split("Content-Length: ").nth(1).and_then(|rest| rest.lines().next());
        let body: usize = length.map_or(0, |n| n.parse().expect("a number"));
        if self.0.len() < head + body {
            return None;
        }
        self.0.drain(..head + body);
        text.lines().next().map(str::to_owned)
    }

    /// The next request that is complete: its number.
    pub(crate) fn next_request(&mut self) -> Option<usize> {
        let line = self.next()?;
        Some(number_of(line.split(' ').nth(1).expect("a path")).expect("one of our requests"))
    }
}

/// The number of the request with this path or URL.
pub(crate) fn number_of(path: &str) -> Option<usize> {
    path.rsplit_once("/r")?.1.parse().ok()
}

/// Two to four pieces.
pub(crate) fn split<'b>(bytes: &'b [u8], random: &mut Random) -> Vec<&'b [u8]> {
    let mut rest = bytes;
    let mut pieces = Vec::new();
    for _ in 0..random.between(1, 3) {
        // Often inside the head.
        let reach = if random.percent(50) { rest.len().min(80) } else { rest.len() };
        let (piece, more) = rest.split_at(random.below(reach as u64) as usize);
        if !piece.is_empty() {
            pieces.push(piece);
        }
        rest = more;
    }
    if !rest.is_empty() {
        pieces.push(rest);
    }
    pieces
}
