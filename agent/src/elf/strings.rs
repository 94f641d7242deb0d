//! What texts a file holds: tables of names, and constants.

use super::{Elf, Source, WINDOW_BYTES};
use memchr::{memchr_iter, memmem};
use std::ops::ControlFlow::{self, Continue};
use std::ops::Range;

/// Bytes of a text that are looked at: no name that is looked for is longer, nor what follows a mark.
pub(super) const TEXT_BYTES_MAX: usize = 128;
/// Bytes of a table of names; Node's has 8 MB.
const STRINGS_BYTES_MAX: u64 = 64 << 20;
/// Bytes that are searched at once; Node has 47 MB of constants.
const SEARCH_BYTES_MAX: u64 = 64 << 20;

/// Where a mark was found.
#[derive(Clone, Copy, Debug)]
pub struct Match<'b> {
    /// Index of the mark.
    pub mark: usize,
    /// In the file.
    pub offset: u64,
    /// The mark and what follows, up to [`TEXT_BYTES_MAX`] bytes.
    pub text: &'b [u8],
}

/// A piece of a range.
pub(super) struct Window<'b> {
    /// From the start of the range.
    pub(super) offset: u64,
    pub(super) bytes: &'b [u8],
    /// Bytes at the start that were at the end of the window before.
    again: usize,
    last: bool,
}

impl<S: Source + ?Sized> Elf<'_, S> {
    /// Goes through NUL-terminated strings: the offset of each one's NUL from the start of the range, and its last
    /// bytes, which are all of it where it is shorter than [`TEXT_BYTES_MAX`].
    pub fn strings(&self, range: Range<u64>, mut each: impl FnMut(u64, &[u8]) -> ControlFlow<()>) {
        let end = range.end.min(range.start.saturating_add(STRINGS_BYTES_MAX));
        let _ = self.windows(range.start..end, |window| {
            let mut begin = 0;
            for end in memchr_iter(0, window.bytes) {
                if end >= window.again {
                    each(window.offset + end as u64, &window.bytes[begin..end])?;
                }
                begin = end + 1;
            }
            Continue(())
        });
    }

    /// The text at an address, up to its NUL. `None` where it is longer than `bytes_max`, or not plain ASCII.
    pub fn text(&self, address: u64, bytes_max: usize) -> Option<String> {
        let mut buffer = [0; TEXT_BYTES_MAX];
        let len = self.read_some(self.offset(address)?, &mut buffer[..TEXT_BYTES_MAX.min(bytes_max + 1)]);
        let text = &buffer[..memchr::memchr(0, &buffer[..len])?];
        text.iter().all(u8::is_ascii_graphic).then(|| String::from_utf8_lossy(text).into_owned())
    }

    /// Searches parts of the file for marks.
    pub fn search(&self, ranges: &[Range<u64>], marks: &[&[u8]], mut found: impl FnMut(Match<'_>) -> ControlFlow<()>) {
        let finders: Vec<_> = marks.iter().map(memmem::Finder::new).collect();
        let mut left = SEARCH_BYTES_MAX;
        for range in ranges {
            let range = range.start..range.end.min(range.start.saturating_add(left));
            left -= range.end.saturating_sub(range.start);
            let flow = self.windows(range.clone(), |window| {
                // What begins later is found again in the next window, with all that follows it.
                let end = if window.last { window.bytes.len() } else { window.bytes.len() - TEXT_BYTES_MAX };
                for (mark, finder) in finders.iter().enumerate() {
                    for at in finder.find_iter(window.bytes).take_while(|at| *at < end) {
                        let text = &window.bytes[at..window.bytes.len().min(at + TEXT_BYTES_MAX)];
                        found(Match { mark, offset: range.start + window.offset + at as u64, text })?;
                    }
                }
                Continue(())
            });
            if flow.is_break() {
                break;
            }
        }
    }

    /// Goes through a range in windows that overlap by [`TEXT_BYTES_MAX`], as far as the file goes.
    pub(super) fn windows(
        &self,
        range: Range<u64>,
        mut each: impl FnMut(Window<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let (mut buffer, mut offset, mut again) = (vec![0; WINDOW_BYTES], 0, 0);
        let size = range.end.saturating_sub(range.start);
        while offset + (again as u64) < size {
            let wanted = (size - offset).min(WINDOW_BYTES as u64) as usize;
            let from = range.start.saturating_add(offset + again as u64);
            let len = again + self.read_some(from, &mut buffer[again..wanted]);
            let last = len < wanted || offset + len as u64 >= size;
            each(Window { offset, bytes: &buffer[..len], again, last })?;
            if last {
                break;
            }
            again = TEXT_BYTES_MAX;
            offset += (len - again) as u64;
            buffer.copy_within(len - again..len, 0);
        }
        Continue(())
    }
}
