//! Probes in user code: which files of a process hold functions that a kernel program must see, and where. What comes
//! out is plain data; `kernel/` attaches it, once per file for all processes that map it.
//!
//! recognise (one file's bytes → its probes) → libraries (which process maps which files → attach, detach)

mod libraries;
mod maps;
mod plan;
mod python;
mod recognise;

pub use libraries::{FileId, Libraries, ProbeChange};
pub use plan::{Component, Probe, ProbeFamily, ProbeProgram, Recognised};
pub use python::{Libc, Python, Unsupported};
pub use recognise::recognise;
