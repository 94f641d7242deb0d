//! Functions from the table that Go's runtime itself looks them up in, `.gopclntab`: it is there in stripped executables
//! as well. Layout: `pcHeader`, `functab` and `_func` in Go's
//! [runtime/symtab.go](https://github.com/golang/go/blob/go1.27.3/src/runtime/symtab.go) and `runtime2.go`.

use crate::elf::{Elf, Function, Match, Source};
use std::collections::HashMap;
use std::ops::ControlFlow::{Break, Continue};
use std::ops::Range;

const MAGIC_GO_1_18: [u8; 4] = 0xffff_fff0_u32.to_le_bytes();
const MAGIC_GO_1_20: [u8; 4] = 0xffff_fff1_u32.to_le_bytes();
const HEADER_BYTES: u64 = 72;
/// Functions of an executable; the largest have half a million.
const FUNCTIONS_MAX: u64 = 4 << 20;
/// Bytes of one entry of the table: where the code is and where the description, from their starts, 32 bits each.
const ENTRY_BYTES: u64 = 8;
/// Entries that are read at once.
const ENTRIES_AT_ONCE: u64 = 8 << 10;

/// Words of the header, after 8 bytes of magic, padding, instruction size and pointer size.
struct Table {
    /// In the file.
    offset: u64,
    functions: u64,
    /// Address of the first function's code; 0 since Go 1.26, and before a relocation.
    text: u64,
    names: Range<u64>,
    /// Entries of functions, and their descriptions.
    entries: u64,
}

