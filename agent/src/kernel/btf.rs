//! Where the members of the kernel's structs are, from the type information that the running kernel carries
//! (`/sys/kernel/btf/vmlinux`). Format: <https://docs.kernel.org/bpf/btf.html>.
//!
//! Only what the agent asks for is read: names of structs, members and what they lead through. The bytes are not trusted.

use std::ops::Range;

use thiserror::Error;

/// Type information of one kernel.
#[derive(Debug)]
pub(crate) struct Btf {
    bytes: Vec<u8>,
    strings: Range<usize>,
    /// Offset in `bytes` of each type, by type id; id 0 is `void`.
    types: Vec<u32>,
    /// Ids of the named structs and unions.
    structs: Vec<u32>,
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum BtfError {
    #[error("not BTF of version 1")]
    Foreign,
    #[error("malformed at byte {0}")]
    Malformed(usize),
    #[error("type kind {kind} at byte {at} is unknown")]
    UnknownKind { kind: u8, at: usize },
    #[error("no struct {0}")]
    NoStruct(String),
    #[error("struct {0} has no member {1}")]
    NoMember(String, String),
    #[error("{0}.{1} is a bit field")]
    BitField(String, String),
}

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: usize = 24;
const TYPE_BYTES: usize = 12;
const MEMBER_BYTES: usize = 12;
/// Types are followed through typedefs, qualifiers and anonymous members this far.
const DEPTH_MAX: usize = 32;
/// Members looked at in search of one: structs that hold each other many times over would be searched for ever.
const MEMBERS_MAX: usize = 10_000;

mod kind {
    pub(super) const INT: u8 = 1;
    pub(super) const PTR: u8 = 2;
    pub(super) const ARRAY: u8 = 3;
    pub(super) const STRUCT: u8 = 4;
    pub(super) const UNION: u8 = 5;
    pub(super) const ENUM: u8 = 6;
    pub(super) const FWD: u8 = 7;
    pub(super) const TYPEDEF: u8 = 8;
    pub(super) const VOLATILE: u8 = 9;
    pub(super) const CONST: u8 = 10;
    pub(super) const RESTRICT: u8 = 11;
    pub(super) const FUNC: u8 = 12;
    pub(super) const FUNC_PROTO: u8 = 13;
    pub(super) const VAR: u8 = 14;
    pub(super) const DATASEC: u8 = 15;
    pub(super) const FLOAT: u8 = 16;
    pub(super) const DECL_TAG: u8 = 17;
    pub(super) const TYPE_TAG: u8 = 18;
    pub(super) const ENUM64: u8 = 19;
}

/// A type's own 12 bytes.
#[derive(Clone, Copy, Debug)]
struct Type {
    at: usize,
    name: u32,
    kind: u8,
    /// Members, values or parameters.
    len: usize,
    /// Member offsets carry a bit-field size in their top byte.
    packs_bit_fields: bool,
    /// The type this one leads to, or its size.
    target: u32,
}

/// A member found by name.
#[derive(Clone, Copy, Debug)]
struct Member {
    bits: u64,
    bit_field: bool,
    target: u32,
}

// === impl Btf ===

impl Btf {
    /// # Errors
    /// The bytes are not BTF of the machine's byte order, or not all of it.
    pub(crate) fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        let (types, strings) = sections(&bytes)?;
        let mut btf = Self { bytes, strings, types: vec![0], structs: Vec::new() };
        btf.index(types)?;
        Ok(btf)
    }

    /// Byte offset of a member given by dotted path (`__sk_common.skc_num`), through anonymous structs and unions.
    ///
    /// # Errors
    /// No struct of this name has such a member, or it has no address of its own.
    pub(crate) fn offset(&self, structure: &str, path: &str) -> Result<u32, BtfError> {
        let mut error = BtfError::NoStruct(structure.to_owned());
        for &id in &self.structs {
            if self.type_of(id).is_ok_and(|found| self.is_named(found.name, structure)) {
                match self.offset_within(id, structure, path) {
                    Ok(offset) => return Ok(offset),
                    Err(found) => error = found,
                }
            }
        }
        Err(error)
    }

    fn offset_within(&self, id: u32, structure: &str, path: &str) -> Result<u32, BtfError> {
        let mut at = id;
        let mut bits = 0_u64;
        for name in path.split('.') {
            let missing = || BtfError::NoMember(structure.to_owned(), path.to_owned());
            let mut left = MEMBERS_MAX;
            let member = self.member(self.resolve(at)?, name, 0, &mut left)?.ok_or_else(missing)?;
            bits = bits.saturating_add(member.bits);
            at = member.target;
            if member.bit_field || !bits.is_multiple_of(8) {
                return Err(BtfError::BitField(structure.to_owned(), path.to_owned()));
            }
        }
        u32::try_from(bits / 8).map_err(|_| BtfError::Malformed(0))
    }

