//! The allocator, and when it gives memory back.

use mimalloc::MiMalloc;

/// Spans are many small strings: against glibc's allocator this gives the engine and the encoding a quarter more
/// exchanges a second (`cargo xtask bench`).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Returns what was freed to the kernel. Worth it once, after the start: the kernel's type information and the scan of
/// all processes need tens of MiB that nothing needs again.
pub(crate) fn give_back() {
    // SAFETY: no arguments by reference; callable at any time from any thread.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
