//! The process table of the programs: a byte per pid, in memory shared with the kernel.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};

use autospan_abi::limits::PIDS_MAX;
use autospan_abi::process::{EXCLUDED, PIDS_PER_ENTRY, STATE_MASK, TARGET, UNKNOWN};

/// Entries that the map needs on this machine: it may not have that many pids.
pub(crate) fn entries() -> u32 {
    let pid_max = std::fs::read_to_string("/proc/sys/kernel/pid_max").ok();
    let pids = pid_max.and_then(|text| text.trim().parse().ok()).unwrap_or(PIDS_MAX);
    pids.clamp(PIDS_PER_ENTRY, PIDS_MAX).div_ceil(PIDS_PER_ENTRY)
}

/// The map `PROCESSES`, in the agent's memory.
#[derive(Debug)]
pub(crate) struct ProcessTable {
    bytes: NonNull<AtomicU8>,
    len: usize,
}

// SAFETY: the memory is shared with the kernel anyway and only touched atomically.
unsafe impl Send for ProcessTable {}
// SAFETY: as above.
unsafe impl Sync for ProcessTable {}

impl ProcessTable {
    /// # Errors
    /// `mmap` of the map fails.
    pub(crate) fn map(map: impl AsFd, entries: u32) -> io::Result<Self> {
        let len = entries as usize * PIDS_PER_ENTRY as usize;
        let (access, fd) = (libc::PROT_READ | libc::PROT_WRITE, map.as_fd().as_raw_fd());
        // SAFETY: a new mapping, at an address of the kernel's choice; the fd is open.
        let address = unsafe { libc::mmap(std::ptr::null_mut(), len, access, libc::MAP_SHARED, fd, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let bytes = NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mmap at address 0"))?;
        Ok(Self { bytes, len })
    }

    pub(crate) fn add(&self, tgid: u32) {
        self.change(tgid, UNKNOWN, TARGET);
    }

    pub(crate) fn remove(&self, tgid: u32) {
        self.change(tgid, TARGET, UNKNOWN);
    }

    pub(crate) fn exclude(&self, tgid: u32) {
        if let Some(state) = self.state(tgid) {
            state.store(EXCLUDED, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_target(&self, tgid: u32) -> bool {
        self.state(tgid).is_some_and(|state| state.load(Ordering::Relaxed) & STATE_MASK == TARGET)
    }

    /// Of a target only: what is not traced has none.
    pub(crate) fn add_traits(&self, tgid: u32, traits: u8) {
        if self.is_target(tgid)
            && let Some(state) = self.state(tgid)
        {
            state.fetch_or(traits & !STATE_MASK, Ordering::Relaxed);
        }
    }

    pub(crate) fn remove_traits(&self, tgid: u32, traits: u8) {
        if let Some(state) = self.state(tgid) {
            state.fetch_and(!traits | STATE_MASK, Ordering::Relaxed);
        }
    }

    fn change(&self, tgid: u32, from: u8, to: u8) {
        let changed = |state: u8| (state & STATE_MASK == from).then_some(to);
        if let Some(state) = self.state(tgid) {
            // Any other state stays.
            let _ = state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, changed);
        }
    }

    fn state(&self, tgid: u32) -> Option<&AtomicU8> {
        let index = usize::try_from(tgid).ok().filter(|index| *index < self.len)?;
        // SAFETY: within the mapping, which lives as long as `self`.
        Some(unsafe { self.bytes.add(index).as_ref() })
    }
}

impl Drop for ProcessTable {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `map`, of this length. Nothing borrows from it any more.
        unsafe { libc::munmap(self.bytes.as_ptr().cast(), self.len) };
    }
}