    /// The member of this name in a struct or union, or in an anonymous one within it.
    fn member(&self, id: u32, name: &str, depth: usize, left: &mut usize) -> Result<Option<Member>, BtfError> {
        let owner = self.type_of(id)?;
        if !matches!(owner.kind, kind::STRUCT | kind::UNION) || depth > DEPTH_MAX {
            return Ok(None);
        }
        for index in 0..owner.len {
            *left = left.checked_sub(1).ok_or(BtfError::Malformed(owner.at))?;
            let (member_name, member) = self.member_at(owner, index)?;
            if self.is_named(member_name, name) {
                return Ok(Some(member));
            }
            if member_name == 0 {
                let inner = self.member(self.resolve(member.target)?, name, depth + 1, left)?;
                if let Some(inner) = inner {
                    return Ok(Some(Member { bits: inner.bits.saturating_add(member.bits), ..inner }));
                }
            }
        }
        Ok(None)
    }

    fn member_at(&self, owner: Type, index: usize) -> Result<(u32, Member), BtfError> {
        let at = owner.at + TYPE_BYTES + index * MEMBER_BYTES;
        let raw = self.u32(at + 8)?;
        let (bits, bit_field) = if owner.packs_bit_fields { (raw & 0x00ff_ffff, raw >> 24 != 0) } else { (raw, false) };
        Ok((self.u32(at)?, Member { bits: u64::from(bits), bit_field, target: self.u32(at + 4)? }))
    }

    /// The type behind typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Result<u32, BtfError> {
        for _ in 0..DEPTH_MAX {
            let found = self.type_of(id)?;
            match found.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => id = found.target,
                _ => return Ok(id),
            }
        }
        Err(BtfError::Malformed(0))
    }

    fn type_of(&self, id: u32) -> Result<Type, BtfError> {
        let at = self.types.get(id as usize).filter(|_| id != 0).ok_or(BtfError::Malformed(0))?;
        self.read_type(*at as usize)
    }

    fn read_type(&self, at: usize) -> Result<Type, BtfError> {
        let details = self.u32(at + 4)?;
        Ok(Type {
            at,
            name: self.u32(at)?,
            kind: (details >> 24 & 0x1f) as u8,
            len: (details & 0xffff) as usize,
            packs_bit_fields: details >> 31 != 0,
            target: self.u32(at + 8)?,
        })
    }

    /// Notes where each type is.
    fn index(&mut self, section: Range<usize>) -> Result<(), BtfError> {
        let mut at = section.start;
        while at < section.end {
            let found = self.read_type(at)?;
            if found.name != 0 && matches!(found.kind, kind::STRUCT | kind::UNION) {
                self.structs.push(self.types.len() as u32);
            }
            self.types.push(u32::try_from(at).map_err(|_| BtfError::Malformed(at))?);
            at += TYPE_BYTES + found.trailing_bytes()?;
        }
        if at == section.end { Ok(()) } else { Err(BtfError::Malformed(at)) }
    }

    fn is_named(&self, name: u32, wanted: &str) -> bool {
        let strings = &self.bytes[self.strings.clone()];
        let rest = strings.get(name as usize..).and_then(|rest| rest.strip_prefix(wanted.as_bytes()));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }

    fn u32(&self, at: usize) -> Result<u32, BtfError> {
        u32_at(&self.bytes, at)
    }
}

impl Type {
    /// Bytes that follow the type's own.
    fn trailing_bytes(&self) -> Result<usize, BtfError> {
        Ok(match self.kind {
            kind::INT | kind::VAR | kind::DECL_TAG => 4,
            kind::ARRAY => 12,
            kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => self.len * 12,
            kind::ENUM | kind::FUNC_PROTO => self.len * 8,
            kind::PTR | kind::FWD | kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT => 0,
            kind::FUNC | kind::FLOAT | kind::TYPE_TAG => 0,
            kind => return Err(BtfError::UnknownKind { kind, at: self.at }),
        })
    }
}

/// Where the types and the strings are.
fn sections(bytes: &[u8]) -> Result<(Range<usize>, Range<usize>), BtfError> {
    let magic = bytes.get(..2).and_then(|magic| magic.try_into().ok()).map(u16::from_ne_bytes);
    if magic != Some(MAGIC) || bytes.get(2) != Some(&1) {
        return Err(BtfError::Foreign);
    }
    let header = u32_at(bytes, 4)? as usize;
    if header < HEADER_BYTES {
        return Err(BtfError::Malformed(4));
    }
    Ok((section(bytes, header, 8)?, section(bytes, header, 16)?))
}

/// The section whose offset and length stand at `field` of the header.
fn section(bytes: &[u8], header: usize, field: usize) -> Result<Range<usize>, BtfError> {
    let start = header.saturating_add(u32_at(bytes, field)? as usize);
    let end = start.saturating_add(u32_at(bytes, field + 4)? as usize);
    if end <= bytes.len() { Ok(start..end) } else { Err(BtfError::Malformed(field)) }
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, BtfError> {
    let word = bytes.get(at..at.saturating_add(4)).and_then(|word| word.try_into().ok());
    word.map(u32::from_ne_bytes).ok_or(BtfError::Malformed(at))
}

#[cfg(test)]
#[path = "btf_tests.rs"]
mod tests;
