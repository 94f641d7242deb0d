//! Where a compiled Go function is entered and where it returns.

use crate::elf::{Elf, Function, Machine, Source};
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, Register};

/// Bytes of a function that are decoded; these have 2 KB.
const FUNCTION_BYTES_MAX: u64 = 64 << 10;
/// Instructions of a stack check.
const CHECK_MAX: usize = 4;

/// From the start of the function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offsets {
    /// Behind the stack check, where that is followed by a `push`: a goroutine whose stack has to grow passes the start
    /// twice, and the kernel emulates a `push`. No argument register has changed by then.
    pub(super) entry: u64,
    /// All return instructions.
    pub(super) returns: Vec<u64>,
}

/// The code of a function. `None` where it is not all in one segment of code.
pub(super) fn read<S: Source + ?Sized>(elf: &Elf<'_, S>, function: &Function) -> Option<Vec<u8>> {
    let size = (1..=FUNCTION_BYTES_MAX).contains(&function.size).then_some(function.size)?;
    let start = elf.code_offset(function.address)?;
    let last = elf.code_offset(function.address.checked_add(size - 1)?)?;
    (last.checked_sub(start)? == size - 1).then_some(())?;
    elf.read(start..start + size)
}

/// `None`: this is no whole Go function. Each ends, after its stack check failed and the stack was made to grow, with a
/// jump to its own start: where that is missing, its bounds or its place are wrong.
pub(super) fn offsets(machine: Machine, code: &[u8], address: u64) -> Option<Offsets> {
    let (offsets, starts_again) = match machine {
        Machine::X86_64 => x86_64(code, address)?,
        Machine::Aarch64 => aarch64(code),
        Machine::Other => return None,
    };
    (starts_again && !offsets.returns.is_empty()).then_some(offsets)
}

fn x86_64(code: &[u8], address: u64) -> Option<(Offsets, bool)> {
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let (mut offsets, mut starts_again, mut start) = (Offsets::default(), false, Vec::new());
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        let at = instruction.ip().wrapping_sub(address);
        match instruction.mnemonic() {
            Mnemonic::INVALID => return None,
            Mnemonic::Ret => offsets.returns.push(at),
            Mnemonic::Jmp => starts_again |= instruction.near_branch_target() == address,
            _ => {}
        }
        if start.len() < CHECK_MAX {
            start.push(instruction);
        }
    }
    offsets.entry = behind_check(&start).map_or(0, |ip| ip.wrapping_sub(address));
    Some((offsets, starts_again))
}

/// `[lea -n(%rsp), %r12;] cmp 16(%r14), %rsp or %r12; jbe …; push %rbp`: address of the push.
fn behind_check(start: &[Instruction]) -> Option<u64> {
    let compare = start.iter().position(|instruction| instruction.mnemonic() == Mnemonic::Cmp)?;
    let [branch, push] = start.get(compare + 1..compare + 3)? else { return None };
    let is_limit = start[compare].memory_base() == Register::R14;
    let is_push = push.mnemonic() == Mnemonic::Push && push.op0_register() == Register::RBP;
    (is_limit && is_push && branch.mnemonic() == Mnemonic::Jbe).then(|| push.ip())
}

fn aarch64(code: &[u8]) -> (Offsets, bool) {
    const RET: u32 = 0xd65f_03c0;
    let (mut offsets, mut starts_again) = (Offsets::default(), false);
    for (i, word) in code.chunks_exact(4).enumerate() {
        let word = u32::from_le_bytes(word.try_into().expect("four bytes"));
        if word == RET {
            offsets.returns.push(4 * i as u64);
        }
        starts_again |= branch_words(word) == Some(-(i as i64));
    }
    (offsets, starts_again)
}

/// Distance of an unconditional branch, in instructions.
fn branch_words(word: u32) -> Option<i64> {
    const B: u32 = 0b00_0101;
    (word >> 26 == B).then_some(i64::from((word as i32) << 6 >> 6))
}
