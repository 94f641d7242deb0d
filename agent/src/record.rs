//! Writing evlog files.

use autospan_core::evlog::{Entry, write_header};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Bytes that are collected before a write.
const BUFFER_BYTES: usize = 256 << 10;

#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{} has reached its limit of {max_bytes} bytes (--max-bytes)", path.display())]
    Full { path: PathBuf, max_bytes: u64 },
}

/// A recording in the making. After its first error it takes nothing more: what was written stays a valid evlog up to
/// its last entry.
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
    entries: u64,
    max_bytes: u64,
    scratch: Vec<u8>,
    failed: Option<RecordError>,
}

// === impl Recording ===

impl Recording {
    /// Creates the file, or empties it, and writes the header.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(path: &Path, max_bytes: u64) -> Result<Self, RecordError> {
        let write_error = |source| RecordError::Write { path: path.to_owned(), source };
        // It holds parts of what the services said.
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
        let mut file = BufWriter::with_capacity(BUFFER_BYTES, file.map_err(write_error)?);
        let mut scratch = Vec::new();
        write_header(&mut scratch);
        file.write_all(&scratch).map_err(write_error)?;
        let bytes = scratch.len() as u64;
        Ok(Self { path: path.to_owned(), file, bytes, entries: 0, max_bytes, scratch, failed: None })
    }

    /// Appends an entry. Errors are kept for [`Recording::failure`] and [`Recording::finish`].
    pub fn push(&mut self, entry: &Entry<'_>) {
        if self.failed.is_none() {
            self.failed = self.try_push(entry).err();
        }
    }

    fn try_push(&mut self, entry: &Entry<'_>) -> Result<(), RecordError> {
        self.scratch.clear();
        entry.write(&mut self.scratch);
        let bytes = self.bytes + self.scratch.len() as u64;
        if bytes > self.max_bytes {
            return Err(RecordError::Full { path: self.path.clone(), max_bytes: self.max_bytes });
        }
        self.file.write_all(&self.scratch).map_err(|source| self.write_error(source))?;
        (self.bytes, self.entries) = (bytes, self.entries + 1);
        Ok(())
    }

    fn write_error(&self, source: io::Error) -> RecordError {
        RecordError::Write { path: self.path.clone(), source }
    }

    /// Why nothing more is taken.
    pub fn failure(&self) -> Option<&RecordError> {
        self.failed.as_ref()
    }

    /// Writes what is buffered and returns the number of entries and bytes.
    ///
    /// # Errors
    /// The first error since the start. A full recording is no error: that was asked for.
    pub fn finish(mut self) -> Result<(u64, u64), RecordError> {
        let flushed = self.file.flush().map_err(|source| self.write_error(source));
        match self.failed {
            Some(error @ RecordError::Write { .. }) => Err(error),
            _ => flushed.map(|()| (self.entries, self.bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autospan_core::evlog::{read_entry, read_header};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn entries_are_written_until_the_file_is_full() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("x");
        let mut recording = Recording::create(&path, 50).expect("a file");
        for at in 0..10 {
            recording.push(&Entry::Tick(at));
        }
        assert!(matches!(recording.failure(), Some(RecordError::Full { max_bytes: 50, .. })));
        // 16 bytes of header, 13 per tick.
        assert_eq!(recording.finish().expect("written"), (2, 42));

        let bytes = std::fs::read(&path).expect("read");
        let rest = read_header(&bytes).expect("an evlog");
        let (first, rest) = read_entry(rest).expect("valid").expect("an entry");
        let (second, rest) = read_entry(rest).expect("valid").expect("an entry");
        assert_eq!((first, second, rest), (Entry::Tick(0), Entry::Tick(1), &[][..]));
        assert_eq!(std::fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn files_that_cannot_be_written() {
        assert!(matches!(Recording::create(Path::new("/"), 100), Err(RecordError::Write { .. })));
        let mut recording = Recording::create(Path::new("/dev/full"), 1 << 30).expect("it opens");
        recording.push(&Entry::Tick(0));
        assert!(matches!(recording.finish(), Err(RecordError::Write { .. })));
    }
}
