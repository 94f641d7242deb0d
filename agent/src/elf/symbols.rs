//! Functions by name.

use super::strings::TEXT_BYTES_MAX;
use super::{Elf, Section, Source, WINDOW_BYTES};
use object::LittleEndian as Le;
use object::elf;
use std::collections::HashMap;
use std::ops::ControlFlow::{self, Break, Continue};

/// Symbols of a table that are looked at; a browser with all its symbols has two million.
const SYMBOLS_MAX: u64 = 4 << 20;
/// Functions that are found in a file: names are unique but for a handful of local ones.
const FUNCTIONS_MAX: usize = 256;

/// A function that the file defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Index of its name among those that were looked for.
    pub name: usize,
    pub address: u64,
    /// Bytes of code; 0 where the symbol does not say.
    pub size: u64,
}

impl<S: Source + ?Sized> Elf<'_, S> {
    /// Functions of these names: exported ones (`.dynsym`), or else any (`.symtab`). Imports are not among them.
    pub fn functions(&self, names: &[&str]) -> Vec<Function> {
        debug_assert!(names.iter().all(|name| name.len() < TEXT_BYTES_MAX));
        let tables = [elf::SHT_DYNSYM, elf::SHT_SYMTAB].into_iter();
        let sections = tables.filter_map(|kind| self.sections.iter().find(|section| section.kind == kind));
        let mut found = sections.map(|section| self.functions_in(section, names));
        found.find(|functions| !functions.is_empty()).unwrap_or_default()
    }

    fn functions_in(&self, table: &Section, names: &[&str]) -> Vec<Function> {
        let places = self.places_of(table, names);
        let mut functions = Vec::new();
        if places.is_empty() {
            return functions;
        }
        let bytes = (table.range.end - table.range.start).min(SYMBOLS_MAX * SYMBOL_BYTES);
        let mut buffer = vec![0; WINDOW_BYTES / SYMBOL_BYTES as usize * SYMBOL_BYTES as usize];
        for offset in (0..bytes).step_by(buffer.len()) {
            let len = (bytes - offset).min(buffer.len() as u64) as usize;
            let len = self.read_some(table.range.start.saturating_add(offset), &mut buffer[..len]);
            if len == 0 {
                break;
            }
            let symbols = buffer[..len].chunks_exact(SYMBOL_BYTES as usize).filter_map(symbol);
            functions.extend(symbols.filter_map(|symbol| {
                let defined = symbol.st_type() == elf::STT_FUNC && symbol.st_shndx.get(Le) != elf::SHN_UNDEF;
                let name = *places.get(&symbol.st_name.get(Le)).filter(|_| defined)?;
                Some(Function { name, address: symbol.st_value.get(Le), size: symbol.st_size.get(Le) })
            }));
            functions.truncate(FUNCTIONS_MAX);
        }
        functions
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
            if places.len() < FUNCTIONS_MAX { Continue(()) } else { Break(()) }
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
