//! Functions and objects by name.

use super::strings::TEXT_BYTES_MAX;
use super::{Elf, Section, Source, WINDOW_BYTES};
use object::LittleEndian as Le;
use object::elf;
use std::collections::HashMap;
use std::ops::ControlFlow::{self, Break, Continue};

/// Symbols of a table that are looked at; a browser with all its symbols has two million.
const SYMBOLS_MAX: u64 = 4 << 20;
/// Symbols that are found in a file: names are unique but for a handful of local ones.
const SYMBOLS_FOUND_MAX: usize = 256;

/// A function or an object that the file defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Index of its name among those that were looked for.
    pub name: usize,
    pub address: u64,
    /// Bytes; 0 where the symbol does not say.
    pub size: u64,
}

/// A symbol of code.
pub type Function = Symbol;

impl<S: Source + ?Sized> Elf<'_, S> {
    /// Functions of these names: exported ones (`.dynsym`), or else any (`.symtab`). Imports are not among them.
    pub fn functions(&self, names: &[&str]) -> Vec<Function> {
        let tables = [elf::SHT_DYNSYM, elf::SHT_SYMTAB].into_iter();
        let sections = tables.filter_map(|kind| self.sections.iter().find(|section| section.kind == kind));
        let mut found = sections.map(|section| self.defined_in(section, names, &[elf::STT_FUNC]));
        found.find(|functions| !functions.is_empty()).unwrap_or_default()
    }

    /// Functions and objects of these names that the file offers to others.
    pub fn exports(&self, names: &[&str]) -> Vec<Symbol> {
        let table = self.sections.iter().find(|section| section.kind == elf::SHT_DYNSYM);
        table.map(|table| self.defined_in(table, names, &[elf::STT_FUNC, elf::STT_OBJECT])).unwrap_or_default()
    }

    fn defined_in(&self, table: &Section, names: &[&str], kinds: &[elf::SymbolType]) -> Vec<Symbol> {
        debug_assert!(names.iter().all(|name| name.len() < TEXT_BYTES_MAX));
        let places = self.places_of(table, names);
        let mut symbols = Vec::new();
        if places.is_empty() {
            return symbols;
        }
        let bytes = (table.range.end - table.range.start).min(SYMBOLS_MAX * SYMBOL_BYTES);
        let mut buffer = vec![0; WINDOW_BYTES / SYMBOL_BYTES as usize * SYMBOL_BYTES as usize];
        for offset in (0..bytes).step_by(buffer.len()) {
            let len = (bytes - offset).min(buffer.len() as u64) as usize;
            let len = self.read_some(table.range.start.saturating_add(offset), &mut buffer[..len]);
            if len == 0 {
                break;
            }
            let entries = buffer[..len].chunks_exact(SYMBOL_BYTES as usize).filter_map(symbol);
            symbols.extend(entries.filter_map(|entry| {
                let wanted = kinds.contains(&entry.st_type()) && entry.st_shndx.get(Le) != elf::SHN_UNDEF;
                let name = *places.get(&entry.st_name.get(Le)).filter(|_| wanted)?;
                Some(Symbol { name, address: entry.st_value.get(Le), size: entry.st_size.get(Le) })
            }));
            symbols.truncate(SYMBOLS_FOUND_MAX);
        }
        symbols
    }

    /// Where names begin in a symbol table's strings. Linkers let a name share the end of a longer one.
    fn places_of(&self, table: &Section, names: &[&str]) -> HashMap<u32, usize> {
        let mut places = HashMap::new();
        let Some(strings) = self.sections.get(table.link as usize) else { return places };
        let shortest = names.iter().map(|name| name.len()).min().unwrap_or(0);
        self.strings(strings.range.clone(), |end, string| {
            if string.len() < shortest {
                return Continue(());
            }
            for (i, name) in names.iter().enumerate().filter(|(_, name)| string.ends_with(name.as_bytes())) {
                if let Ok(place) = u32::try_from(end - name.len() as u64) {
                    places.insert(place, i);
                }
            }
            if places.len() < SYMBOLS_FOUND_MAX { Continue(()) } else { Break(()) }
        });
        places
    }

    /// Goes through the names of the dynamic symbols, of versions and of needed libraries.
    pub fn dynamic_strings(&self, mut each: impl FnMut(&[u8]) -> ControlFlow<()>) {
        if let Some(section) = self.section(".dynstr") {
            self.strings(section.range.clone(), |_, string| each(string));
        }
    }
}

const SYMBOL_BYTES: u64 = size_of::<elf::Sym64<Le>>() as u64;

fn symbol(bytes: &[u8]) -> Option<&elf::Sym64<Le>> {
    object::pod::from_bytes(bytes).ok().map(|(symbol, _)| symbol)
}
