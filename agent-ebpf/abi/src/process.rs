//! What the programs know of a process: one byte per pid in the map `PROCESSES`, shared memory with the agent.

/// Not looked at: its calls cost one array lookup.
pub const UNKNOWN: u8 = 0;
/// Traced.
pub const TARGET: u8 = 1;
/// Never becomes a target by itself: the agent, and what the operator excluded.
pub const EXCLUDED: u8 = 2;

/// Bytes per entry of the array: one entry holds this many pids.
pub const PIDS_PER_ENTRY: u32 = 8;
