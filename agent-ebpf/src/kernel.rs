//! The running kernel's structs, read by offsets that the agent took from its BTF. All uses of those offsets are here.

use autospan_abi::{KernelConfig, KernelOffsets, ListenerKey};
use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_probe_read_kernel};

/// Set by the agent before the programs are loaded, constant afterwards.
#[unsafe(no_mangle)]
static CONFIG: KernelConfig = KernelConfig {
    offsets: {
        const A: u32 = KernelOffsets::ABSENT;
        KernelOffsets {
            task_files: A,
            files_fdt: A,
            fdtable_max_fds: A,
            fdtable_fd: A,
            file_inode: A,
            file_private_data: A,
            inode_mode: A,
            inode_number: A,
            socket_sk: A,
            sock_family: A,
            sock_state: A,
            sock_num: A,
            sock_dport: A,
            sock_rcv_saddr: A,
            sock_daddr: A,
            sock_v6_rcv_saddr: A,
            sock_v6_daddr: A,
            sock_net: A,
            net_inum: A,
            sock_type: A,
            sock_protocol: A,
            tcp_write_seq: A,
            tcp_copied_seq: A,
            unix_peer: A,
            unix_addr: A,
            unix_address_len: A,
            unix_address_name: A,
            task_tgid: A,
            task_pid: A,
            task_signal: A,
            signal_live: A,
            task_thread_pointer: A,
        }
    },
    agent_tgid: 0,
    flags: 0,
};

/// A field of [`CONFIG`], read anew: what the compiler sees there is not what the agent put there.
macro_rules! config {
    ($($field:tt)+) => {
        // SAFETY: a valid, aligned address of a read-only global.
        unsafe { core::ptr::read_volatile(&raw const CONFIG.$($field)+) }
    };
}

pub(crate) const AF_UNIX: u16 = 1;
pub(crate) const AF_INET: u16 = 2;
pub(crate) const AF_INET6: u16 = 10;
const SOCK_STREAM: u16 = 1;
const IPPROTO_TCP: u16 = 6;
const S_IFMT: u16 = 0xf000;
const S_IFSOCK: u16 = 0xc000;

#[inline(always)]
pub(crate) fn agent_tgid() -> u32 {
    config!(agent_tgid)
}

#[inline(always)]
pub(crate) fn flag(flag: u32) -> bool {
    config!(flags) & flag != 0
}

/// Copies a `T` from kernel memory at `base + offset`.
#[inline(always)]
fn read<T: Copy>(base: u64, offset: u32) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    // SAFETY: the helper checks the address and writes no more than `T`.
    let failed = unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            (base + u64::from(offset)) as *const core::ffi::c_void,
        )
    };
    // SAFETY: all of it was written.
    if failed == 0 { Some(unsafe { value.assume_init() }) } else { None }
}

/// Copies a `T` from kernel memory at `base + offset` to where it belongs; zeros where that cannot be read.
#[inline(always)]
fn read_into<T: Copy>(base: u64, offset: u32, to: &mut T) {
    let from = (base + u64::from(offset)) as *const core::ffi::c_void;
    // SAFETY: the helper checks the source, and writes all of `T`, whatever comes of it.
    unsafe { bpf_probe_read_kernel(core::ptr::from_mut(to).cast(), size_of::<T>() as u32, from) };
}

/// Why a file descriptor leads to no stream socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoSocket {
    /// It is something else.
    Other,
    /// A struct on the way could not be read.
    Unreadable,
}

/// A TCP or unix stream socket that a file descriptor leads to.
#[derive(Clone, Copy)]
pub(crate) struct Socket {
    pub(crate) sock: Sock,
    /// Inode number, as in `/proc/<pid>/fd`.
    pub(crate) inode: u64,
}

