//! A file's initialised data as the loader leaves it in memory: with the addresses that it fills in.

use super::{Elf, Source};
use std::ops::ControlFlow::Continue;

/// Bytes of data that are kept; a CPython has 2 MB.
const DATA_BYTES_MAX: u64 = 8 << 20;

/// Addresses in it are the file's own, as if it were loaded at 0. Those of other files' functions and objects are unknown.
#[derive(Debug, Default)]
pub struct LoadedData {
    sections: Vec<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    address: u64,
    bytes: Vec<u8>,
}

impl<S: Source + ?Sized> Elf<'_, S> {
    /// What may hold addresses.
    pub fn loaded_data(&self) -> LoadedData {
        let mut left = DATA_BYTES_MAX;
        let sections = [".data.rel.ro", ".data"].iter().filter_map(|name| self.section(name)).map(|section| {
            let len = (section.range.end - section.range.start).min(left);
            left -= len;
            let mut bytes = vec![0; len as usize];
            let len = self.read_some(section.range.start, &mut bytes);
            bytes.truncate(len);
            Loaded { address: section.address, bytes }
        });
        let mut data = LoadedData { sections: sections.collect() };
        self.relocations(|place, value| {
            data.set(place, value);
            Continue(())
        });
        data
    }
}

// === impl LoadedData ===

impl LoadedData {
    /// The aligned words of each section.
    pub fn sections(&self) -> impl Iterator<Item = Vec<u64>> {
        self.sections.iter().map(|section| {
            let skip = (section.address.wrapping_neg() % 8) as usize;
            let words = section.bytes.get(skip..).unwrap_or_default().as_chunks().0;
            words.iter().map(|word| u64::from_le_bytes(*word)).collect()
        })
    }

    fn set(&mut self, address: u64, value: u64) {
        let place = self.sections.iter_mut().find_map(|section| {
            let at = usize::try_from(address.checked_sub(section.address)?).ok()?;
            section.bytes.get_mut(at..at.checked_add(8)?)
        });
        if let Some(place) = place {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }
}
