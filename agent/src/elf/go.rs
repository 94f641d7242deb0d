//! What the Go linker writes into every executable, stripped or not: its version.

use super::{Elf, Section, Source};
use std::ops::ControlFlow::{Break, Continue};

const MAGIC: &[u8] = b"\xff Go buildinf:";
/// Bytes of `.go.buildinfo` that are read: its header and the version come first.
const BUILDINFO_BYTES_MAX: u64 = 128;
const VERSION_BYTES_MAX: usize = 64;

impl<S: Source + ?Sized> Elf<'_, S> {
    /// Was this linked by Go, and by which version, where that can be read? `1.27.3`.
    pub fn go_version(&self) -> Option<Option<String>> {
        match self.section(".go.buildinfo") {
            Some(Section { range, .. }) => {
                Some(version(&self.read_up_to(range.start..range.start.saturating_add(BUILDINFO_BYTES_MAX))))
            }
            None if self.sections.is_empty() => self.find_version().map(Some),
            None => None,
        }
    }

    /// In a file that lost its section headers. Programs that read Go's executables hold the mark as well.
    fn find_version(&self) -> Option<String> {
        let mut found = None;
        self.search(&self.data(), &[MAGIC], |place| {
            found = version(place.text);
            if found.is_some() { Break(()) } else { Continue(()) }
        });
        found
    }
}

/// `.go.buildinfo` of Go ≥ 1.18: 32 bytes of header, whose flags byte has bit 1 set, then the version's length (varint)
/// and text.
fn version(section: &[u8]) -> Option<String> {
    const FLAGS_AT: usize = 15;
    const INLINE_STRINGS: u8 = 2;
    section.starts_with(MAGIC).then_some(())?;
    (section.get(FLAGS_AT)? & INLINE_STRINGS != 0).then_some(())?;
    let (&len, rest) = section.get(32..)?.split_first()?;
    // A version is far shorter than the 128 bytes that would need a second length byte.
    let text = std::str::from_utf8(rest.get(..usize::from(len))?).ok()?;
    let version = text.split([' ', '\n']).next()?.strip_prefix("go")?;
    let plain = version.bytes().all(|byte| byte.is_ascii_graphic());
    (plain && version.len() <= VERSION_BYTES_MAX).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_information() {
        let mut section = b"\xff Go buildinf:\x08\x02".to_vec();
        section.resize(32, 0);
        section.extend_from_slice(b"\x08go1.27.3rest");
        assert_eq!(version(&section).as_deref(), Some("1.27.3"));
        section[32] = 0x7f;
        assert_eq!(version(&section), None, "the length lies");
        section[32] = 8;
        section[36] = 0x1b;
        assert_eq!(version(&section), None, "nothing for a terminal");
        section[15] = 0;
        assert_eq!(version(&section), None, "an older layout");
        assert_eq!(version(b""), None);
    }
}
