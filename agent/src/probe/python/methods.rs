//! Tables of methods: how a C function of a stripped file is found by the name that it has in Python.
//!
//! A `PyMethodDef` is 32 bytes: name, function, flags (4 bytes, then 4 of padding), documentation. A table ends with an
//! empty one. <https://docs.python.org/3/c-api/structures.html#c.PyMethodDef>

use crate::elf::{Elf, Source};

/// Entries of a file that are looked at; a CPython with all its modules has 6,000.
const METHODS_MAX: usize = 32_768;
/// Entries of one table.
const TABLE_METHODS_MAX: usize = 256;
const NAME_BYTES_MAX: usize = 40;
const ENTRY_WORDS: usize = 4;
/// All `METH_*` flags there are.
const FLAGS: u64 = 0x3ff;
/// `METH_FASTCALL | METH_KEYWORDS`: (self, arguments, count, keywords).
pub(super) const FASTCALL_KEYWORDS: u64 = 0x82;
/// `METH_O`: (self, argument).
pub(super) const ONE_ARGUMENT: u64 = 0x8;
/// `METH_NOARGS`: (self, nothing).
pub(super) const NO_ARGUMENTS: u64 = 0x4;

/// A method that is written in C.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Method {
    pub(super) name: String,
    /// Address of its code.
    pub(super) function: u64,
    /// `METH_*`.
    pub(super) flags: u64,
}

/// The methods of one type or module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table(Vec<Method>);

/// All tables of a file.
pub(super) fn tables<S: Source + ?Sized>(elf: &Elf<'_, S>) -> Vec<Table> {
    let (mut tables, mut left) = (Vec::new(), METHODS_MAX);
    for words in elf.loaded_data().sections() {
        let mut at = 0;
        while at + ENTRY_WORDS <= words.len() && left > 0 {
            let table = table(elf, &words[at..], left);
            // What does not begin a table is one word of something else.
            at += if table.0.is_empty() { 1 } else { table.0.len() * ENTRY_WORDS };
            left -= table.0.len();
            tables.extend(Some(table).filter(|table| !table.0.is_empty()));
        }
    }
    tables
}

/// The table that begins here.
fn table<S: Source + ?Sized>(elf: &Elf<'_, S>, words: &[u64], methods_max: usize) -> Table {
    let entries = words.as_chunks::<ENTRY_WORDS>().0.iter().take(methods_max.min(TABLE_METHODS_MAX));
    Table(entries.map_while(|entry| method(elf, *entry)).collect())
}

fn method<S: Source + ?Sized>(elf: &Elf<'_, S>, entry: [u64; ENTRY_WORDS]) -> Option<Method> {
    let [name, function, flags, documentation] = entry;
    let plausible = flags != 0 && flags & !FLAGS == 0 && elf.code_offset(function).is_some();
    let documented = documentation == 0 || elf.offset(documentation).is_some();
    (plausible && documented).then_some(())?;
    let name = elf.text(name, NAME_BYTES_MAX)?;
    is_identifier(&name).then_some(Method { name, function, flags })
}

fn is_identifier(name: &str) -> bool {
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    begins && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

// === impl Table ===

impl Table {
    pub(super) fn method(&self, name: &str) -> Option<&Method> {
        self.0.iter().find(|method| method.name == name)
    }

    pub(super) fn has_all(&self, names: &[&str]) -> bool {
        names.iter().all(|name| self.method(name).is_some())
    }
}
