//! Two calls of `bpf(2)` that aya does not make: programs and links of type `uprobe_multi`. Layouts are those of
//! `union bpf_attr` in `include/uapi/linux/bpf.h`.

use std::ffi::{CStr, c_int};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use aya_obj::generated::{BPF_F_UPROBE_MULTI_RETURN, bpf_attach_type, bpf_cmd, bpf_insn, bpf_prog_type};

/// Up to the last member that is set; the kernel takes what is missing for zero.
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    /// Ends in a zero.
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    path: u64,
    offsets: u64,
    ref_ctr_offsets: u64,
    cookies: u64,
    cnt: u32,
    multi_flags: u32,
    /// Zero: all processes.
    pid: u32,
    padding: u32,
}

const _: () = assert!(size_of::<ProgLoad>() == 72 && size_of::<LinkCreate>() == 64);

/// A program as [`load_uprobe_multi`] takes it.
#[derive(Debug)]
pub(super) struct Code<'a> {
    /// As it shows in lists; cut after 15 bytes.
    pub(super) name: &'a str,
    pub(super) instructions: &'a [bpf_insn],
    pub(super) license: &'a CStr,
}

/// Loads a program that only links of type `uprobe_multi` can run. What the verifier says of it goes to `log`, unless
/// that is empty.
///
/// # Errors
/// What the kernel answers. Kernels that know no such links may take the program nevertheless.
pub(super) fn load_uprobe_multi(code: &Code<'_>, log: &mut [u8]) -> io::Result<OwnedFd> {
    let mut prog_name = [0; 16];
    prog_name.iter_mut().take(15).zip(code.name.bytes()).for_each(|(to, from)| *to = from);
    let attr = ProgLoad {
        prog_type: bpf_prog_type::BPF_PROG_TYPE_KPROBE as u32,
        insn_cnt: u32::try_from(code.instructions.len()).map_err(io::Error::other)?,
        insns: code.instructions.as_ptr() as u64,
        license: code.license.as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: u32::try_from(log.len()).map_err(io::Error::other)?,
        // The kernel wants none with a length of zero.
        log_buf: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        prog_name,
        expected_attach_type: bpf_attach_type::BPF_TRACE_UPROBE_MULTI as u32,
        ..ProgLoad::default()
    };
    // SAFETY: the members are those of BPF_PROG_LOAD, the pointers lead to as many bytes as the lengths say, and `log`
    // is borrowed for writing.
    unsafe { new_fd(bpf_cmd::BPF_PROG_LOAD, &attr) }
}

/// Where a link runs its program.
#[derive(Debug)]
pub(super) struct Places<'a> {
    pub(super) path: &'a CStr,
    /// Bytes from the start of the file.
    pub(super) offsets: &'a [u64],
    /// Where the functions there return, rather than there.
    pub(super) returns: bool,
    /// In this process only. `None`: in all that map the file.
    pub(super) pid: Option<u32>,
}

/// Runs a program at all these places, until the link is closed.
///
/// # Errors
/// What the kernel answers, and then the program runs at none of them. `EINVAL` where it knows no such links.
pub(super) fn link_uprobe_multi(program: BorrowedFd<'_>, places: &Places<'_>) -> io::Result<OwnedFd> {
    let attr = LinkCreate {
        prog_fd: program.as_raw_fd().cast_unsigned(),
        attach_type: bpf_attach_type::BPF_TRACE_UPROBE_MULTI as u32,
        path: places.path.as_ptr() as u64,
        offsets: places.offsets.as_ptr() as u64,
        cnt: u32::try_from(places.offsets.len()).map_err(io::Error::other)?,
        multi_flags: if places.returns { BPF_F_UPROBE_MULTI_RETURN } else { 0 },
        pid: places.pid.unwrap_or(0),
        ..LinkCreate::default()
    };
    // SAFETY: the members are those of BPF_LINK_CREATE for uprobe_multi; `path` ends in a zero, and `offsets` leads to
    // as many as `cnt` says.
    unsafe { new_fd(bpf_cmd::BPF_LINK_CREATE, &attr) }
}

/// # Safety
/// `attr` is what the command expects, and what its pointers lead to may be read, or written where the kernel answers
/// there. The command answers with a new file descriptor.
unsafe fn new_fd<A>(command: bpf_cmd, attr: &A) -> io::Result<OwnedFd> {
    // SAFETY: by the contract of this function; the kernel reads as much as the size says.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command as c_int, std::ptr::from_ref(attr), size_of::<A>()) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = RawFd::try_from(answer).map_err(io::Error::other)?;
    // SAFETY: the kernel has just opened it for this call.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
