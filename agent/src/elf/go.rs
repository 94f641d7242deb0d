//! What the Go linker writes into every executable, stripped or not.

use super::{Elf, Source};

/// Bytes of `.go.buildinfo` that are read: its header and the version come first.
const BUILDINFO_BYTES_MAX: u64 = 256;
const VERSION_BYTES_MAX: usize = 64;

impl<S: Source + ?Sized> Elf<'_, S> {
    /// Was this linked by Go, and by which version, where that can be read? `1.27.3`.
    pub fn go_version(&self) -> Option<Option<String>> {
        let range = &self.section(".go.buildinfo")?.range;
        let end = range.end.min(range.start.saturating_add(BUILDINFO_BYTES_MAX));
        Some(self.read(range.start..end).and_then(|section| version(&section)))
    }
}

/// `.go.buildinfo` of Go ≥ 1.18: 32 bytes of header, whose flags byte has bit 1 set, then the version's length (varint)
/// and text.
fn version(section: &[u8]) -> Option<String> {
    const FLAGS_AT: usize = 15;
    const INLINE_STRINGS: u8 = 2;
    section.starts_with(b"\xff Go buildinf:").then_some(())?;
    (section.get(FLAGS_AT)? & INLINE_STRINGS != 0).then_some(())?;
    let (&len, rest) = section.get(32..)?.split_first()?;
    // A version is far shorter than the 128 bytes that would need a second length byte.
    let text = std::str::from_utf8(rest.get(..usize::from(len))?).ok()?;
    let version = text.split([' ', '\n']).next()?.strip_prefix("go")?;
    (version.len() <= VERSION_BYTES_MAX).then(|| version.to_owned())
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
        section[15] = 0;
        assert_eq!(version(&section), None, "an older layout");
        assert_eq!(version(b""), None);
    }
}
