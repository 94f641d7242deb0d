//! ELF files, looked at in small pieces: a few kilobytes of memory for a file of any size. The files are untrusted:
//! nothing they say of themselves is believed before it is read, and all that is read of one is bounded.
//!
//! 64-bit little-endian files only, which is what this agent's kernels run.

mod code;
mod data;
pub mod go;
mod relocations;
mod strings;
mod symbols;
#[cfg(test)]
pub mod testing;

pub use data::LoadedData;
pub use strings::Match;
pub use symbols::{Function, Symbol};

use object::LittleEndian as Le;
use object::elf;
use object::pod::{Pod, from_bytes};
use std::cell::Cell;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Bytes that are read of one file, repeated reads included. The largest tables there are (strings and symbols of a
/// browser) fit.
const FILE_BYTES_MAX: u64 = 192 << 20;
const SEGMENTS_MAX: u16 = 256;
const SECTIONS_MAX: u16 = 4_096;
/// Bytes of the section names, all together.
const SECTION_NAMES_BYTES_MAX: u64 = 128 << 10;
/// Bytes of a section name that are kept: none that is looked for is longer.
const SECTION_NAME_BYTES_MAX: usize = 40;
/// Bytes of a range that is read as a whole.
const RANGE_BYTES_MAX: u64 = 256 << 10;
/// Bytes that are read at once where a whole table is gone through.
const WINDOW_BYTES: usize = 64 << 10;

/// Where a file's bytes come from.
pub trait Source {
    /// Reads from `offset` on until `buffer` is full or the file ends. Bytes read; 0 where nothing can be read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> usize;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    X86_64,
    Aarch64,
    Other,
}

/// A part of the file that is mapped, `PT_LOAD`.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    pub executable: bool,
    pub address: u64,
    /// Of the part that is in the file, at most to the end of the numbers.
    pub offset: u64,
    pub size: u64,
}

#[derive(Clone, Debug)]
pub struct Section {
    name: Vec<u8>,
    /// `SHT_*`.
    kind: elf::SectionType,
    /// Index of the section that this one refers to.
    link: u32,
    pub address: u64,
    /// Bytes in the file, from where to where.
    pub range: Range<u64>,
}

/// A parsed file.
#[derive(Debug)]
pub struct Elf<'s, S: Source + ?Sized> {
    source: &'s S,
    bytes_left: Cell<u64>,
    pub machine: Machine,
    pub segments: Vec<Segment>,
    sections: Vec<Section>,
}

// === impl Source ===

impl Source for File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let mut read = 0;
        while read < buffer.len() {
            match FileExt::read_at(self, &mut buffer[read..], offset.saturating_add(read as u64)) {
                Ok(0) => break,
                Ok(n) => read += n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        read
    }
}

impl Source for [u8] {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        len
    }
}

// === impl Elf ===

impl<'s, S: Source + ?Sized> Elf<'s, S> {
    /// `None`: no 64-bit little-endian ELF file, or one whose header lies. A file without sections is one.
    pub fn parse(source: &'s S) -> Option<Self> {
        let mut file = Self {
            source,
            bytes_left: Cell::new(FILE_BYTES_MAX),
            machine: Machine::Other,
            segments: Vec::new(),
            sections: Vec::new(),
        };
        let mut bytes = [0; size_of::<elf::FileHeader64<Le>>()];
        let header: &elf::FileHeader64<Le> = file.read_pod(0, &mut bytes)?;
        let ident = &header.e_ident;
        let known = ident.magic == elf::ELFMAG && ident.class == elf::ELFCLASS64 && ident.data == elf::ELFDATA2LSB;
        known.then_some(())?;
        file.machine = match header.e_machine.get(Le) {
            elf::EM_X86_64 => Machine::X86_64,
            elf::EM_AARCH64 => Machine::Aarch64,
            _ => Machine::Other,
        };
        file.segments = file.read_segments(header);
        file.sections = file.read_sections(header).unwrap_or_default();
        Some(file)
    }

    fn read_segments(&self, header: &elf::FileHeader64<Le>) -> Vec<Segment> {
        let count = header.e_phnum.get(Le).min(SEGMENTS_MAX);
        let entries =
            self.read_table::<elf::ProgramHeader64<Le>>(header.e_phoff.get(Le), header.e_phentsize.get(Le), count);
        let loads = entries.iter().flatten().filter(|entry| entry.p_type.get(Le) == elf::PT_LOAD);
        let segment = |entry: &elf::ProgramHeader64<Le>| {
            let (address, offset) = (entry.p_vaddr.get(Le), entry.p_offset.get(Le));
            // So that no later sum overflows.
            let size = entry.p_filesz.get(Le).min(u64::MAX - address).min(u64::MAX - offset);
            Segment { executable: entry.p_flags.get(Le).0 & elf::PF_X.0 != 0, address, offset, size }
        };
        loads.map(segment).collect()
    }