impl Socket {
    /// The stream socket behind a file descriptor of the current process.
    #[inline(always)]
    pub(crate) fn from_fd(fd: u64) -> Result<Self, NoSocket> {
        let inode = file_of(fd).and_then(|file| Some((file, read::<u64>(file, config!(offsets.file_inode))?)));
        let (file, inode) = inode.ok_or(NoSocket::Unreadable)?;
        let mode: u16 = read(inode, config!(offsets.inode_mode)).ok_or(NoSocket::Unreadable)?;
        if mode & S_IFMT != S_IFSOCK {
            return Err(NoSocket::Other);
        }
        let sock = sock_of(file).ok_or(NoSocket::Unreadable)?;
        if !sock.is_stream() {
            return Err(NoSocket::Other);
        }
        let inode = read(inode, config!(offsets.inode_number)).ok_or(NoSocket::Unreadable)?;
        Ok(Self { sock, inode })
    }
}

/// `struct file` behind a file descriptor of the current process.
#[inline(always)]
fn file_of(fd: u64) -> Option<u64> {
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    let files: u64 = read(task, config!(offsets.task_files))?;
    let table: u64 = read(files, config!(offsets.files_fdt))?;
    let max: u32 = read(table, config!(offsets.fdtable_max_fds))?;
    if fd as u32 >= max {
        return None;
    }
    let array: u64 = read(table, config!(offsets.fdtable_fd))?;
    let file = read(array + u64::from(fd as u32) * 8, 0)?;
    if file == 0 { None } else { Some(file) }
}

#[inline(always)]
fn sock_of(file: u64) -> Option<Sock> {
    let socket: u64 = read(file, config!(offsets.file_private_data))?;
    let sock = read(socket, config!(offsets.socket_sk))?;
    if sock == 0 { None } else { Some(Sock(sock)) }
}

/// Address of a `struct sock`.
#[derive(Clone, Copy)]
pub(crate) struct Sock(pub(crate) u64);

impl Sock {
    #[inline(always)]
    pub(crate) fn family(self) -> u16 {
        read(self.0, config!(offsets.sock_family)).unwrap_or(0)
    }

    #[inline(always)]
    pub(crate) fn is_stream(self) -> bool {
        let family = self.family();
        if read::<u16>(self.0, config!(offsets.sock_type)) != Some(SOCK_STREAM) {
            return false;
        }
        if family == AF_UNIX {
            return true;
        }
        (family == AF_INET || family == AF_INET6)
            && read::<u16>(self.0, config!(offsets.sock_protocol)) == Some(IPPROTO_TCP)
    }

    #[inline(always)]
    pub(crate) fn is_tcp(self) -> bool {
        self.family() != AF_UNIX
    }

    #[inline(always)]
    pub(crate) fn netns(self) -> u32 {
        let net = read::<u64>(self.0, config!(offsets.sock_net));
        net.and_then(|net| read(net, config!(offsets.net_inum))).unwrap_or(0)
    }

    #[inline(always)]
    pub(crate) fn local_port(self) -> u16 {
        read(self.0, config!(offsets.sock_num)).unwrap_or(0)
    }

    #[inline(always)]
    pub(crate) fn remote_port(self) -> u16 {
        u16::from_be(read(self.0, config!(offsets.sock_dport)).unwrap_or(0))
    }

    #[inline(always)]
    pub(crate) fn listener_key(self) -> ListenerKey {
        ListenerKey { netns: self.netns(), port: u32::from(self.local_port()) }
    }

    /// Writes local and remote address into a record, IPv4 as IPv4-mapped IPv6; zeros for unix sockets. By way of the
    /// stack they would take so much of it that kernels before 6.13 refuse the whole chain of calls: 512 bytes for all.
    #[inline(always)]
    pub(crate) fn write_addresses(self, family: u16, local: &mut [u8; 16], remote: &mut [u8; 16]) {
        (*local, *remote) = ([0; 16], [0; 16]);
        match family {
            AF_INET => {
                self.write_mapped(config!(offsets.sock_rcv_saddr), local);
                self.write_mapped(config!(offsets.sock_daddr), remote);
            }
            AF_INET6 => {
                read_into(self.0, config!(offsets.sock_v6_rcv_saddr), local);
                read_into(self.0, config!(offsets.sock_v6_daddr), remote);
            }
            _ => {}
        }
    }

