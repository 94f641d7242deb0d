//! Where CPython's versions keep what. Offsets are those of release builds for 64-bit machines, taken from each version's
//! own headers (`Include/cpython/pystate.h`, `Include/internal/pycore_runtime.h`) with `offsetof`.

use super::{Exports, GET_STATE, RUNTIME, State};
use crate::elf::{Elf, Source, Symbol};
use std::ops::ControlFlow::{Break, Continue};

/// One version, `3.minor`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    minor: u8,
    /// Offset in `_PyRuntime` of the `Py_tss_t` that holds a thread's state: `gilstate.autoTSSkey`, later `autoTSSkey`.
    /// `None`: a thread-local variable holds it.
    key: Option<u64>,
    /// Offsets in `PyThreadState`.
    pub(super) thread_id: u32,
    pub(super) context: u32,
    /// The chunks of a thread's Python stack, the last one first, which greenlets take along; 0: there are none, or a greenlet
    /// may begin in one that another left behind.
    pub(super) datastack: u32,
}

const LAYOUTS: [Layout; 8] = [
    Layout { minor: 8, key: Some(0x570), thread_id: 176, context: 240, datastack: 0 },
    Layout { minor: 9, key: Some(0x248), thread_id: 176, context: 240, datastack: 0 },
    Layout { minor: 10, key: Some(0x248), thread_id: 176, context: 240, datastack: 0 },
    Layout { minor: 11, key: Some(0x250), thread_id: 152, context: 224, datastack: 296 },
    Layout { minor: 12, key: Some(0x608), thread_id: 136, context: 208, datastack: 232 },
    Layout { minor: 13, key: Some(0x870), thread_id: 152, context: 208, datastack: 232 },
    Layout { minor: 14, key: Some(0x920), thread_id: 152, context: 208, datastack: 232 },
    Layout { minor: 15, key: None, thread_id: 176, context: 232, datastack: 0 },
];

/// Offset of `fut_context0` in `FutureObj`, of all versions: behind the object's head, the loop and the callback.
pub(super) const FUTURE_CONTEXT: u32 = 0x20;
/// Offset of `ctx_entered` in `PyContext`, of all versions: behind the object's head and three pointers.
pub(super) const CONTEXT_ENTERED: u32 = 0x28;
/// Offset of `_key` in `Py_tss_t`.
const KEY_IN_TSS: u64 = 4;

/// Distance from the thread pointer to thread-specific storage, and bytes of an entry. `struct pthread` of glibc 2.31 to
/// 2.43 holds the first 32 entries itself: a sequence number and a value.
pub(super) const GLIBC_SPECIFIC: (u32, u32) = (0x310, 16);
/// That of musl 1.2 holds a pointer to values.
pub(super) const MUSL_SPECIFIC: (u32, u32) = (0x80, 8);

/// Bytes of a function that are looked at.
const CODE_BYTES_MAX: u64 = 64;

pub(super) fn of(minor: u8) -> Option<&'static Layout> {
    LAYOUTS.iter().find(|layout| layout.minor == minor)
}

/// `11` of CPython 3.11.
pub(super) fn minor_version<S: Source + ?Sized>(elf: &Elf<'_, S>, version: Option<&Symbol>) -> Option<u8> {
    version.and_then(|symbol| exported_version(elf, symbol)).or_else(|| library_version(elf)).or_else(|| {
        // Where its modules are: a shared library's own texts name other versions too.
        text_version(elf)
    })
}

/// `Py_Version`, since 3.11: 0x030b02f0 is 3.11.2.
fn exported_version<S: Source + ?Sized>(elf: &Elf<'_, S>, symbol: &Symbol) -> Option<u8> {
    match elf.read_u64(elf.offset(symbol.address)?)?.to_be_bytes() {
        [0, 0, 0, 0, 3, minor, _, _] => Some(minor),
        _ => None,
    }
}

/// The name that a shared library has for others, `libpython3.9.so.1.0`.
fn library_version<S: Source + ?Sized>(elf: &Elf<'_, S>) -> Option<u8> {
    let mut minor = None;
    elf.dynamic_strings(|string| {
        let number = string.strip_prefix(b"libpython3.").and_then(|rest| rest.strip_suffix(b".so.1.0"));
        minor = number.and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
        if minor.is_some() { Break(()) } else { Continue(()) }
    });
    minor
}

