//! What the agent tells the programs before they are loaded, as read-only globals.

/// Byte offsets of kernel struct members, read from the running kernel's BTF. `ABSENT` where the kernel has no such
/// member; the programs then do without what depends on it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelOffsets {
    pub task_files: u32,
    pub files_fdt: u32,
    pub fdtable_max_fds: u32,
    pub fdtable_fd: u32,
    pub file_inode: u32,
    pub file_private_data: u32,
    pub inode_mode: u32,
    pub inode_number: u32,
    pub socket_sk: u32,
    pub sock_family: u32,
    pub sock_state: u32,
    pub sock_num: u32,
    pub sock_dport: u32,
    pub sock_rcv_saddr: u32,
    pub sock_daddr: u32,
    pub sock_v6_rcv_saddr: u32,
    pub sock_v6_daddr: u32,
    pub sock_net: u32,
    pub net_inum: u32,
    pub sock_type: u32,
    pub sock_protocol: u32,
    pub tcp_write_seq: u32,
    pub tcp_copied_seq: u32,
    pub unix_peer: u32,
    pub unix_addr: u32,
    pub unix_address_len: u32,
    pub unix_address_name: u32,
    pub task_tgid: u32,
    pub task_pid: u32,
    pub task_signal: u32,
    pub signal_live: u32,
    pub task_thread_pointer: u32,
}

impl KernelOffsets {
    pub const ABSENT: u32 = u32::MAX;
}

/// Read-only global `CONFIG` of the object.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelConfig {
    pub offsets: KernelOffsets,
    /// The agent itself: never a target.
    pub agent_tgid: u32,
    /// [`KernelConfig::FLAG_AUTO`] and others.
    pub flags: u32,
}
const _: () = assert!(size_of::<KernelConfig>() == 32 * 4 + 8);

impl KernelConfig {
    /// A process that starts to listen on a stream socket becomes a target at once.
    pub const FLAG_AUTO: u32 = 1;
    /// Children of a target are targets.
    pub const FLAG_FOLLOW_FORKS: u32 = 2;
    /// Debug lines through aya-log.
    pub const FLAG_DEBUG_LOG: u32 = 4;
}

#[cfg(feature = "user")]
mod pod {
    // SAFETY: `repr(C)`, integers only, no implicit padding (size asserted above).
    unsafe impl aya::Pod for super::KernelConfig {}
}
