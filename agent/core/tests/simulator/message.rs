//! The bytes that services say to one another: HTTP/1.1, what is asked for and the request's number in its path; PostgreSQL's
//! simple queries, of the column that has this number in what is asked for; Redis' commands, with a key like the path.

use crate::plan::{Plan, Protocol, Request};
use crate::random::Random;

pub(crate) fn request(plan: &Plan, id: usize) -> Vec<u8> {
    let Request { route, body: [body, _], .. } = plan.requests[id];
    match plan.protocol(id) {
        Protocol::Http => http_request(id, route, body),
        Protocol::Postgres => typed(b'Q', format!("SELECT r{id} FROM {route} -- {}\0", "q".repeat(body)).as_bytes()),
        Protocol::Redis => {
            let words = ["GETSET", &format!("{route}/r{id}"), &"q".repeat(body)].map(bulk);
            format!("*3\r\n{}", words.concat()).into_bytes()
        }
    }
}

pub(crate) fn response(plan: &Plan, id: usize) -> Vec<u8> {
    let body = plan.requests[id].body[1];
    match plan.protocol(id) {
        Protocol::Http => http_response(body),
        Protocol::Postgres => rows(body),
        Protocol::Redis => bulk(&"a".repeat(body.min(VALUE_BYTES_MAX))).into_bytes(),
    }
}

fn http_request(id: usize, route: char, body: usize) -> Vec<u8> {
    let mut bytes = match body {
        0 => format!("GET /{route}/r{id} HTTP/1.1\r\nHost: shop\r\n\r\n"),
        _ => format!("POST /{route}/r{id} HTTP/1.1\r\nHost: shop\r\nContent-Length: {body}\r\n\r\n"),
    }
    .into_bytes();
    bytes.resize(bytes.len() + body, b'q');
    bytes
}

fn http_response(body: usize) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {body}\r\n\r\n").into_bytes();
    bytes.resize(bytes.len() + body, b'a');
    bytes
}

/// One row of one column, of so many bytes.
fn rows(body: usize) -> Vec<u8> {
    let column = [b"\0\x01r\0".as_slice(), &[0; 18]].concat();
    let row = [b"\0\x01".as_slice(), &(body as u32).to_be_bytes(), &vec![b'a'; body]].concat();
    [typed(b'T', &column), typed(b'D', &row), typed(b'C', b"SELECT 1\0"), typed(READY, b"I")].concat()
}

/// Where one long answer ends and the next begins is not captured if both are read at once.
const VALUE_BYTES_MAX: usize = 300;

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

/// Ends what PostgreSQL answers.
const READY: u8 = b'Z';

fn typed(kind: u8, body: &[u8]) -> Vec<u8> {
    [[kind].as_slice(), &(4 + body.len() as u32).to_be_bytes(), body].concat()
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

    /// The next message that is complete: its first line, or the first of PostgreSQL's, or the first words of Redis'.
    pub(crate) fn next(&mut self) -> Option<String> {
        match self.0.first()? {
            b'G' | b'P' | b'H' => self.next_http(),
            b'*' | b'$' => self.next_redis(),
            _ => self.next_postgres(),
        }
    }

    fn next_postgres(&mut self) -> Option<String> {
        let (mut end, mut first) = (0, None);
        loop {
            let &[kind, a, b, c, d] = self.0.get(end..end + 5)? else { return None };
            let body = self.0.get(end + 5..end + 1 + u32::from_be_bytes([a, b, c, d]) as usize)?;
            end += 5 + body.len();
            let text = String::from_utf8_lossy(body).into_owned();
            let text = first.get_or_insert(text);
            if matches!(kind, b'Q' | READY) {
                let text = std::mem::take(text);
                self.0.drain(..end);
                return Some(text);
            }
        }
    }

    /// A bulk string, or an array of them.
    fn next_redis(&mut self) -> Option<String> {
        let (count, mut end) = if self.0.first() == Some(&b'*') { number(&self.0, 0)? } else { (1, 0) };
        let mut words = Vec::new();
        for _ in 0..count {
            let (length, start) = number(&self.0, end)?;
            end = start + length + LINE_END.len();
            words.push(String::from_utf8_lossy(self.0.get(..end)?.get(start..start + length)?).into_owned());
        }
        self.0.drain(..end);
        words.truncate(2);
        Some(words.join(" "))
    }

    fn next_http(&mut self) -> Option<String> {
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

const LINE_END: &[u8] = b"\r\n";

/// The number on Redis' line that starts `at` there, behind what it is of, and where the next line starts.
fn number(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let line = bytes.get(at + 1..)?;
    let length = line.windows(LINE_END.len()).position(|w| w == LINE_END)?;
    let number = std::str::from_utf8(&line[..length]).ok()?.parse().ok()?;
    Some((number, at + 1 + length + LINE_END.len()))
}

/// The number of the request with this path or URL, or of this column.
pub(crate) fn number_of(path: &str) -> Option<usize> {
    path.rsplit('/').next()?.strip_prefix('r')?.parse().ok()
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
