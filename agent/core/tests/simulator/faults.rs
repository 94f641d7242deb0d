//! What is done to the records on their way.

use crate::agent::Entry;
use crate::random::Random;

/// Entries that are missing, by index, in order.
pub(crate) type Removed = Vec<usize>;

/// Entries without those removed.
pub(crate) fn without(entries: &[Entry], removed: &[usize]) -> Vec<Entry> {
    let left = entries.iter().enumerate().filter(|(index, _)| removed.binary_search(index).is_err());
    left.map(|(_, entry)| entry.clone()).collect()
}

/// Records that a full ring had no room for: single ones, or runs of them.
pub(crate) fn lose(entries: &[Entry], random: &mut Random) -> Removed {
    let (percent, run) = (random.pick(&[1, 5, 20, 50]), random.pick(&[1, 1, 5, 40]));
    let mut removed = Vec::new();
    let mut left = 0;
    for (index, _) in entries.iter().enumerate().filter(|(_, entry)| entry.is_record()) {
        if left == 0 && random.below(100 * run) < percent {
            left = random.between(1, run);
        }
        if left > 0 {
            removed.push(index);
            left -= 1;
        }
    }
    removed
}

/// Records whose payload could not be read: they say only how many bytes went by.
pub(crate) fn blank(entries: &[Entry], random: &mut Random) -> Vec<Entry> {
    const KIND_AT: usize = 4;
    const DATA: u8 = 3;
    const LENGTHS_AT: usize = 24 + 48;
    const DATA_BYTES: u32 = 80;
    let percent = random.pick(&[1, 10, 40]);
    let blank = |entry: &Entry| match entry {
        Entry::Record(bytes) if bytes[KIND_AT] == DATA && random.percent(percent) => {
            let mut bytes = bytes[..DATA_BYTES as usize].to_vec();
            bytes[..4].copy_from_slice(&DATA_BYTES.to_le_bytes());
            bytes[LENGTHS_AT..LENGTHS_AT + 4].fill(0);
            Entry::Record(bytes)
        }
        entry => entry.clone(),
    };
    entries.iter().map(blank).collect()
}
