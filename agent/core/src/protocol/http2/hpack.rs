//! Header compression (RFC 7541), for an observer: the decoder may start in the middle of a connection.
//!
//! Ours, since no decoder that was found can hold an entry that it does not know: they answer a reference to one with an
//! error, and are of no more use on that connection.

mod huffman;
mod table;

use crate::limits::HEAD_BYTES_MAX;
use alloc::vec::Vec;
use table::{ENTRY_BYTES, Found, Table};
/// A name or value. `None`: it came from an entry that nobody knows.
pub type Text<'a> = Option<&'a [u8]>;

/// A field of a header list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    pub name: Text<'a>,
    pub value: Text<'a>,
}

/// Why a header block is none. What its receiver answers with `COMPRESSION_ERROR`, which ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The block ends inside a field.
    Truncated,
    /// An integer that no sender needs (section 5.1).
    Integer,
    /// See [`huffman::decode`].
    Huffman,
    /// There is no such entry.
    Index,
    /// A size update behind a field (section 4.2).
    SizeUpdate,
}

/// What a block held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Fields with something unknown in them.
    pub unknown: usize,
    /// It is longer than [`HEAD_BYTES_MAX`]; the fields behind that were not handed out.
    pub too_long: bool,
}

/// Of one direction of a connection.
#[derive(Debug, Default)]
pub struct Decoder {
    table: Table,
}

impl Decoder {
    /// For a connection whose header blocks up to here were not all seen.
    pub fn in_the_middle() -> Self {
        let mut decoder = Self::default();
        decoder.forget();
        decoder
    }

    /// A header block, or a part of one, was lost: the entries it may have brought are not known, nor where the others
    /// are now.
    pub fn forget(&mut self) {
        self.table.forget();
    }

    /// There may be entries that are not known.
    pub fn is_partial(&self) -> bool {
        self.table.is_partial()
    }

    /// Memory that it holds, about.
    pub fn held_bytes(&self) -> usize {
        self.table.bytes()
    }

    /// Decodes a whole header block and hands out its fields in order.
    ///
    /// # Errors
    /// The block is none. The fields handed out before are void, and so is the decoder.
    pub fn decode(&mut self, block: &[u8], mut on_field: impl FnMut(Field<'_>)) -> Result<List, Fault> {
        let mut block = Block { rest: block, scratch: [Vec::new(), Vec::new()] };
        let (mut list, mut list_bytes, mut first) = (List::default(), 0, true);
        while let Some(representation) = block.representation()? {
            if let Representation::SizeUpdate(size) = representation {
                if !first {
                    return Err(Fault::SizeUpdate);
                }
                self.table.resize(size);
                continue;
            }
            first = false;
            self.field(&mut block, representation, |field| {
                list_bytes += field.bytes();
                list.unknown += usize::from(field.name.is_none() || field.value.is_none());
                list.too_long |= list_bytes > HEAD_BYTES_MAX;
                if !list.too_long {
                    on_field(field);
                }
            })?;
        }
        Ok(list)
    }

    fn field(
        &mut self,
        block: &mut Block<'_>,
        kind: Representation,
        mut on_field: impl FnMut(Field<'_>),
    ) -> Result<(), Fault> {
        match kind {
            Representation::Indexed(index) => on_field(self.entry(index)?),
            Representation::Literal { name, indexed } => {
                let literal = block.literal(name == 0)?;
                let name = match literal.name {
                    Some(name) => Some(name),
                    None => self.entry(name)?.name,
                };
                on_field(Field { name, value: Some(literal.value) });
                if indexed {
                    // The name may be the table's own, which the new entry may push out.
                    let name = name.map(Vec::from);
                    self.table.insert(name.as_deref(), Some(literal.value));
                }
            }
            Representation::SizeUpdate(_) => {}
        }
        Ok(())
    }

    fn entry(&self, index: usize) -> Result<Field<'_>, Fault> {
        match self.table.find(index) {
            Found::Field(name, value) => Ok(Field { name: Some(name), value: Some(value) }),
            Found::Partly(name, value) => Ok(Field { name, value }),
            Found::Nothing => Err(Fault::Index),
        }
    }
}

impl Field<'_> {
    /// As limits on header lists count it (RFC 9113 section 6.5.2).
    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.name.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len)
    }
}

// === representations (section 6) ===

#[derive(Clone, Copy, Debug)]
enum Representation {
    Indexed(usize),
    /// `name`: index of the name, 0 where it follows. `indexed`: it becomes an entry.
    Literal {
        name: usize,
        indexed: bool,
    },
    SizeUpdate(usize),
}

struct Literal<'a> {
    name: Text<'a>,
    value: &'a [u8],
}

/// What is left of a header block.
struct Block<'b> {
    rest: &'b [u8],
    /// Decoded name and value.
    scratch: [Vec<u8>; 2],
}

/// Where a string's text is.
#[derive(Clone, Copy)]
enum Place<'b> {
    Block(&'b [u8]),
    Scratch,
}

impl<'b> Block<'b> {
    fn representation(&mut self) -> Result<Option<Representation>, Fault> {
        let Some(&first) = self.rest.first() else { return Ok(None) };
        Ok(Some(match first {
            0x80.. => match self.integer(7)? {
                0 => return Err(Fault::Index),
                index => Representation::Indexed(index),
            },
            0x40.. => Representation::Literal { name: self.integer(6)?, indexed: true },
            0x20.. => Representation::SizeUpdate(self.integer(5)?),
            _ => Representation::Literal { name: self.integer(4)?, indexed: false },
        }))
    }

    /// An integer with a prefix of so many bits. No more than 2^28 + 2^prefix: nothing here is longer.
    fn integer(&mut self, prefix: u32) -> Result<usize, Fault> {
        const CONTINUATION_BYTES_MAX: u32 = 4;
        let max = (1usize << prefix) - 1;
        let mut value = usize::from(self.byte()?) & max;
        if value < max {
            return Ok(value);
        }
        for i in 0..CONTINUATION_BYTES_MAX {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Fault::Integer)
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        let (byte, rest) = self.rest.split_first().ok_or(Fault::Truncated)?;
        self.rest = rest;
        Ok(*byte)
    }

    /// The name, where `named`, and the value of a literal.
    fn literal(&mut self, named: bool) -> Result<Literal<'_>, Fault> {
        let name = if named { Some(self.string(0)?) } else { None };
        let value = self.string(1)?;
        let [names, values] = &self.scratch;
        let name = name.map(|place| place.text(names));
        Ok(Literal { name, value: value.text(values) })
    }

    fn string(&mut self, scratch: usize) -> Result<Place<'b>, Fault> {
        let huffman = self.rest.first().is_some_and(|first| first & 0x80 != 0);
        let len = self.integer(7)?;
        let (text, rest) = self.rest.split_at_checked(len).ok_or(Fault::Truncated)?;
        self.rest = rest;
        if !huffman {
            return Ok(Place::Block(text));
        }
        let out = &mut self.scratch[scratch];
        out.clear();
        huffman::decode(text, out)?;
        Ok(Place::Scratch)
    }
}

impl<'a> Place<'a> {
    fn text(self, scratch: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Block(text) => text,
            Self::Scratch => scratch,
        }
    }
}
