//! Execution contexts: the finest thing that a runtime shows to be working on something.
//!
//! A goroutine, a CPython `Context`, a greenlet, else a thread. Finding one reads memory of the process; everything read is checked,
//! so that a layout that we do not know gives a thread, never somebody else's context.

use autospan_abi::limits::RUNTIMES_MAX;
use autospan_abi::process::{TRAIT_GO, TRAIT_PYTHON, TRAIT_TURNS};
use autospan_abi::{PythonRuntime, Trail};
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

    /// A goroutine by its g, a CPython `Context` by its address, a greenlet by [`first_chunk`].
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

    /// The id of a thread of a process that is known by the turns of its event loop.
    #[inline(always)]
    pub(crate) fn loop_thread(self) -> Option<u32> {
        if !self.is_task() && process::has(self.tgid, TRAIT_TURNS) { Some(self.id as u32) } else { None }
    }

    /// All contexts of this one's process.
    #[inline(always)]
    pub(crate) fn process(self) -> Self {
        Self { id: 0, tgid: self.tgid, kind: TASK }
    }

    #[inline(always)]
    pub(crate) fn is_task(self) -> bool {
        self.kind == TASK
    }

    #[inline(always)]
    pub(crate) fn is_greenlet(self) -> bool {
        self.id & GREENLET != 0 && self.is_task() && process::has(self.tgid, TRAIT_PYTHON)
    }

    /// A task of the same process.
    #[inline(always)]
    pub(crate) fn at(self, address: u64) -> Self {
        Self::task(self.tgid, address)
    }

    /// A CPython `Context`.
    #[inline(always)]
    pub(crate) fn is_python(self) -> bool {
        self.is_task() && self.id & GREENLET == 0 && process::has(self.tgid, TRAIT_PYTHON)
    }

    /// Of a task: where its object is.
    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.id
    }

    /// How far what it carries can be believed.
    #[inline(always)]
    pub(crate) fn trail(self) -> Trail {
        if self.is_task() {
            Trail::Task
        } else if process::has(self.tgid, TRAIT_TURNS) {
            Trail::Turn
        } else {
            Trail::Thread
        }
    }
}

/// Bytes of an entry of thread-specific storage that is in the thread's own block: a sequence number, the value.
const IN_PLACE_BYTES: u64 = 16;
const IN_PLACE_VALUE: u64 = 8;
/// Bytes of one that is behind a pointer: the value.
const BEHIND_POINTER_BYTES: u64 = 8;
/// Keys in the first block.
const KEYS_MAX: u32 = 32;
/// Offset of `ob_type` in a `PyObject`.
const OBJECT_TYPE: u64 = 8;

/// Address of the `Context` that the current thread of a CPython has entered, else its greenlet; 0: neither, or not known.
/// The context that a thread or a greenlet gets by itself, sooner or later, is no more than that.
#[inline(never)]
fn python_context(tgid: u32) -> u64 {
    // SAFETY: the agent writes an entry anew only when it knows more.
    let Some(runtime) = (unsafe { PYTHONS.get(tgid) }) else { return 0 };
    let Some(base) = kernel::thread_pointer() else { return 0 };
    let Some(slot) = state_slot(runtime, base) else { return 0 };
    let Some(state) = read_user::<u64>(slot).filter(|state| *state != 0) else { return 0 };
    if read_user::<u64>(state + u64::from(runtime.thread_id)) != Some(base) {
        return 0;
    }
    let context = read_user(state + u64::from(runtime.context)).unwrap_or(0);
    let entered = is_context(runtime, context) && read_user(context + u64::from(runtime.entered)) == Some(1_u32);
    match (entered, runtime.datastack) {
        (true, _) => context,
        (false, 0) => 0,
        (false, datastack) => first_chunk(state + u64::from(datastack)),
    }
}

/// In the id of a greenlet: addresses of objects are even.
const GREENLET: u64 = 1;
/// Of a greenlet's Python stack: more than 300 frames.
const CHUNKS_MAX: u32 = 8;
const CHUNK_BYTES_MIN: u64 = 16 << 10;
const CHUNK_BYTES_MAX: u64 = 1 << 30;
const PAGE_BYTES: u64 = 4096;

/// The current greenlet, by the first chunk of its Python stack, which it has for itself from its first frame to its end;
/// 0: that is not what it looks like. `place`: address of the pointer to the last chunk.
#[inline(always)]
fn first_chunk(place: u64) -> u64 {
    let mut chunk = read_user::<u64>(place).unwrap_or(0);
    for _ in 0..CHUNKS_MAX {
        // The chunk before it, and its bytes.
        let [previous, bytes] = read_user::<[u64; 2]>(chunk).unwrap_or([0, 0]);
        let is_chunk = (chunk | bytes) % PAGE_BYTES == 0 && (CHUNK_BYTES_MIN..CHUNK_BYTES_MAX).contains(&bytes);
        if !is_chunk {
            return 0;
        }
        if previous == 0 {
            return chunk | GREENLET;
        }
        chunk = previous;
    }
    0
}

/// The process mapped memory. A greenlet that begins there is another than any that had its stack there before.
#[inline(always)]
pub(crate) fn mapped(thread: Thread, address: u64) -> Option<Context> {
    if !process::has(thread.tgid, TRAIT_PYTHON) {
        return None;
    }
    // SAFETY: the agent writes an entry anew only when it knows more.
    let has_greenlets = unsafe { PYTHONS.get(thread.tgid) }.is_some_and(|runtime| runtime.datastack != 0);
    has_greenlets.then(|| Context::task(thread.tgid, address | GREENLET))
}

/// The greenlet that waits for events: that of an event loop, which works for many requests.
#[inline(always)]
pub(crate) fn waiting_greenlet(thread: Thread) -> Option<Context> {
    // Those that are none are not looked for.
    mapped(thread, 0)?;
    let context = Context::current(thread);
    context.is_greenlet().then_some(context)
}

/// Where the thread's storage holds its `PyThreadState *`.
#[inline(always)]
fn state_slot(runtime: &PythonRuntime, base: u64) -> Option<u64> {
    if runtime.state_key == 0 {
        return Some(base.wrapping_add_signed(runtime.state_tls));
    }
    let key = u64::from(read_user::<u32>(runtime.state_key).filter(|key| *key < KEYS_MAX)?);
    let storage = base + u64::from(runtime.specific);
    if u64::from(runtime.specific_entry) == IN_PLACE_BYTES {
        Some(storage + key * IN_PLACE_BYTES + IN_PLACE_VALUE)
    } else {
        Some(read_user::<u64>(storage)? + key * BEHIND_POINTER_BYTES)
    }
}

#[inline(always)]
fn is_context(runtime: &PythonRuntime, object: u64) -> bool {
    object != 0 && read_user(object + OBJECT_TYPE) == Some(runtime.context_type)
}

/// The context in which the first callback of an asyncio future will run; 0: none.
#[inline(always)]
pub(crate) fn of_future(tgid: u32, future: u64) -> u64 {
    // SAFETY: the agent writes an entry anew only when it knows more.
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
