//! What the kernel programs and the agent share, and the only code compiled for both sides.
//!
//! Every struct here crosses the kernel boundary as raw bytes: fixed-width integers, explicit zeroed padding, sizes
//! asserted beside the struct. A change of layout or meaning raises [`ABI_VERSION`], which the agent compares with the
//! `AUTOSPAN_ABI` symbol of the object at load and with the header of every evlog file.
#![no_std]

pub mod config;
pub mod connection;
pub mod counter;
pub mod limits;
pub mod process;
pub mod record;
pub mod runtime;
pub mod token;

pub use config::{KernelConfig, KernelOffsets};
pub use connection::{ListenerKey, Policy, PolicyMode, Role, Sharing};
pub use counter::Counter;
pub use record::{
    ConnectionClosed, ConnectionMultiplexed, ConnectionOpened, Data, Direction, ListenStarted, ProcessForked,
    RecordHeader, RecordKind, StreamAsked, Trail,
};

pub use runtime::{DequeHead, PythonRuntime};

/// Version of everything in this crate.
pub const ABI_VERSION: u32 = 6;
