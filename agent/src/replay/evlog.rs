//! Reading evlog files, in pieces: a recording may be larger than memory.

use super::ReplayError;
use autospan_core::evlog::{
    BODY_BYTES_MAX, ENTRY_HEADER_BYTES, Entry, EvlogError, HEADER_BYTES, read_entry, read_header,
};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes read at once: more than any entry has.
const CHUNK_BYTES: usize = 1 << 20;
const _: () = assert!(CHUNK_BYTES > BODY_BYTES_MAX + ENTRY_HEADER_BYTES + HEADER_BYTES);

/// Calls `on_entry` for each entry in order.
///
/// # Errors
/// [`ReplayError::Damaged`] where the file stops being an evlog; entries before that were given to `on_entry`.
pub fn read(path: &Path, on_entry: impl FnMut(Entry<'_>)) -> Result<(), ReplayError> {
    let file = File::open(path).map_err(|source| ReplayError::Read { path: path.to_owned(), source })?;
    Reader { path, file, buffer: Vec::new(), consumed: 0 }.run(on_entry)
}

struct Reader<'p, R> {
    path: &'p Path,
    file: R,
    /// Read and not consumed.
    buffer: Vec<u8>,
    /// Bytes of the file that were understood.
    consumed: u64,
}

// === impl Reader ===

impl<R: Read> Reader<'_, R> {
    fn run(mut self, mut on_entry: impl FnMut(Entry<'_>)) -> Result<(), ReplayError> {
        self.fill()?;
        read_header(&self.buffer).map_err(|error| self.unusable(error))?;
        self.consume(HEADER_BYTES);
        loop {
            let (used, end) = entries(&self.buffer, &mut on_entry);
            self.consume(used);
            match end {
                // Cut off, or only not read yet.
                Ok(()) | Err(EvlogError::Truncated) if self.fill()? > 0 => {}
                Ok(()) => return Ok(()),
                Err(error) => return Err(self.damaged(error)),
            }
        }
    }

    /// Reads more; 0 at the end of the file.
    fn fill(&mut self) -> Result<usize, ReplayError> {
        let room = (CHUNK_BYTES - self.buffer.len()) as u64;
        let read = self.file.by_ref().take(room).read_to_end(&mut self.buffer);
        read.map_err(|source| ReplayError::Read { path: self.path.to_owned(), source })
    }

    fn consume(&mut self, bytes: usize) {
        self.buffer.drain(..bytes);
        self.consumed += bytes as u64;
    }

    fn unusable(&self, error: EvlogError) -> ReplayError {
        ReplayError::Unusable { path: self.path.to_owned(), reason: error.to_string() }
    }

    fn damaged(&self, error: EvlogError) -> ReplayError {
        ReplayError::Damaged { path: self.path.to_owned(), bytes: self.consumed, reason: error.to_string() }
    }
}

/// Gives out the whole entries in `bytes`; returns how many bytes they had and why it ended.
fn entries(bytes: &[u8], on_entry: &mut impl FnMut(Entry<'_>)) -> (usize, Result<(), EvlogError>) {
    let mut rest = bytes;
    loop {
        let used = bytes.len() - rest.len();
        match read_entry(rest) {
            Ok(Some((entry, after))) => {
                on_entry(entry);
                rest = after;
            }
            Ok(None) => return (used, Ok(())),
            Err(error) => return (used, Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autospan_core::evlog::write_header;

    fn evlog(ticks: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_header(&mut bytes);
        (0..ticks).for_each(|at| Entry::Tick(at).write(&mut bytes));
        bytes
    }

    /// Ticks that come out of a file with these bytes, and how it ended.
    fn ticks(bytes: &[u8]) -> (Vec<u64>, Result<(), ReplayError>) {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), bytes).expect("write");
        let mut ticks = Vec::new();
        let result = read(file.path(), |entry| match entry {
            Entry::Tick(at) => ticks.push(at),
            other => panic!("{other:?}"),
        });
        (ticks, result)
    }

    #[test]
    fn files_larger_than_a_chunk() {
        let count = 3 * CHUNK_BYTES as u64 / 13;
        let (ticks, result) = ticks(&evlog(count));
        result.expect("whole");
        assert!(ticks.into_iter().eq(0..count));
    }

    #[test]
    fn a_truncated_file_gives_what_is_there() {
        let whole = evlog(3);
        for cut in 1..13 {
            let (ticks, result) = ticks(&whole[..whole.len() - cut]);
            assert_eq!(ticks, [0, 1], "{cut}");
            assert!(matches!(result, Err(ReplayError::Damaged { bytes: 42, .. })), "{cut}");
        }
    }

    #[test]
    fn damage_in_the_middle() {
        let mut bytes = evlog(3);
        bytes[HEADER_BYTES + 13 + 4] = 99;
        let (found, result) = ticks(&bytes);
        assert_eq!(found, [0]);
        assert!(result.expect_err("damaged").to_string().contains("unknown tag 99"));
        bytes[HEADER_BYTES + 13..HEADER_BYTES + 17].fill(0xff);
        assert!(matches!(ticks(&bytes).1, Err(ReplayError::Damaged { bytes: 29, .. })));
    }

    #[test]
    fn files_of_another_version_or_kind() {
        let mut bytes = evlog(1);
        bytes[8] ^= 0xff;
        assert!(matches!(ticks(&bytes).1, Err(ReplayError::Unusable { .. })));
        assert!(matches!(ticks(b"autosp").1, Err(ReplayError::Unusable { .. })));
        assert!(matches!(read(Path::new("/nonexistent"), |_| {}), Err(ReplayError::Read { .. })));
    }
}
