//! The shell around [`autospan_core`]: everything that touches the world. Files, sockets, clocks, threads and `unsafe`
//! live here and nowhere in the core.

pub mod export;
pub mod kernel;
pub mod process;
pub mod replay;
