//! evlog: the one record format. Raw ring-buffer records, facts and ticks, length-prefixed.
//!
//! ```text
//! file  = magic "autospan" · u32 abi version · u32 zero · entry*
//! entry = u32 length of body · u8 tag · body          (little-endian)
//! tag 1 = a record as the kernel wrote it; 2 = a Fact (postcard); 3 = a tick: u64 CLOCK_MONOTONIC ns
//! ```

use crate::event::RECORD_BYTES_MAX;
use crate::fact::Fact;
use alloc::vec::Vec;
use autospan_abi::ABI_VERSION;

const MAGIC: &[u8; 8] = b"autospan";
/// Bytes before the first entry.
pub const HEADER_BYTES: usize = 16;
/// Bytes before the body of an entry.
pub const ENTRY_HEADER_BYTES: usize = 5;
/// No entry's body is longer.
pub const BODY_BYTES_MAX: usize = RECORD_BYTES_MAX;

/// One entry of an evlog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    Record(&'a [u8]),
    Fact(Fact),
    Tick(u64),
}

/// Why bytes are not an evlog, or stop being one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvlogError {
    #[error("not an evlog: it does not start with \"autospan\"")]
    Foreign,
    #[error(
        "the evlog has ABI version {found}, this autospan reads version {ABI_VERSION}: replay it with the autospan that recorded it"
    )]
    Version { found: u32 },
    #[error("the evlog is cut off")]
    Truncated,
    #[error("an entry claims {len} bytes, more than any entry has: the evlog is damaged")]
    TooLong { len: u32 },
    #[error("an entry has the unknown tag {0}: the evlog is damaged")]
    UnknownTag(u8),
    #[error("a fact cannot be read: the evlog is damaged")]
    Fact,
}

/// Appends the file header.
pub fn write_header(out: &mut Vec<u8>) {
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&ABI_VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
}

/// Checks the file header at the start of `bytes` and returns what follows it.
pub fn read_header(bytes: &[u8]) -> Result<&[u8], EvlogError> {
    let known = bytes.len().min(MAGIC.len());
    if bytes[..known] != MAGIC[..known] {
        return Err(EvlogError::Foreign);
    }
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(EvlogError::Truncated)?;
    let found = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    if found == ABI_VERSION { Ok(rest) } else { Err(EvlogError::Version { found }) }
}

impl Entry<'_> {
    /// Appends the entry.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        match self {
            Entry::Record(bytes) => {
                out.push(1);
                out.extend_from_slice(bytes);
            }
            Entry::Fact(fact) => {
                out.push(2);
                // Writing into a Vec has no way to fail; a fact has no unserialisable member.
                if let Ok(bytes) = postcard::to_allocvec(fact) {
                    out.extend_from_slice(&bytes);
                }
            }
            Entry::Tick(at) => {
                out.push(3);
                out.extend_from_slice(&at.to_le_bytes());
            }
        }
        let len = (out.len() - start - ENTRY_HEADER_BYTES) as u32;
        out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    }
}

/// Reads the entry at the start of `bytes` and returns it with what follows; `None` at a clean end.
pub fn read_entry(bytes: &[u8]) -> Result<Option<(Entry<'_>, &[u8])>, EvlogError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (header, rest) = bytes.split_first_chunk::<ENTRY_HEADER_BYTES>().ok_or(EvlogError::Truncated)?;
    let len = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    if len as usize > BODY_BYTES_MAX {
        return Err(EvlogError::TooLong { len });
    }
    let (body, rest) = rest.split_at_checked(len as usize).ok_or(EvlogError::Truncated)?;
    let entry = match header[4] {
        1 => Entry::Record(body),
        2 => Entry::Fact(postcard::from_bytes(body).map_err(|_| EvlogError::Fact)?),
        3 => Entry::Tick(u64::from_le_bytes(body.try_into().map_err(|_| EvlogError::Truncated)?)),
        tag => return Err(EvlogError::UnknownTag(tag)),
    };
    Ok(Some((entry, rest)))
}