/// Functions of these names; none where the executable has none. An error is why that cannot be known.
pub(super) fn functions<S: Source + ?Sized>(elf: &Elf<'_, S>, names: &[&str]) -> Result<Vec<Function>, &'static str> {
    let table = Table::find(elf).ok_or("its function table was not found")?;
    let places = table.places_of(elf, names);
    let found = table.entries_of(elf, &places);
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let texts = table.texts(elf);
    let is_function = |function: &Function| {
        let code = super::code::read(elf, function);
        code.is_some_and(|code| super::code::offsets(elf.machine, &code, function.address).is_some())
    };
    let at = |text: u64| {
        let function = |entry: &Entry| Function {
            name: entry.name,
            address: text.saturating_add(entry.code.into()),
            size: entry.size.into(),
        };
        found.iter().map(function).collect::<Vec<_>>()
    };
    let mut placed = texts.into_iter().map(at);
    placed.find(|functions| functions.iter().any(is_function)).ok_or("where its code begins was not found")
}

/// Is a function's name anywhere in the file?
pub(super) fn mentions<S: Source + ?Sized>(elf: &Elf<'_, S>, name: &str) -> bool {
    let mut found = false;
    elf.search(&elf.data(), &[name.as_bytes()], |_| {
        found = true;
        Break(())
    });
    found
}

/// A function that was looked for.
struct Entry {
    name: usize,
    /// From the start of the code.
    code: u32,
    size: u32,
}

impl Table {
    fn find<S: Source + ?Sized>(elf: &Elf<'_, S>) -> Option<Self> {
        let section = elf.section(".gopclntab").or_else(|| elf.section(".data.rel.ro.gopclntab"));
        if let Some(section) = section {
            return Self::read(elf, section.range.start);
        }
        // A C linker puts the table of a position-independent executable among other data.
        let mut table = None;
        elf.search(&elf.data(), &[&MAGIC_GO_1_20, &MAGIC_GO_1_18], |Match { offset, .. }| {
            table = Self::read(elf, offset);
            if table.is_some() { Break(()) } else { Continue(()) }
        });
        table
    }

    fn read<S: Source + ?Sized>(elf: &Elf<'_, S>, offset: u64) -> Option<Self> {
        const POINTER_BYTES: u8 = 8;
        let header = elf.read(offset..offset.checked_add(HEADER_BYTES)?)?;
        let (start, words) = header.split_at(8);
        let known = start.starts_with(&MAGIC_GO_1_18) || start.starts_with(&MAGIC_GO_1_20);
        let plausible = start[4..6] == [0, 0] && matches!(start[6], 1 | 4) && start[7] == POINTER_BYTES;
        (known && plausible).then_some(())?;
        let word = |i: usize| words[8 * i..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let place = |i: usize| word(i)?.checked_add(offset);
        let functions = word(0).filter(|functions| (1..=FUNCTIONS_MAX).contains(functions))?;
        let names = place(3)?..place(4)?;
        (names.start < names.end).then_some(Self { offset, functions, text: word(2)?, names, entries: place(7)? })
    }

    /// Where names are in the table of names.
    fn places_of<S: Source + ?Sized>(&self, elf: &Elf<'_, S>, names: &[&str]) -> HashMap<u32, usize> {
        let mut places = HashMap::new();
        elf.strings(self.names.clone(), |end, string| {
            if let Some(i) = names.iter().position(|name| name.as_bytes() == string)
                && let Ok(place) = u32::try_from(end - string.len() as u64)
            {
                places.insert(place, i);
            }
            if places.len() < names.len() { Continue(()) } else { Break(()) }
        });
        places
    }

    /// Goes through the table until all names were met.
    fn entries_of<S: Source + ?Sized>(&self, elf: &Elf<'_, S>, places: &HashMap<u32, usize>) -> Vec<Entry> {
        let mut found = Vec::new();
        let mut descriptions = Descriptions { elf, window: Vec::new(), start: 0 };
        for first in (0..self.functions).step_by(ENTRIES_AT_ONCE as usize) {
            let count = ENTRIES_AT_ONCE.min(self.functions - first);
            let start = self.entries.saturating_add(first * ENTRY_BYTES);
            // The start of the next entry is the end of the last one.
            let Some(bytes) = elf.read(start..start.saturating_add(count * ENTRY_BYTES + 4)) else { break };
            // Four bytes each: code, description, code of the next one.
            for words in bytes.windows(12).step_by(ENTRY_BYTES as usize) {
                if found.len() == places.len() {
                    return found;
                }
                let word = |i: usize| words[4 * i..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
                let (code, description, next) = (word(0), word(1), word(2));
                let name = descriptions.name(self.entries.saturating_add(description.into()));
                if let Some(name) = name.and_then(|name| places.get(&name)) {
                    found.push(Entry { name: *name, code, size: next.saturating_sub(code) });
                }
            }
        }
        found
    }

    /// Where the code may begin: as the header says, as the runtime's description of the executable says, either before
    /// or after relocation, or where the section begins.
    fn texts<S: Source + ?Sized>(&self, elf: &Elf<'_, S>) -> Vec<u64> {
        const TEXT_IN_HEADER: u64 = 24;
        /// `moduledata.text` since Go 1.26, which put the structure into a section of its own.
        const TEXT_IN_MODULE: u64 = 22 * 8;
        let in_header = elf.address(self.offset + TEXT_IN_HEADER);
        let module = elf.section(".go.module");
        let in_module = module.and_then(|section| elf.read_u64(section.range.start.checked_add(TEXT_IN_MODULE)?));
        let of_module = module.map(|section| section.address.saturating_add(TEXT_IN_MODULE));
        let relocated = [in_header, of_module].into_iter().flatten().filter_map(|address| elf.relocated(address));
        let section = elf.section(".text").map(|section| section.address);
        let first = [Some(self.text), in_module].into_iter().flatten();
        first.chain(relocated).chain(section).filter(|text| *text != 0).collect()
    }
}

/// Descriptions of functions, read in order.
struct Descriptions<'e, 's, S: Source + ?Sized> {
    elf: &'e Elf<'s, S>,
    window: Vec<u8>,
    start: u64,
}

impl<S: Source + ?Sized> Descriptions<'_, '_, S> {
    const WINDOW_BYTES: u64 = 64 << 10;
    /// `_func.nameOff`.
    const NAME_AT: u64 = 4;

    /// Where the name of the function that is described at an offset of the file is.
    fn name(&mut self, offset: u64) -> Option<u32> {
        let at = offset.checked_add(Self::NAME_AT)?;
        let inside =
            |start: u64, len: usize| Some(at.checked_sub(start)? as usize).filter(|at| at.saturating_add(4) <= len);
        if inside(self.start, self.window.len()).is_none() {
            (self.start, self.window) = (at, self.elf.read_up_to(at..at.saturating_add(Self::WINDOW_BYTES)));
        }
        let bytes = self.window.get(inside(self.start, self.window.len())?..)?;
        bytes.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
    }
}
