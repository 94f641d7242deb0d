//! What machine code tells of functions that have lost their names. x86-64 only.

use super::strings::Window;
use super::{Elf, Function, Machine, Source};
use memchr::memchr_iter;
use std::ops::ControlFlow::{Break, Continue};
use std::ops::Range;

/// References that are found.
const REFERENCES_MAX: usize = 256;
/// Entries of a table of unwind information: functions, and parts of functions.
const UNWIND_ENTRIES_MAX: u32 = 16 << 20;
/// Bytes of a displacement relative to the next instruction.
const DISPLACEMENT_BYTES: usize = 4;

impl<S: Source + ?Sized> Elf<'_, S> {
    /// Where code takes the address of one of these: `lea displacement(%rip), register`. Which, and the address.
    pub fn references(&self, targets: &[u64]) -> Vec<(usize, u64)> {
        const LEA: u8 = 0x8d;
        let mut references = Vec::new();
        self.displacements(LEA, 1, |bytes, opcode, at, target| {
            let is_64_bit = opcode > 0 && matches!(bytes[opcode - 1], 0x48 | 0x4c);
            let is_relative = bytes[opcode + 1] & 0b1100_0111 == 0b0000_0101;
            if is_64_bit
                && is_relative
                && let Some(i) = targets.iter().position(|wanted| *wanted == target)
            {
                references.push((i, at));
            }
            references.len() < REFERENCES_MAX
        });
        references
    }

    /// Which of these addresses are called from somewhere. Parts that the compiler moved out of functions are not.
    pub fn called(&self, addresses: &[u64]) -> Vec<u64> {
        const CALL: u8 = 0xe8;
        let (mut left, mut called) = (addresses.to_vec(), Vec::new());
        self.displacements(CALL, 0, |_, _, _, target| {
            called.extend(left.extract_if(.., |address| *address == target));
            !left.is_empty()
        });
        called
    }

    /// Where a conditional jump leads into these addresses from elsewhere.
    pub fn branches(&self, into: Range<u64>) -> Vec<u64> {
        const FAR: u8 = 0x0f;
        let mut branches = Vec::new();
        self.displacements(FAR, 1, |bytes, opcode, at, target| {
            let is_conditional = bytes[opcode + 1] & 0xf0 == 0x80;
            if is_conditional && into.contains(&target) && !into.contains(&at) {
                branches.push(at);
            }
            branches.len() < REFERENCES_MAX
        });
        branches
    }

    /// Goes through what may be instructions with this opcode, `between` bytes and a displacement, as long as `each` says
    /// so: bytes and where the opcode is among them, its address, and the address that the displacement leads to.
    fn displacements(&self, opcode: u8, between: usize, mut each: impl FnMut(&[u8], usize, u64, u64) -> bool) {
        if self.machine != Machine::X86_64 {
            return;
        }
        for segment in self.segments.iter().filter(|segment| segment.executable) {
            let flow =
                self.windows(segment.offset..segment.offset + segment.size, |Window { offset, bytes, .. }| {
                    for at in memchr_iter(opcode, bytes) {
                        let Some(displacement) = bytes.get(at + 1 + between..).and_then(|rest| rest.first_chunk())
                        else {
                            break;
                        };
                        let address = segment.address.wrapping_add(offset + at as u64);
                        let next = address.wrapping_add((1 + between + DISPLACEMENT_BYTES) as u64);
                        let target = next.wrapping_add_signed(i32::from_le_bytes(*displacement).into());
                        if !each(bytes, at, address, target) {
                            return Break(());
                        }
                    }
                    Continue(())
                });
            if flow.is_break() {
                return;
            }
        }
    }

    /// The function that an address is in, from the table that exceptions are unwound by: sorted pairs of where a
    /// function begins and where its description is, in 32 bits each, relative to the section. See
    /// [LSB, 10.6.2](https://refspecs.linuxfoundation.org/LSB_5.0.0/LSB-Core-generic/LSB-Core-generic/ehframechpt.html).
    pub fn function_at(&self, address: u64) -> Option<Function> {
        /// Version, and encodings of: a pointer, the number of entries, the entries.
        const HEADER: [u8; 4] = [1, 0x1b, 0x03, 0x3b];
        const TABLE_AT: u64 = 12;
        let section = self.section(".eh_frame_hdr")?;
        let header = self.read(section.range.start..section.range.start.checked_add(TABLE_AT)?)?;
        header.starts_with(&HEADER).then_some(())?;
        let entries = u32::from_le_bytes(*header.last_chunk()?).min(UNWIND_ENTRIES_MAX);
        let begin = |i: u32| {
            let at = section.range.start.checked_add(TABLE_AT + 8 * u64::from(i))?;
            let bytes = self.read(at..at.checked_add(4)?)?;
            Some(section.address.wrapping_add_signed(i32::from_le_bytes(*bytes.first_chunk()?).into()))
        };
        let (mut low, mut high) = (0, entries);
        while low < high {
            let middle = low + (high - low) / 2;
            if begin(middle)? <= address { low = middle + 1 } else { high = middle }
        }
        let start = begin(low.checked_sub(1)?)?;
        let end = begin(low).filter(|_| low < entries).unwrap_or(start);
        Some(Function { name: 0, address: start, size: end.saturating_sub(start) })
    }
}
