//! What the programs know of a process: one byte per pid in the map `PROCESSES`, shared memory with the agent.

/// Not looked at: its calls cost one array lookup.
pub const UNKNOWN: u8 = 0;
/// Traced.
pub const TARGET: u8 = 1;
/// Never becomes a target by itself: the agent, and what the operator excluded.
pub const EXCLUDED: u8 = 2;
/// The bits of a byte that hold one of the above; the others are traits.
pub const STATE_MASK: u8 = 0b11;

/// Probes are attached to a TLS library that it has mapped: its ciphertext is worth a look.
pub const TRAIT_TLS: u8 = 0b0100;
/// A Go program: its execution contexts are goroutines.
pub const TRAIT_GO: u8 = 0b1000;
/// A CPython whose `Context`s can be found: [`crate::PythonRuntime`] is known.
pub const TRAIT_PYTHON: u8 = 0b1_0000;
/// Sockets are read outside of any CPython `Context`, which is entered right after: uvloop.
pub const TRAIT_UVLOOP: u8 = 0b10_0000;
/// An event loop whose turns are seen to begin and end: what a thread does in one belongs to what it read last.
pub const TRAIT_TURNS: u8 = 0b100_0000;
/// A CPython whose threads leave work for one another in deques that are watched.
pub const TRAIT_JOBS: u8 = 0b1000_0000;

/// Bytes per entry of the array: one entry holds this many pids.
pub const PIDS_PER_ENTRY: u32 = 8;
