//! The shell around [`autospan_core`]: everything that touches the world. Files, sockets, clocks, threads and `unsafe`
//! live here and nowhere in the core.

pub mod cli;
pub mod clock;
pub mod doctor;
pub mod elf;
pub mod export;
pub mod kernel;
mod memory;
pub mod privilege;
pub mod probe;
pub mod process;
pub mod record;
pub mod replay;
pub mod run;
pub mod stats;
pub mod tracer;
