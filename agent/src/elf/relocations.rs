//! What the dynamic linker puts where the file has no value yet.

use super::{Elf, Machine, Source, WINDOW_BYTES};
use object::LittleEndian as Le;
use object::elf;
use std::ops::ControlFlow::{self, Break, Continue};

/// Relocations that are looked at; Node, position-independent, has 400,000.
const RELOCATIONS_MAX: u64 = 4 << 20;
const RELOCATION_BYTES: u64 = size_of::<elf::Rela64<Le>>() as u64;

impl<S: Source + ?Sized> Elf<'_, S> {
    /// The address that a word in memory will hold, from the load address on, where a relocation says so.
    pub fn relocated(&self, address: u64) -> Option<u64> {
        let mut found = None;
        self.relocations(|place, value| {
            found = (place == address).then_some(value);
            if found.is_some() { Break(()) } else { Continue(()) }
        });
        found
    }

    /// Goes through the words that will hold addresses of the file itself: where they are, and what they will hold. Packed
    /// relocations (`.relr.dyn`) are not among them: the file has those words' values.
    pub(super) fn relocations(&self, mut each: impl FnMut(u64, u64) -> ControlFlow<()>) {
        let relative = match self.machine {
            Machine::X86_64 => elf::R_X86_64_RELATIVE,
            Machine::Aarch64 => elf::R_AARCH64_RELATIVE,
            Machine::Other => return,
        };
        let Some(range) = self.section(".rela.dyn").map(|section| &section.range) else { return };
        let end = range.end.min(range.start.saturating_add(RELOCATIONS_MAX * RELOCATION_BYTES));
        for start in (range.start..end).step_by(WINDOW_BYTES / RELOCATION_BYTES as usize * RELOCATION_BYTES as usize) {
            let window = self.read_up_to(start..end.min(start.saturating_add(WINDOW_BYTES as u64)));
            let entries = window.chunks_exact(RELOCATION_BYTES as usize);
            let entries = entries.filter_map(|bytes| object::pod::from_bytes::<elf::Rela64<Le>>(bytes).ok());
            let mut wanted = entries
                .filter(|(entry, _)| entry.r_type(Le, false) == relative)
                .filter_map(|(entry, _)| Some((entry.r_offset.get(Le), u64::try_from(entry.r_addend.get(Le)).ok()?)));
            if window.is_empty() || wanted.try_for_each(|(place, value)| each(place, value)).is_break() {
                break;
            }
        }
    }
}
