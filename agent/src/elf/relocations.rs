//! What the dynamic linker puts where the file has no value yet.

use super::{Elf, Machine, Source, WINDOW_BYTES};
use object::LittleEndian as Le;
use object::elf;

/// Relocations that are looked at; Node, position-independent, has 400,000.
const RELOCATIONS_MAX: u64 = 4 << 20;
const RELOCATION_BYTES: u64 = size_of::<elf::Rela64<Le>>() as u64;

impl<S: Source + ?Sized> Elf<'_, S> {
    /// The address that a word in memory will hold, from the load address on, where a relocation says so.
    pub fn relocated(&self, address: u64) -> Option<u64> {
        let relative = match self.machine {
            Machine::X86_64 => elf::R_X86_64_RELATIVE,
            Machine::Aarch64 => elf::R_AARCH64_RELATIVE,
            Machine::Other => return None,
        };
        let range = &self.section(".rela.dyn")?.range;
        let end = range.end.min(range.start.saturating_add(RELOCATIONS_MAX * RELOCATION_BYTES));
        for start in (range.start..end).step_by(WINDOW_BYTES / RELOCATION_BYTES as usize * RELOCATION_BYTES as usize) {
            let window = self.read_up_to(start..end.min(start.saturating_add(WINDOW_BYTES as u64)));
            if window.is_empty() {
                break;
            }
            let entries = window.chunks_exact(RELOCATION_BYTES as usize);
            let mut entries = entries.filter_map(|bytes| object::pod::from_bytes::<elf::Rela64<Le>>(bytes).ok());
            let wanted =
                entries.find(|(entry, _)| entry.r_offset.get(Le) == address && entry.r_type(Le, false) == relative);
            if let Some((entry, _)) = wanted {
                return u64::try_from(entry.r_addend.get(Le)).ok();
            }
        }
        None
    }
}
