//! The shell around [`autospan_core`]: everything that touches the world. Files, sockets, clocks, threads and `unsafe`
//! live here and nowhere in the core.

pub mod cli;
pub mod clock;
pub mod doctor;
pub mod export;
pub mod kernel;
pub mod privilege;
pub mod process;
pub mod record;
pub mod replay;
pub mod run;
pub mod stats;
pub mod tracer;

/// Spans are many small strings: against glibc's allocator this gives the engine and the encoding a quarter more
/// exchanges a second (`cargo xtask bench`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
