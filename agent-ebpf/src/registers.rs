//! Arguments of a system call at its exit: the user registers saved at its entry are still there.
//!
//! `bpf_task_pt_regs` came with Linux 5.15. Programs that use this are refused before, and the agent attaches those on
//! the entries instead.

use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_probe_read_kernel, bpf_task_pt_regs};

/// Offsets in `struct pt_regs` of the first four arguments.
#[cfg(bpf_target_arch = "x86_64")]
const ARGUMENTS: [usize; 4] = [112, 104, 96, 56];
/// The first one's register holds the result by now; `orig_x0` keeps it.
#[cfg(bpf_target_arch = "aarch64")]
const ARGUMENTS: [usize; 4] = [272, 8, 16, 24];

/// System call numbers of the architecture.
#[cfg(bpf_target_arch = "x86_64")]
pub(crate) mod number {
    pub(crate) const READV: u64 = 19;
    pub(crate) const RECVFROM: u64 = 45;
    pub(crate) const RECVMSG: u64 = 47;
}
#[cfg(bpf_target_arch = "aarch64")]
pub(crate) mod number {
    pub(crate) const READV: u64 = 65;
    pub(crate) const RECVFROM: u64 = 207;
    pub(crate) const RECVMSG: u64 = 212;
}

#[derive(Clone, Copy)]
pub(crate) struct Registers(u64);

impl Registers {
    /// Those of the current thread as they were in user space.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        // SAFETY: the current task is one.
        Self(unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as u64)
    }

    #[inline(always)]
    pub(crate) fn argument<const INDEX: usize>(self) -> u64 {
        let mut value = 0_u64;
        let from = self.0 + ARGUMENTS[INDEX] as u64;
        // SAFETY: the helper checks the address. On failure the value stays 0, and file descriptor 0 or address 0 lead
        // to nothing.
        unsafe { bpf_probe_read_kernel((&raw mut value).cast(), size_of::<u64>() as u32, from as *const _) };
        value
    }
}
