//! Hash maps.

/// Hashes are seeded by the place of the process in memory.
#[cfg(not(fuzzing))]
pub(crate) type HashMap<K, V> = hashbrown::HashMap<K, V>;
/// Coverage guides fuzzing: the same input takes the same path through the code, in any process.
#[cfg(fuzzing)]
pub(crate) type HashMap<K, V> = hashbrown::HashMap<K, V, core::hash::BuildHasherDefault<siphasher::sip::SipHasher13>>;
