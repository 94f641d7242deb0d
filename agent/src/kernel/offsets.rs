//! The kernel's struct offsets that the programs need, and what is lost where one is missing.

use autospan_abi::KernelOffsets;

use super::btf::{Btf, BtfError};

/// Where the kernel keeps the register that user code finds its thread-local storage by.
const THREAD_POINTER: &str = if cfg!(target_arch = "aarch64") { "thread.uw.tp_value" } else { "thread.fsbase" };

const ABSENT: u32 = KernelOffsets::ABSENT;

/// Nothing is known: every program that follows kernel structs has to stay out.
pub(crate) const NONE: KernelOffsets = KernelOffsets {
    task_files: ABSENT,
    files_fdt: ABSENT,
    fdtable_max_fds: ABSENT,
    fdtable_fd: ABSENT,
    file_inode: ABSENT,
    file_private_data: ABSENT,
    inode_mode: ABSENT,
    inode_number: ABSENT,
    socket_sk: ABSENT,
    sock_family: ABSENT,
    sock_state: ABSENT,
    sock_num: ABSENT,
    sock_dport: ABSENT,
    sock_rcv_saddr: ABSENT,
    sock_daddr: ABSENT,
    sock_v6_rcv_saddr: ABSENT,
    sock_v6_daddr: ABSENT,
    sock_net: ABSENT,
    net_inum: ABSENT,
    sock_type: ABSENT,
    sock_protocol: ABSENT,
    tcp_write_seq: ABSENT,
    tcp_copied_seq: ABSENT,
    unix_peer: ABSENT,
    unix_addr: ABSENT,
    unix_address_len: ABSENT,
    unix_address_name: ABSENT,
    task_tgid: ABSENT,
    task_pid: ABSENT,
    task_signal: ABSENT,
    signal_live: ABSENT,
    task_thread_pointer: ABSENT,
};

/// # Errors
/// A member without which no file descriptor leads to a socket is missing. The others are `ABSENT` where the kernel was
/// built without them.
pub(crate) fn find(btf: &Btf) -> Result<KernelOffsets, BtfError> {
    let optional = |structure, path| btf.offset(structure, path).unwrap_or(ABSENT);
    Ok(KernelOffsets {
        task_files: btf.offset("task_struct", "files")?,
        files_fdt: btf.offset("files_struct", "fdt")?,
        fdtable_max_fds: btf.offset("fdtable", "max_fds")?,
        fdtable_fd: btf.offset("fdtable", "fd")?,
        file_inode: btf.offset("file", "f_inode")?,
        file_private_data: btf.offset("file", "private_data")?,
        inode_mode: btf.offset("inode", "i_mode")?,
        inode_number: btf.offset("inode", "i_ino")?,
        socket_sk: btf.offset("socket", "sk")?,
        sock_family: btf.offset("sock", "__sk_common.skc_family")?,
        sock_state: btf.offset("sock", "__sk_common.skc_state")?,
        sock_num: btf.offset("sock", "__sk_common.skc_num")?,
        sock_dport: btf.offset("sock", "__sk_common.skc_dport")?,
        sock_rcv_saddr: btf.offset("sock", "__sk_common.skc_rcv_saddr")?,
        sock_daddr: btf.offset("sock", "__sk_common.skc_daddr")?,
        sock_v6_rcv_saddr: optional("sock", "__sk_common.skc_v6_rcv_saddr"),
        sock_v6_daddr: optional("sock", "__sk_common.skc_v6_daddr"),
        sock_net: optional("sock", "__sk_common.skc_net.net"),
        net_inum: optional("net", "ns.inum"),
        sock_type: btf.offset("sock", "sk_type")?,
        sock_protocol: btf.offset("sock", "sk_protocol")?,
        tcp_write_seq: optional("tcp_sock", "write_seq"),
        tcp_copied_seq: optional("tcp_sock", "copied_seq"),
        unix_peer: optional("unix_sock", "peer"),
        unix_addr: optional("unix_sock", "addr"),
        unix_address_len: optional("unix_address", "len"),
        unix_address_name: optional("unix_address", "name"),
        task_tgid: btf.offset("task_struct", "tgid")?,
        task_pid: btf.offset("task_struct", "pid")?,
        task_signal: btf.offset("task_struct", "signal")?,
        signal_live: btf.offset("signal_struct", "live")?,
        task_thread_pointer: optional("task_struct", THREAD_POINTER),
    })
}