/// A constant `python3.9`, if there are not several.
fn text_version<S: Source + ?Sized>(elf: &Elf<'_, S>) -> Option<u8> {
    const MARK: &str = "python3.";
    let mut minors = Vec::new();
    elf.search(&elf.constants(), &[MARK.as_bytes()], |found| {
        let text = &found.text[MARK.len()..];
        let digits = text.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
        if text.get(digits) == Some(&0) {
            minors.extend(std::str::from_utf8(&text[..digits]).ok().and_then(|digits| digits.parse::<u8>().ok()));
        }
        minors.dedup();
        if minors.len() < 2 { Continue(()) } else { Break(()) }
    });
    <[u8; 1]>::try_from(minors).ok().map(|[minor]| minor)
}

// === impl Layout ===

impl Layout {
    /// How `PyGILState_GetThisThreadState` finds the state of the calling thread.
    pub(super) fn state<S: Source + ?Sized>(&self, elf: &Elf<'_, S>, exports: &Exports) -> Option<State> {
        let runtime = exports.get(RUNTIME)?;
        let code = exports.get(GET_STATE).and_then(|function| Some((function.address, code(elf, function)?)));
        match self.key {
            Some(offset) => {
                let read = code.and_then(|(address, code)| key_offset(&code, address, runtime));
                Some(State::Key(runtime.address.checked_add(read.unwrap_or(offset))?.checked_add(KEY_IN_TSS)?))
            }
            None => thread_local(&code?.1).map(State::ThreadLocal),
        }
    }
}

fn code<S: Source + ?Sized>(elf: &Elf<'_, S>, function: &Symbol) -> Option<Vec<u8>> {
    let offset = elf.code_offset(function.address)?;
    elf.read(offset..offset.checked_add(function.size.min(CODE_BYTES_MAX))?)
}

/// The offset in `_PyRuntime` that code gives to `PyThread_tss_get`, or whose key it gives to `pthread_getspecific`: a
/// version's later releases may move it.
fn key_offset(code: &[u8], address: u64, runtime: &Symbol) -> Option<u64> {
    let inside = |offset: &u64| *offset > 0 && *offset < runtime.size && offset.is_multiple_of(4);
    (0..code.len()).find_map(|at| key_operand(&code[at..], address.wrapping_add(at as u64), runtime).filter(inside))
}

/// What an instruction at an address says.
fn key_operand(code: &[u8], address: u64, runtime: &Symbol) -> Option<u64> {
    let operand = |at: usize| Some(i32::from_le_bytes(*code.get(at..)?.first_chunk()?));
    let relative = |at: usize| Some(address.wrapping_add(at as u64 + 4).wrapping_add_signed(operand(at)?.into()));
    let offset = match *code {
        // lea offset(%reg),%reg: `_PyRuntime` came from the global offset table.
        [0x48, 0x8d, modrm, ..] if modrm >> 6 == 0b10 && modrm & 7 != 0b100 => u64::try_from(operand(3)?).ok()?,
        // lea offset(%rip),%reg
        [0x48, 0x8d, modrm, ..] if modrm & 0b1100_0111 == 0b101 => relative(3)?.wrapping_sub(runtime.address),
        // mov offset(%rip),%edi: the key itself.
        [0x8b, 0x3d, ..] => relative(2)?.wrapping_sub(runtime.address).wrapping_sub(KEY_IN_TSS),
        // mov $address,%edi, in executables with an address of their own.
        [0xbf, ..] => u64::from(operand(1)?.cast_unsigned()).wrapping_sub(runtime.address),
        _ => return None,
    };
    Some(offset)
}

/// The distance in `mov %fs:distance,%rax`: only the variables of the executable itself are at one.
fn thread_local(code: &[u8]) -> Option<i64> {
    const MOVE: [u8; 5] = [0x64, 0x48, 0x8b, 0x04, 0x25];
    let at = code.windows(MOVE.len()).position(|bytes| bytes == MOVE)? + MOVE.len();
    Some(i32::from_le_bytes(*code.get(at..)?.first_chunk()?).into())
}
