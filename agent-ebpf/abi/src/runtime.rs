//! What the programs must know of a language runtime to find the execution context of a thread. Addresses are those of
//! one process.

/// Value of the map `PYTHONS`, by tgid: where a CPython keeps what a thread runs.
///
/// At a system call the interpreter may have released its lock, so that no global names the thread's state; the key of
/// thread-specific storage that `PyGILState_GetThisThreadState` uses still does.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PythonRuntime {
    /// Address of the `pthread_key_t` (4 bytes) whose value is the thread's `PyThreadState *`. 0: see `state_tls`.
    pub state_key: u64,
    /// Where there is no such key: distance from the thread pointer to the thread-local variable that holds the
    /// `PyThreadState *` and keeps it while the lock is released.
    pub state_tls: i64,
    /// Address of `PyContext_Type`: what the type of a context must be.
    pub context_type: u64,
    /// Offset in `PyThreadState` of `thread_id`: must be the thread pointer.
    pub thread_id: u32,
    /// Offset in `PyThreadState` of `context`.
    pub context: u32,
    /// Distance from the thread pointer to thread-specific storage, or to the pointer to it.
    pub specific: u32,
    /// Bytes of an entry of it. 16: the storage is there, of 32 entries, each a sequence number and the value (glibc). 8:
    /// a pointer to values is there (musl).
    pub specific_entry: u32,
    /// Offset in `FutureObj` of `fut_context0`: the context of its first callback.
    pub future_context: u32,
    /// Offset in a `Context` of `ctx_entered` (4 bytes): 0 in the one that a thread has by itself, which nobody entered.
    pub entered: u32,
    /// Offset in `PyThreadState` of `datastack_chunk`, by whose first chunk greenlets are told apart. 0: nothing switches
    /// between them, or their stacks cannot be found.
    pub datastack: u32,
    pub pad: u32,
}
const _: () = assert!(size_of::<PythonRuntime>() == 56);

/// Start of a `dequeobject` of CPython 3.8 to 3.14, behind the head of the object (`Modules/_collectionsmodule.c`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DequeHead {
    /// Items.
    pub size: u64,
    /// Address of the first block: a link, then [`DequeHead::BLOCK_LEN`] items.
    pub left_block: u64,
    pub right_block: u64,
    /// Of the first item in its block.
    pub left_index: u64,
    pub right_index: u64,
    /// Counts what was put in and taken out.
    pub state: u64,
    /// -1: none. Else what is one too many is thrown out.
    pub max_len: i64,
}
const _: () = assert!(size_of::<DequeHead>() == 56);

impl DequeHead {
    /// Of `ob_size` in the object.
    pub const OFFSET: u64 = 16;
    pub const BLOCK_LEN: u64 = 64;
    const FIRST_ITEM: u64 = 8;
    const ITEM_BYTES: u64 = 8;

    /// Items only leave it by being taken.
    #[inline(always)]
    pub fn is_unlimited(&self) -> bool {
        self.max_len == -1 && self.left_index < Self::BLOCK_LEN
    }

    /// How many items left it before the one that is next, where they only ever come at one end and go at the other.
    #[inline(always)]
    pub fn next_out(&self) -> u64 {
        self.state.wrapping_sub(self.size) >> 1
    }

    /// The same for the one that comes next.
    #[inline(always)]
    pub fn next_in(&self) -> u64 {
        self.next_out().wrapping_add(self.size)
    }

    /// Where the address of the first item is. `None`: it is empty.
    #[inline(always)]
    pub fn first(&self) -> Option<u64> {
        let at =
            self.left_block.wrapping_add(Self::FIRST_ITEM + (self.left_index % Self::BLOCK_LEN) * Self::ITEM_BYTES);
        if self.size == 0 { None } else { Some(at) }
    }
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: `repr(C)`, integers only, no implicit padding (size asserted above).
    unsafe impl aya::Pod for super::PythonRuntime {}
}
