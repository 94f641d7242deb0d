//! Which sockets of a network namespace are listened on, read from `/proc/<pid>/net`, and who holds them.

use procfs::process::Process;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};

/// Lines of one socket table that are read.
const LINES_MAX: usize = 100_000;
/// File descriptors of one process that are looked at.
const FDS_MAX: usize = 65_536;

/// Where a process listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    Tcp(u16),
    Unix,
}

/// The listening stream sockets of one network namespace, by inode.
#[derive(Clone, Debug, Default)]
pub struct Listeners(HashMap<u64, Listener>);

impl Listeners {
    /// Reads the tables of the namespace that `process` is in. What cannot be read is as good as empty.
    pub fn read(process: &Process) -> Self {
        let mut found = HashMap::new();
        for table in ["net/tcp", "net/tcp6"] {
            found.extend(process.open_relative(table).map(tcp_listeners).unwrap_or_default());
        }
        found.extend(process.open_relative("net/unix").map(unix_listeners).unwrap_or_default());
        Self(found)
    }

    pub fn get(&self, inode: u64) -> Option<Listener> {
        self.0.get(&inode).copied()
    }

    /// Ports of the TCP sockets; one that several sockets share comes once for each.
    pub fn ports(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.values().filter_map(|listener| listener.port())
    }

    /// Those that `process` holds an open descriptor of.
    pub fn held_by(&self, process: &Process) -> Vec<Listener> {
        if self.0.is_empty() {
            return Vec::new();
        }
        socket_inodes(process).into_iter().filter_map(|inode| self.get(inode)).collect()
    }
}

impl Listener {
    pub fn port(self) -> Option<u16> {
        match self {
            Self::Tcp(port) => Some(port),
            Self::Unix => None,
        }
    }
}

/// The kernel lists listening sockets first, so a host with 100,000 connections costs no more than an idle one. (That is
/// also why the tables are not read through `procfs`, which reads them whole and leaves out the flags of unix sockets.)
fn tcp_listeners(table: impl Read) -> Vec<(u64, Listener)> {
    lines(table).map_while(|line| tcp_listener(&line)).collect()
}

fn unix_listeners(table: impl Read) -> Vec<(u64, Listener)> {
    lines(table).filter_map(|line| unix_listener(&line)).collect()
}

/// The lines after the heading. Paths of unix sockets may be any bytes.
fn lines(table: impl Read) -> impl Iterator<Item = String> {
    let lines = BufReader::new(table).split(b'\n').map_while(Result::ok).skip(1).take(LINES_MAX);
    lines.map(|line| String::from_utf8_lossy(&line).into_owned())
}

/// `sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode …`
fn tcp_listener(line: &str) -> Option<(u64, Listener)> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_ascii_whitespace();
    let (_, port) = fields.nth(1)?.rsplit_once(':')?;
    (fields.nth(1)? == LISTEN).then_some(())?;
    Some((fields.nth(5)?.parse().ok()?, Listener::Tcp(u16::from_str_radix(port, 16).ok()?)))
}

/// `Num RefCount Protocol Flags Type St Inode Path`
fn unix_listener(line: &str) -> Option<(u64, Listener)> {
    const ACCEPTS_CONNECTIONS: u32 = 0x1_0000; // __SO_ACCEPTCON
    const SOCK_STREAM: &str = "0001";
    let mut fields = line.split_ascii_whitespace();
    let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
    let listens = flags & ACCEPTS_CONNECTIONS != 0 && fields.next()? == SOCK_STREAM;
    listens.then_some(())?;
    Some((fields.nth(1)?.parse().ok()?, Listener::Unix))
}

/// Does a process hold a socket of any kind?
pub fn holds_sockets(process: &Process) -> bool {
    !socket_inodes(process).is_empty()
}

/// One `readlink` per descriptor.
fn socket_inodes(process: &Process) -> Vec<u64> {
    let Ok(directory) = std::fs::read_dir(format!("/proc/{}/fd", process.pid())) else { return Vec::new() };
    let links = directory.flatten().take(FDS_MAX).filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.filter_map(|link| socket_inode(link.to_str()?)).collect()
}

/// `12` of `socket:[12]`.
fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    #[test]
    fn own_listeners_are_found() {
        let directory = tempfile::tempdir().expect("a directory");
        let tcp = [TcpListener::bind("127.0.0.1:0"), TcpListener::bind("[::1]:0")];
        let ports: Vec<u16> = tcp.iter().flatten().map(|l| l.local_addr().expect("bound").port()).collect();
        let _unix = UnixListener::bind(directory.path().join("s")).expect("a unix socket");

        let own = Process::myself().expect("this process");
        let listeners = Listeners::read(&own);
        let held = listeners.held_by(&own);
        for port in ports {
            assert!(held.contains(&Listener::Tcp(port)), "{port} in {held:?}");
            assert!(listeners.ports().any(|p| p == port));
        }
        assert!(held.contains(&Listener::Unix));
    }

    #[test]
    fn a_bound_socket_that_does_not_listen_is_no_listener() {
        let line = "0000000000000000: 00000002 00000000 00000000 0001 01 4242 /run/x";
        assert_eq!(unix_listener(line), None);
        assert_eq!(unix_listener(&line.replacen("00000000 0001", "00010000 0001", 1)), Some((4242, Listener::Unix)));
        assert_eq!(unix_listener(&line.replacen("00000000 0001", "00010000 0005", 1)), None, "SOCK_SEQPACKET");
    }

    #[test]
    fn tables_are_read_up_to_the_first_connection() {
        let line = |state: &str, inode: u64| {
            format!(
                "   0: 0100007F:1F90 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1\n"
            )
        };
        let table = format!("heading\n{}{}{}", line("0A", 1), line("01", 2), line("0A", 3));
        assert_eq!(tcp_listeners(table.as_bytes()), [(1, Listener::Tcp(8080))]);
        assert_eq!(tcp_listeners(&b"heading\ngarbage \xff\n"[..]), []);
        assert_eq!(unix_listeners(&b"heading\ngarbage \xff 0 zz\n"[..]), []);
    }
}