    #[inline(always)]
    fn write_mapped(self, offset: u32, [.., ff, also_ff, a, b, c, d]: &mut [u8; 16]) {
        (*ff, *also_ff) = (0xff, 0xff);
        [*a, *b, *c, *d] = read::<[u8; 4]>(self.0, offset).unwrap_or([0; 4]);
    }

    /// Sequence number that the next written byte gets.
    #[inline(always)]
    pub(crate) fn write_sequence(self) -> Option<u32> {
        self.optional(config!(offsets.tcp_write_seq))
    }

    /// Sequence number of the next byte to be read.
    #[inline(always)]
    pub(crate) fn read_sequence(self) -> Option<u32> {
        self.optional(config!(offsets.tcp_copied_seq))
    }

    #[inline(always)]
    fn optional(self, offset: u32) -> Option<u32> {
        if offset == KernelOffsets::ABSENT { None } else { read(self.0, offset) }
    }

    /// The other end of a unix socket.
    #[inline(always)]
    pub(crate) fn unix_peer(self) -> Option<Self> {
        let offset = config!(offsets.unix_peer);
        if offset == KernelOffsets::ABSENT {
            return None;
        }
        read(self.0, offset).filter(|peer| *peer != 0).map(Self)
    }

    /// The address a unix socket is bound to.
    #[inline(always)]
    pub(crate) fn unix_address(self) -> Option<UnixAddress> {
        let offset = config!(offsets.unix_addr);
        if offset == KernelOffsets::ABSENT {
            return None;
        }
        let address: u64 = read(self.0, offset)?;
        if address == 0 { None } else { Some(UnixAddress(address)) }
    }
}

/// Address of a `struct unix_address`.
#[derive(Clone, Copy)]
pub(crate) struct UnixAddress(u64);

/// `sockaddr_un` starts with the family.
const SUN_PATH_OFFSET: u32 = 2;

impl UnixAddress {
    /// Bytes of the path, a trailing NUL included, and the kernel address of its first byte.
    #[inline(always)]
    pub(crate) fn path(self) -> (u64, u64) {
        let len: u32 = read(self.0, config!(offsets.unix_address_len)).unwrap_or(0);
        let start = self.0 + u64::from(config!(offsets.unix_address_name) + SUN_PATH_OFFSET);
        (start, u64::from(len.saturating_sub(SUN_PATH_OFFSET)))
    }
}

/// Process that a `struct task_struct` belongs to.
#[inline(always)]
pub(crate) fn task_tgid(task: u64) -> Option<u32> {
    read(task, config!(offsets.task_tgid))
}

/// Thread that a `struct task_struct` is.
#[inline(always)]
pub(crate) fn task_tid(task: u64) -> Option<u32> {
    read(task, config!(offsets.task_pid))
}

/// Whether the current thread is the last one of its process, on its way out.
#[inline(always)]
pub(crate) fn is_last_thread() -> bool {
    // SAFETY: the helper has no preconditions.
    let task = unsafe { bpf_get_current_task() };
    let signal: Option<u64> = read(task, config!(offsets.task_signal));
    signal.and_then(|signal| read::<u32>(signal, config!(offsets.signal_live))) == Some(0)
}

/// The register by which user code of the current thread finds its thread-local storage.
#[inline(always)]
pub(crate) fn thread_pointer() -> Option<u64> {
    let offset = config!(offsets.task_thread_pointer);
    if offset == KernelOffsets::ABSENT {
        return None;
    }
    // SAFETY: the helper has no preconditions.
    read(unsafe { bpf_get_current_task() }, offset)
}

/// The goroutine that the current thread runs, by the address of its `runtime.g`. 0: not known.
#[inline(always)]
pub(crate) fn goroutine() -> u64 {
    /// Go for x86-64 keeps it so far below the thread pointer (`runtime.tlsg`); elsewhere in a register.
    const G_BELOW: u64 = 8;
    if cfg!(not(bpf_target_arch = "x86_64")) {
        return 0;
    }
    thread_pointer().and_then(|base| crate::capture::read_user(base - G_BELOW)).unwrap_or(0)
}
