//! What one ELF file holds that a kernel program must see. Pure: bytes in, a plan out.

mod event_loop;
mod go;
mod grpc;
mod tls;
mod unnamed;

use super::plan::{Probe, Recognised};
use super::python;
use crate::elf::{Elf, Function, Machine, Source};

/// Probes of one file. Go has the most: one for each return instruction of two functions, some dozens.
const PROBES_MAX: usize = 512;

/// Recognises a file; nothing in what is no ELF file or lies about itself.
pub fn recognise<S: Source + ?Sized>(source: &S) -> Recognised {
    let mut recognised = Recognised::default();
    if let Some(elf) = Elf::parse(source) {
        tls::recognise(&elf, &mut recognised);
        go::recognise(&elf, &mut recognised);
        if recognised.is_nothing() {
            unnamed::recognise(&elf, &mut recognised);
        }
        python::recognise(&elf, &mut recognised);
        event_loop::recognise(&elf, &mut recognised);
        grpc::recognise(&elf, &mut recognised);
    }
    finish(&mut recognised.probes);
    finish(&mut recognised.on_demand);
    recognised
}

/// Where in the file a function's probes go. Behind an `endbr64`, where there is one: most functions go on with a `push`,
/// which the kernel emulates instead of stepping over it, at half the price. `None`: this is no place in the file's code.
pub(super) fn entry_offset<S: Source + ?Sized>(elf: &Elf<'_, S>, function: &Function) -> Option<u64> {
    const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
    let offset = elf.code_offset(function.address)?;
    let code = elf.read_up_to(offset..offset.checked_add(ENDBR64.len() as u64)?);
    let has_more = function.size > ENDBR64.len() as u64;
    let skip = elf.machine == Machine::X86_64 && has_more && code == ENDBR64;
    let offset = if skip { elf.code_offset(function.address + ENDBR64.len() as u64)? } else { offset };
    (!code.is_empty()).then_some(offset)
}

/// Functions with several names get their probes once.
fn finish(probes: &mut Vec<Probe>) {
    probes.sort_unstable();
    probes.dedup();
    probes.truncate(PROBES_MAX);
}

#[cfg(test)]
mod tests;
