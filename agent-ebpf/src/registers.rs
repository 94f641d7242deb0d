//! User registers.
//!
//! [`Registers`] are those of a system call at its exit: what was saved at its entry is still there. [`Frame`] are those
//! of a probe on user code.
//!
//! `bpf_task_pt_regs` came with Linux 5.15. Programs that use this are refused before, and the agent attaches those on
//! the entries instead.

use aya_ebpf::bindings::pt_regs;
use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_probe_read_kernel, bpf_task_pt_regs};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};

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

/// See the module.
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

/// See the module.
#[derive(Clone, Copy)]
pub(crate) struct Frame(*const pt_regs);

/// A register of the frame. The verifier allows loads from the context at constant offsets.
macro_rules! register {
    ($frame:expr, $($register:tt)+) => {
        // SAFETY: the context of the program.
        unsafe { (&raw const (*$frame.0).$($register)+).read_volatile() }
    };
}

impl Frame {
    #[inline(always)]
    pub(crate) fn of(ctx: &ProbeContext) -> Self {
        Self(ctx.regs)
    }

    #[inline(always)]
    pub(crate) fn of_return(ctx: &RetProbeContext) -> Self {
        Self(ctx.regs)
    }
}

#[cfg(bpf_target_arch = "x86_64")]
impl Frame {
    #[inline(always)]
    pub(crate) fn stack(self) -> u64 {
        register!(self, rsp)
    }

    /// First argument of a Go function that takes a receiver, and first result.
    #[inline(always)]
    pub(crate) fn go_first(self) -> u64 {
        register!(self, rax)
    }

    #[inline(always)]
    pub(crate) fn go_second(self) -> u64 {
        register!(self, rbx)
    }

    #[inline(always)]
    pub(crate) fn go_third(self) -> u64 {
        register!(self, rcx)
    }

    #[inline(always)]
    pub(crate) fn go_fourth(self) -> u64 {
        register!(self, rdi)
    }

    /// Address of the current `runtime.g`.
    #[inline(always)]
    pub(crate) fn goroutine(self) -> u64 {
        register!(self, r14)
    }
}

#[cfg(bpf_target_arch = "aarch64")]
impl Frame {
    #[inline(always)]
    pub(crate) fn stack(self) -> u64 {
        register!(self, sp)
    }

    /// First argument of a Go function that takes a receiver, and first result.
    #[inline(always)]
    pub(crate) fn go_first(self) -> u64 {
        register!(self, regs[0])
    }

    #[inline(always)]
    pub(crate) fn go_second(self) -> u64 {
        register!(self, regs[1])
    }

    #[inline(always)]
    pub(crate) fn go_third(self) -> u64 {
        register!(self, regs[2])
    }

    #[inline(always)]
    pub(crate) fn go_fourth(self) -> u64 {
        register!(self, regs[3])
    }

    /// Address of the current `runtime.g`.
    #[inline(always)]
    pub(crate) fn goroutine(self) -> u64 {
        register!(self, regs[28])
    }
}
