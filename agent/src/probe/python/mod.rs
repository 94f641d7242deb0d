//! CPython 3.8 to 3.15, stripped or not: where an interpreter keeps the `Context` that a thread runs, and the functions
//! through which a context, a future's waiter or a queue's item comes from another.

mod layout;
mod methods;
#[cfg(test)]
mod tests;

use super::plan::{Probe, ProbeProgram, Recognised};
use super::recognise::entry_offset;
use crate::elf::{Elf, Machine, Source, Symbol};
use autospan_abi::PythonRuntime;
use layout::Layout;
use methods::{FASTCALL_KEYWORDS, Method, NO_ARGUMENTS, ONE_ARGUMENT, Table};
use std::fmt;
use std::ops::ControlFlow::Break;

/// An interpreter, in an executable or a `libpython3`. Addresses are the file's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    /// `3.11`.
    pub version: String,
    layout: &'static Layout,
    state: State,
    context_type: u64,
    code: Vec<Code>,
}

/// How a thread's `PyThreadState` is found from outside, lock released or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Address of a `pthread_key_t`.
    Key(u64),
    /// Distance from the thread pointer to a thread-local variable.
    ThreadLocal(i64),
}

/// Where an executable segment begins, rounded down to pages: how a mapping of it tells where the file is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Code {
    offset: u64,
    address: u64,
}

/// Why the contexts of an interpreter cannot be found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    version: Option<String>,
    why: &'static str,
}

/// The C library of a process, which keeps the thread-specific storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Libc {
    Glibc,
    Musl,
}

const PAGE: u64 = 4096;
/// Executable segments that are remembered; post-link optimisers make a second one.
const SEGMENTS_MAX: usize = 8;

/// Names that are looked for among the exports.
const EXPORTS: [&str; 11] = [
    CONTEXT_TYPE,
    RUNTIME,
    VERSION,
    COPY_CURRENT,
    ENTER,
    GET_STATE,
    ASYNCIO,
    QUEUE,
    LOOP,
    // Only debug builds count the references that are left.
    DEBUG,
    // Only free-threaded builds share counts of references between threads.
    FREE_THREADED,
];
const CONTEXT_TYPE: &str = "PyContext_Type";
const RUNTIME: &str = "_PyRuntime";
const VERSION: &str = "Py_Version";
const COPY_CURRENT: &str = "PyContext_CopyCurrent";
const ENTER: &str = "PyContext_Enter";
const GET_STATE: &str = "PyGILState_GetThisThreadState";
const ASYNCIO: &str = "PyInit__asyncio";
const QUEUE: &str = "PyInit__queue";
const LOOP: &str = "PyInit_loop";
const DEBUG: &str = "_Py_NegativeRefcount";
const FREE_THREADED: &str = "_Py_DecRefShared";

struct Exports(Vec<Symbol>);

/// Adds what a file has of CPython: the interpreter, or one of the modules that are part of it in some builds.
pub(super) fn recognise<S: Source + ?Sized>(elf: &Elf<'_, S>, recognised: &mut Recognised) {
    let exports = Exports(elf.exports(&EXPORTS));
    if exports.get(CONTEXT_TYPE).is_some() && exports.get(RUNTIME).is_some() {
        let python = interpreter(elf, &exports);
        if python.is_ok() {
            recognised.probes.extend(context_probes(elf, &exports));
        }
        recognised.python = Some(python);
    }
    recognised.uvloop = exports.get(LOOP).is_some() && is_uvloop(elf);
    let supported = elf.machine == Machine::X86_64 && !matches!(recognised.python, Some(Err(_)));
    let has_modules = exports.get(ASYNCIO).is_some() || exports.get(QUEUE).is_some();
    if supported && (has_modules || recognised.python.is_some()) {
        for table in methods::tables(elf) {
            recognised.probes.extend(method_probes(elf, &table).into_iter().filter(|_| has_modules));
            recognised.on_demand.extend(deque_probes(elf, &table));
        }
    }
}

/// The module has a name that others could have.
fn is_uvloop<S: Source + ?Sized>(elf: &Elf<'_, S>) -> bool {
    let mut found = false;
    elf.search(&elf.constants(), &[b"uvloop.loop"], |_| {
        found = true;
        Break(())
    });
    found
}

fn interpreter<S: Source + ?Sized>(elf: &Elf<'_, S>, exports: &Exports) -> Result<Python, Unsupported> {
    let minor = layout::minor_version(elf, exports.get(VERSION));
    let version = minor.map(|minor| format!("3.{minor}"));
    let unsupported = |why| Unsupported { version: version.clone(), why };
    if elf.machine != Machine::X86_64 {
        return Err(unsupported("it is known for x86-64 only"));
    }
    if exports.get(FREE_THREADED).is_some() {
        return Err(unsupported("it is a free-threaded build"));
    }
    if exports.get(DEBUG).is_some() {
        return Err(unsupported("it is a debug build"));
    }
    let layout = minor.and_then(layout::of).ok_or_else(|| unsupported("its version is not known"))?;
    let state = layout.state(elf, exports).ok_or_else(|| unsupported("its thread-local storage is not known"))?;
    let context_type = exports.get(CONTEXT_TYPE).map_or(0, |symbol| symbol.address);
    Ok(Python { version: version.unwrap_or_default(), layout, state, context_type, code: code(elf) })
}

