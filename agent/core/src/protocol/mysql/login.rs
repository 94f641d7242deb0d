//! The start of a session. What authenticates is passed over without being copied.

use super::namespace::shared;
use super::wire::{HEADER_BYTES, Header, Reader, capability};
use crate::protocol::DatabaseSystem;
use alloc::sync::Arc;

/// What a server says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) system: DatabaseSystem,
    pub(super) capabilities: u32,
}

/// Bytes of a greeting that are looked at; it has no more.
pub(super) const GREETING_BYTES_MAX: usize = 512;
pub(super) const GREETING_VERSION: u8 = 10;

impl Greeting {
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let mut reader = Reader(payload);
        if reader.u8()? != GREETING_VERSION {
            return None;
        }
        let version = reader.terminated()?;
        // The connection's number, a part of the scramble and a filler.
        reader.bytes(4 + 8 + 1)?;
        let low = reader.u16()?;
        // Character set and status; servers of long ago end here.
        let high = reader.bytes(1 + 2).and_then(|_| reader.u16()).unwrap_or_default();
        let is_mariadb = version.windows(7).any(|part| part.eq_ignore_ascii_case(b"mariadb"));
        let system = if is_mariadb { DatabaseSystem::MariaDb } else { DatabaseSystem::MySql };
        Some(Self { system, capabilities: u32::from(high) << 16 | u32::from(low) })
    }
}

/// What a client says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) capabilities: u32,
    /// Those that only servers of MariaDB have, which says that the server is one.
    pub(super) extended: u32,
    /// The database that it wants. `None`: none, or behind what was looked at.
    pub(super) namespace: Option<Arc<str>>,
}

/// Bytes of a login that are looked at. Behind them stand attributes of the client, at most.
pub(super) const LOGIN_BYTES_MAX: usize = 1_024;
/// What it has in front of the user's name, and all of a request for TLS.
pub(super) const LOGIN_BYTES_MIN: usize = 4 + 4 + 1 + 19 + 4;

/// Are the first [`LOGIN_BYTES_MIN`] bytes of this packet those of a login?
pub(super) fn is_login(packet: &[u8]) -> bool {
    let Some(Header { bytes, sequence: 1 | 2 }) = Header::read(packet) else { return false };
    let mut reader = Reader(packet.get(HEADER_BYTES..).unwrap_or_default());
    let (Some(capabilities), Some(_)) = (reader.u32(), reader.bytes(4 + 1)) else { return false };
    let (Some(zeros), Some(extended)) = (reader.bytes(19), reader.u32()) else { return false };
    let wanted = capability::PROTOCOL_41 | capability::SECURE_CONNECTION;
    let is_tls = capabilities & capability::TLS != 0;
    let fits = bytes > LOGIN_BYTES_MIN as u64 || (is_tls && bytes == LOGIN_BYTES_MIN as u64);
    let plausible = fits && bytes <= 2 * u64::from(u16::MAX) && extended < 1 << 16;
    plausible && capabilities & wanted == wanted && zeros.iter().all(|&byte| byte == 0)
}

impl Login {
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let mut reader = Reader(payload);
        let capabilities = reader.u32()?;
        reader.bytes(4 + 1 + 19)?;
        let extended = reader.u32()?;
        let is_mariadb = capabilities & capability::MYSQL == 0;
        let namespace = wanted_namespace(&mut reader, capabilities);
        Some(Self { capabilities, extended: if is_mariadb { extended } else { 0 }, namespace })
    }
}

/// Behind the user's name and the scramble.
fn wanted_namespace(reader: &mut Reader<'_>, capabilities: u32) -> Option<Arc<str>> {
    reader.terminated()?;
    if capabilities & capability::LONG_SCRAMBLE != 0 {
        reader.counted()?;
    } else {
        let bytes = reader.u8()?;
        reader.bytes(usize::from(bytes))?;
    }
    let wants = capabilities & capability::CONNECT_WITH_DB != 0;
    let name = if wants { reader.terminated()? } else { b"" };
    (!name.is_empty()).then(|| shared(name))
}

/// The database that a change of user (behind its command) wants.
pub(super) fn changed_user(payload: &[u8]) -> Option<Arc<str>> {
    let mut reader = Reader(payload);
    reader.terminated()?;
    let bytes = reader.u8()?;
    reader.bytes(usize::from(bytes))?;
    let name = reader.terminated()?;
    (!name.is_empty()).then(|| shared(name))
}
