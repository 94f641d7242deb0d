//! The format of recorded connections: see tests/golden/http2/record.py and capture.py.

use autospan_core::protocol::Side;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// What one line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Bytes of a call. `start`: from its first one on; `end`: to its last one.
    Bytes {
        side: Side,
        bytes: Vec<u8>,
        start: bool,
        end: bool,
    },
    Gap {
        side: Side,
        len: u64,
    },
}

#[derive(Debug)]
pub struct Recording {
    pub path: PathBuf,
    /// Nothing is known of what came before.
    pub middle: bool,
    pub calls: Vec<Call>,
    /// Method and path of streams, where the recording itself does not tell.
    pub truth: Vec<(u32, String)>,
}

impl Recording {
    pub fn parse(path: PathBuf, text: &str) -> Self {
        let mut recording = Self { path, middle: false, calls: Vec::new(), truth: Vec::new() };
        for line in text.lines() {
            let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
            let side = if mark.starts_with('>') { Side::Request } else { Side::Response };
            match mark {
                "!middle" => recording.middle = true,
                "#=" => {
                    let (stream, name) = rest.split_once(' ').expect("a stream and a name");
                    recording.truth.push((stream.parse().expect("a number"), name.to_owned()));
                }
                ">" | "<" => recording.bytes(side, rest, true),
                ">|" | "<|" => recording.bytes(side, rest, false),
                ">gap" | "<gap" => recording.gap(side, rest.parse().expect("a number")),
                _ => assert!(line.starts_with('#'), "{line}"),
            }
        }
        recording
    }

    fn bytes(&mut self, side: Side, hex: &str, start: bool) {
        self.calls.push(Call::Bytes { side, bytes: unhex(hex), start, end: true });
    }

    /// What is in front of a gap goes on behind it only where a line says so: most are calls of their own.
    fn gap(&mut self, of: Side, len: u64) {
        let cut =
            matches!(self.calls.last(), Some(Call::Bytes { side, bytes, .. }) if *side == of && bytes.len() >= 100);
        if let (true, Some(Call::Bytes { end, .. })) = (cut, self.calls.last_mut()) {
            *end = false;
        }
        self.calls.push(Call::Gap { side: of, len });
    }

    pub fn name(&self) -> &str {
        self.path.file_stem().and_then(|stem| stem.to_str()).expect("a file name")
    }
}

impl Call {
    pub fn side(&self) -> Side {
        match self {
            Self::Bytes { side, .. } | Self::Gap { side, .. } => *side,
        }
    }

    /// The same, in two pieces.
    pub fn split_at(&self, at: usize) -> Vec<Self> {
        match self {
            Self::Bytes { side, bytes, start, end } if at > 0 && at < bytes.len() => vec![
                Self::Bytes { side: *side, bytes: bytes[..at].to_vec(), start: *start, end: false },
                Self::Bytes { side: *side, bytes: bytes[at..].to_vec(), start: false, end: *end },
            ],
            _ => vec![self.clone()],
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Bytes { bytes, .. } => bytes.len(),
            Self::Gap { len, .. } => usize::try_from(*len).unwrap_or(usize::MAX),
        }
    }
}

/// All recordings, by name.
pub fn recordings() -> Vec<Recording> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/http2");
    let files = fs::read_dir(folder).expect("the golden folder").map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> = files.filter(|path| path.extension().is_some_and(|ext| ext == "calls")).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a recording");
        Recording::parse(path, &text)
    };
    paths.into_iter().map(read).collect()
}

pub fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter(|c| !c.is_whitespace()).collect();
    digits.chunks(2).map(|two| u8::from_str_radix(&String::from_iter(two), 16).expect("hex")).collect()
}