fn code<S: Source + ?Sized>(elf: &Elf<'_, S>) -> Vec<Code> {
    let segments = elf.segments.iter().filter(|segment| segment.executable).take(SEGMENTS_MAX);
    segments
        .map(|segment| Code { offset: segment.offset & !(PAGE - 1), address: segment.address & !(PAGE - 1) })
        .collect()
}

fn context_probes<S: Source + ?Sized>(elf: &Elf<'_, S>, exports: &Exports) -> impl Iterator<Item = Probe> {
    let places = [(COPY_CURRENT, ProbeProgram::PyContextCopied), (ENTER, ProbeProgram::PyContextEntered)];
    places
        .into_iter()
        .filter_map(|(name, program)| Some(Probe { offset: entry_offset(elf, exports.get(name)?)?, program }))
}

/// The probes of a table, if it is one of a type that passes things on.
fn method_probes<S: Source + ?Sized>(elf: &Elf<'_, S>, table: &Table) -> Vec<Probe> {
    let is_future = table.has_all(&["set_result", "add_done_callback", "get_loop"]);
    // A task is a future too, but nobody may set its result.
    let is_task = table.has_all(&["get_coro"]);
    let is_queue = table.has_all(&["put", "put_nowait", "get", "get_nowait", "qsize", "empty"]);
    let wanted: &[(&str, ProbeProgram)] = match () {
        () if is_future && !is_task => &[("set_result", ProbeProgram::PyFutureSet)],
        () if is_queue => &[
            ("put", ProbeProgram::PyQueuePut),
            ("put_nowait", ProbeProgram::PyQueuePut),
            ("get", ProbeProgram::PyQueueGot),
            ("get_nowait", ProbeProgram::PyQueueGot),
        ],
        () => &[],
    };
    probes(elf, table, wanted)
}

/// The probes of the table of `collections.deque`, both or none.
fn deque_probes<S: Source + ?Sized>(elf: &Elf<'_, S>, table: &Table) -> Vec<Probe> {
    let is_deque = table.has_all(&["append", "popleft", "extendleft", "rotate"]);
    let wanted = [("append", ProbeProgram::PyDequeAppend), ("popleft", ProbeProgram::PyDequePopleft)];
    let probes = if is_deque { probes(elf, table, &wanted) } else { Vec::new() };
    if probes.len() == wanted.len() { probes } else { Vec::new() }
}

fn probes<S: Source + ?Sized>(elf: &Elf<'_, S>, table: &Table, wanted: &[(&str, ProbeProgram)]) -> Vec<Probe> {
    let methods = wanted.iter().filter_map(|(name, program)| Some((table.method(name)?, *program)));
    let methods = methods.filter(|(method, program)| takes_what_is_expected(method, *program));
    let probe = |(method, program): (&Method, _)| {
        let function = Symbol { name: 0, address: method.function, size: u64::MAX };
        Some(Probe { offset: entry_offset(elf, &function)?, program })
    };
    methods.filter_map(probe).collect()
}

/// A program that reads the arguments knows one order of them.
fn takes_what_is_expected(method: &Method, program: ProbeProgram) -> bool {
    match program {
        ProbeProgram::PyQueuePut => method.flags == FASTCALL_KEYWORDS,
        ProbeProgram::PyDequeAppend => method.flags == ONE_ARGUMENT,
        ProbeProgram::PyDequePopleft => method.flags == NO_ARGUMENTS,
        _ => true,
    }
}

// === impl Python ===

impl Python {
    /// What the kernel programs must know of a process where the code at `offset` of this file is mapped at `start`.
    /// `has_greenlets`: something in it switches between them. `None` where no segment of code begins there.
    pub fn runtime(&self, start: u64, offset: u64, libc: Libc, has_greenlets: bool) -> Option<PythonRuntime> {
        let code = self.code.iter().find(|code| code.offset == offset)?;
        let bias = start.wrapping_sub(code.address);
        let (state_key, state_tls) = match self.state {
            State::Key(address) => (bias.wrapping_add(address), 0),
            State::ThreadLocal(distance) => (0, distance),
        };
        let (specific, specific_entry) = match libc {
            Libc::Glibc => layout::GLIBC_SPECIFIC,
            Libc::Musl => layout::MUSL_SPECIFIC,
        };
        Some(PythonRuntime {
            state_key,
            state_tls,
            context_type: bias.wrapping_add(self.context_type),
            thread_id: self.layout.thread_id,
            context: self.layout.context,
            specific,
            specific_entry,
            future_context: layout::FUTURE_CONTEXT,
            entered: layout::CONTEXT_ENTERED,
            datastack: if has_greenlets { self.layout.datastack } else { 0 },
            pad: 0,
        })
    }
}

// === impl Exports ===

impl Exports {
    fn get(&self, name: &str) -> Option<&Symbol> {
        self.0.iter().find(|symbol| EXPORTS[symbol.name] == name)
    }
}

// === impl Unsupported ===

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CPython {}: {}", self.version.as_deref().unwrap_or("3"), self.why)
    }
}