    fn read_sections(&self, header: &elf::FileHeader64<Le>) -> Option<Vec<Section>> {
        let count = header.e_shnum.get(Le).min(SECTIONS_MAX);
        let entries =
            self.read_table::<elf::SectionHeader64<Le>>(header.e_shoff.get(Le), header.e_shentsize.get(Le), count)?;
        let of_names = section_range(entries.get(usize::from(header.e_shstrndx.get(Le).0))?);
        let names =
            self.read(of_names.start..of_names.end.min(of_names.start.saturating_add(SECTION_NAMES_BYTES_MAX)))?;
        let section = |entry: &elf::SectionHeader64<Le>| {
            let name = names.get(entry.sh_name.get(Le) as usize..).unwrap_or_default();
            Section {
                name: name
                    .split(|byte| *byte == 0)
                    .next()
                    .unwrap_or_default()
                    .iter()
                    .copied()
                    .take(SECTION_NAME_BYTES_MAX)
                    .collect(),
                kind: entry.sh_type.get(Le),
                link: entry.sh_link.get(Le),
                address: entry.sh_addr.get(Le),
                range: section_range(entry),
            }
        };
        Some(entries.iter().map(section).collect())
    }

    /// A table of the header's. `None` where it is not wholly in the file, or its entries have another size.
    fn read_table<T: Pod + Copy>(&self, offset: u64, entry_size: u16, count: u16) -> Option<Vec<T>> {
        (usize::from(entry_size) == size_of::<T>()).then_some(())?;
        let bytes = self.read(offset..offset.checked_add(u64::from(entry_size) * u64::from(count))?)?;
        object::pod::slice_from_all_bytes(&bytes).ok().map(<[T]>::to_vec)
    }

    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name.as_bytes())
    }

    /// Where the byte at an address of code is in the file.
    pub fn code_offset(&self, address: u64) -> Option<u64> {
        self.offset_in(address, |segment| segment.executable)
    }

    /// Where the byte at an address is in the file.
    pub fn offset(&self, address: u64) -> Option<u64> {
        self.offset_in(address, |_| true)
    }

    /// Where in memory a byte of the file is.
    pub fn address(&self, offset: u64) -> Option<u64> {
        let holds = |segment: &&Segment| offset.checked_sub(segment.offset).is_some_and(|at| at < segment.size);
        let segment = self.segments.iter().find(holds)?;
        Some(offset - segment.offset + segment.address)
    }

    fn offset_in(&self, address: u64, wanted: impl Fn(&Segment) -> bool) -> Option<u64> {
        let inside = |segment: &Segment| address.checked_sub(segment.address).is_some_and(|at| at < segment.size);
        let segment = self.segments.iter().find(|segment| wanted(segment) && inside(segment))?;
        Some(address - segment.address + segment.offset)
    }

    /// Where constants are: `.rodata`, or all that is mapped and not code in a file without it.
    pub fn constants(&self) -> Vec<Range<u64>> {
        self.section(".rodata").map_or_else(|| self.data(), |section| vec![section.range.clone()])
    }

    /// Where all that is mapped and not code is.
    pub fn data(&self) -> Vec<Range<u64>> {
        let data = self.segments.iter().filter(|segment| !segment.executable);
        data.map(|segment| segment.offset..segment.offset + segment.size).collect()
    }

    /// The bytes of a range, at most [`RANGE_BYTES_MAX`]. `None` where they are not all there.
    pub fn read(&self, range: Range<u64>) -> Option<Vec<u8>> {
        let len = range.end.checked_sub(range.start).filter(|len| *len <= RANGE_BYTES_MAX)?;
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        self.read_exact(range.start, &mut bytes)?;
        Some(bytes)
    }

    /// The bytes of a range as far as the file goes.
    pub fn read_up_to(&self, range: Range<u64>) -> Vec<u8> {
        let len = range.end.saturating_sub(range.start).min(RANGE_BYTES_MAX);
        let mut bytes = vec![0; len as usize];
        let read = self.read_some(range.start, &mut bytes);
        bytes.truncate(read);
        bytes
    }

    /// A word of the file.
    pub fn read_u64(&self, offset: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read_exact(offset, &mut bytes)?;
        Some(u64::from_le_bytes(bytes))
    }

    fn read_pod<'b, T: Pod>(&self, offset: u64, bytes: &'b mut [u8]) -> Option<&'b T> {
        self.read_exact(offset, bytes)?;
        from_bytes(bytes).ok().map(|(value, _)| value)
    }

    fn read_exact(&self, offset: u64, bytes: &mut [u8]) -> Option<()> {
        (self.read_some(offset, bytes) == bytes.len()).then_some(())
    }

    /// Bytes read: fewer than asked for at the end of the file, none once the file has cost too much.
    fn read_some(&self, offset: u64, bytes: &mut [u8]) -> usize {
        let Some(left) = self.bytes_left.get().checked_sub(bytes.len() as u64) else { return 0 };
        self.bytes_left.set(left);
        self.source.read_at(offset, bytes)
    }
}

/// Where a section's bytes are; nowhere if it has none.
fn section_range(entry: &elf::SectionHeader64<Le>) -> Range<u64> {
    let start = entry.sh_offset.get(Le);
    let size = if entry.sh_type.get(Le) == elf::SHT_NOBITS { 0 } else { entry.sh_size.get(Le) };
    start..start.saturating_add(size)
}
