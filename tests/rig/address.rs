//! Where a service listens.

use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Address {
    /// A free port of 127.0.0.1.
    pub fn loopback() -> Result<Self> {
        Self::on(Ipv4Addr::LOCALHOST.into())
    }

    /// A free port of `ip`.
    pub fn on(ip: IpAddr) -> Result<Self> {
        Ok(Self::Tcp(SocketAddr::new(ip, free_port()?)))
    }

    /// 0 for a unix socket.
    pub fn port(&self) -> u16 {
        match self {
            Self::Tcp(address) => address.port(),
            Self::Unix(_) => 0,
        }
    }

    /// URL of `path` on this address; a unix socket has none and is shown as `unix:`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{self}{path}")
    }

    /// The same for a service behind TLS.
    pub fn https(&self, path: &str) -> String {
        format!("https://{self}{path}")
    }

    /// Does anybody accept connections there?
    pub fn answers(&self) -> bool {
        match self {
            Self::Tcp(address) => TcpStream::connect(address).is_ok(),
            Self::Unix(path) => UnixStream::connect(path).is_ok(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Ports below the kernel's range for outgoing connections, so that no client takes one before the service does.
const PORT_FIRST: u16 = 18_000;
const PORT_COUNT: u16 = 14_000;
static OFFSET: AtomicU16 = AtomicU16::new(0);

/// A TCP port that nobody uses, different at each call. It is not tried out: a process that listens, however shortly, is a
/// service to the agent.
pub fn free_port() -> Result<u16> {
    let used = used_ports();
    let seed = (std::process::id() as u16).wrapping_mul(37);
    (0..PORT_COUNT)
        .map(|_| PORT_FIRST + seed.wrapping_add(OFFSET.fetch_add(1, Ordering::Relaxed)) % PORT_COUNT)
        .find(|port| !used.contains(port))
        .context("no free TCP port")
}

/// Local ports of all sockets, as the kernel lists them.
fn used_ports() -> BTreeSet<u16> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(std::fs::read_to_string);
    // A kernel without IPv6 has one table.
    let lines: String = tables.into_iter().flatten().collect();
    let local = lines.lines().filter_map(|line| line.split_whitespace().nth(1)?.rsplit_once(':'));
    local.filter_map(|(_, port)| u16::from_str_radix(port, 16).ok()).collect()
}
