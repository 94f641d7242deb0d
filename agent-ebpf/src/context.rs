//! Execution contexts: the finest thing that a runtime shows to be working on something.
//!
//! A goroutine, a CPython `Context`, else a thread. Finding one reads memory of the process; everything read is checked,
//! so that a layout that we do not know gives a thread, never somebody else's context.

use autospan_abi::PythonRuntime;
use autospan_abi::limits::RUNTIMES_MAX;
use autospan_abi::process::{TRAIT_GO, TRAIT_PYTHON};
use aya_ebpf::macros::map;
use aya_ebpf::maps::LruHashMap;

use crate::capture::read_user;
use crate::kernel;
use crate::process::{self, Thread};

/// Set by the agent, by tgid.
#[map]
static PYTHONS: LruHashMap<u32, PythonRuntime> = LruHashMap::with_max_entries(RUNTIMES_MAX, 0);

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Context {
    /// Thread id, or address of the runtime's object.
    id: u64,
    tgid: u32,
    kind: u32,
}

const THREAD: u32 = 0;
const TASK: u32 = 1;

impl Context {
    #[inline(always)]
    pub(crate) fn thread(thread: Thread) -> Self {
        Self { id: u64::from(thread.tid), tgid: thread.tgid, kind: THREAD }
    }

    /// A goroutine by its g, a CPython `Context` by its address.
    #[inline(always)]
    pub(crate) fn task(tgid: u32, address: u64) -> Self {
        Self { id: address, tgid, kind: TASK }
    }

    /// What the current thread runs.
    #[inline(always)]
    pub(crate) fn current(thread: Thread) -> Self {
        let task = if process::has(thread.tgid, TRAIT_GO) {
            kernel::goroutine()
        } else if process::has(thread.tgid, TRAIT_PYTHON) {
            python_context(thread.tgid)
        } else {
            0
        };
        if task == 0 { Self::thread(thread) } else { Self::task(thread.tgid, task) }
    }

    #[inline(always)]
    pub(crate) fn is_task(self) -> bool {
        self.kind == TASK
    }
}

/// Bytes of `struct pthread_key_data`: a sequence number, the value.
const SPECIFIC_BYTES: u64 = 16;
const SPECIFIC_VALUE: u64 = 8;
/// Keys in the first block.
const KEYS_MAX: u32 = 32;
/// Offset of `ob_type` in a `PyObject`.
const OBJECT_TYPE: u64 = 8;

/// Address of the `Context` that the current thread of a CPython runs; 0: none, or not known.
#[inline(never)]
fn python_context(tgid: u32) -> u64 {
    // SAFETY: the agent writes an entry once per process.
    let Some(runtime) = (unsafe { PYTHONS.get(tgid) }) else { return 0 };
    let Some(base) = kernel::thread_pointer() else { return 0 };
    let slot = if runtime.state_key != 0 {
        let Some(key) = read_user::<u32>(runtime.state_key).filter(|key| *key < KEYS_MAX) else { return 0 };
        base + u64::from(runtime.specific) + u64::from(key) * SPECIFIC_BYTES + SPECIFIC_VALUE
    } else {
        base.wrapping_add_signed(runtime.state_tls)
    };
    let Some(state) = read_user::<u64>(slot).filter(|state| *state != 0) else { return 0 };
    if read_user::<u64>(state + u64::from(runtime.thread_id)) != Some(base) {
        return 0;
    }
    let context = read_user(state + u64::from(runtime.context)).unwrap_or(0);
    if is_context(runtime, context) { context } else { 0 }
}

#[inline(always)]
fn is_context(runtime: &PythonRuntime, object: u64) -> bool {
    object != 0 && read_user(object + OBJECT_TYPE) == Some(runtime.context_type)
}

/// The context in which the first callback of an asyncio future will run; 0: none.
#[inline(always)]
pub(crate) fn of_future(tgid: u32, future: u64) -> u64 {
    // SAFETY: the agent writes an entry once per process.
    let Some(runtime) = (unsafe { PYTHONS.get(tgid) }) else { return 0 };
    let context = read_user(future + u64::from(runtime.future_context)).unwrap_or(0);
    if is_context(runtime, context) { context } else { 0 }
}

/// A forked child has its parent's addresses.
#[inline(always)]
pub(crate) fn inherit_runtime(parent: u32, child: u32) {
    if process::has(parent, TRAIT_PYTHON) {
        copy_runtime(parent, child);
    }
}

#[inline(never)]
fn copy_runtime(parent: u32, child: u32) {
    // SAFETY: copied at once.
    if let Some(runtime) = unsafe { PYTHONS.get(parent) }.copied() {
        let _ = PYTHONS.insert(child, runtime, 0);
    }
}
