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
}
const _: () = assert!(size_of::<PythonRuntime>() == 48);

#[cfg(feature = "user")]
mod pod {
    // SAFETY: `repr(C)`, integers only, no implicit padding (size asserted above).
    unsafe impl aya::Pod for super::PythonRuntime {}
}
