//! Database servers as Debian has them, each with its own data, port, unix socket and, where asked for, certificate.

mod mariadb;
mod postgres;
mod redis;

use crate::{Address, Authority, Process};
use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use nix::unistd::{User, chown};
use std::path::{Path, PathBuf};

pub use postgres::program as postgres_program;

/// Who asks, and with which password: no span may hold the latter.
pub const USER: &str = "app";
pub const PASSWORD: &str = "sesame";
/// Database of PostgreSQL and MariaDB, with what `tests/apps/db` puts there.
pub const NAME: &str = "shop";
/// Number of Redis's database.
pub const INDEX: &str = "1";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    Postgres,
    MariaDb,
    Redis,
}

/// How a client reaches a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Unix,
    /// On TCP.
    Tls,
}

/// A running server. Needs root.
#[derive(Debug)]
pub struct Database {
    pub server: Server,
    /// Without TLS; with it as well but for Redis.
    pub address: Address,
    /// Redis's port for TLS is another.
    tls_port: Option<u16>,
    /// Its certificate, for those who check it.
    authority: Option<PathBuf>,
    process: Process,
}

impl Database {
    pub fn start(server: Server) -> Result<Self> {
        Self::start_with(server, None)
    }

    /// One that speaks TLS with those who want that.
    pub fn start_tls(server: Server, authority: &Authority) -> Result<Self> {
        Self::start_with(server, Some(authority))
    }

    /// One that can be reached by `transport`.
    pub fn start_for(server: Server, transport: Transport, authority: &Authority) -> Result<Self> {
        Self::start_with(server, (transport == Transport::Tls).then_some(authority))
    }

    fn start_with(server: Server, authority: Option<&Authority>) -> Result<Self> {
        let address = Address::loopback()?;
        let (process, tls_port) = match server {
            Server::Postgres => (postgres::start(&address, authority)?, address.port()),
            Server::MariaDb => (mariadb::start(&address, authority)?, address.port()),
            Server::Redis => redis::start(&address, authority)?,
        };
        let authority = authority.map(|authority| authority.file("ca.pem"));
        Ok(Self { server, address, tls_port: authority.as_ref().map(|_| tls_port), authority, process })
    }

    /// The process that listens.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// It and its children: PostgreSQL has a process for each connection.
    pub fn pids(&self) -> Result<Vec<u32>> {
        self.process.family()
    }

    /// TCP port for this way to reach it; `None` for a unix socket.
    pub fn port(&self, transport: Transport) -> Option<u16> {
        match transport {
            Transport::Tcp => Some(self.address.port()),
            Transport::Unix => None,
            Transport::Tls => self.tls_port,
        }
    }

    /// Its unix socket.
    pub fn socket(&self) -> PathBuf {
        self.process.directory().join(match self.server {
            Server::Postgres => format!(".s.PGSQL.{}", self.address.port()),
            Server::MariaDb | Server::Redis => SOCKET.to_owned(),
        })
    }

    /// What tells a client where it is and who asks. For PostgreSQL the variables that libpq and its likes read by
    /// themselves; MYSQL_ and REDIS_ HOST and PORT, or SOCKET, and CA where TLS is asked for.
    pub fn environment(&self, transport: Transport) -> Result<Vec<(&'static str, String)>> {
        let socket = (transport == Transport::Unix).then(|| self.socket().display().to_string());
        let port = self.port(transport).map(|port| port.to_string());
        let authority = match transport {
            Transport::Tls => Some(self.authority.as_ref().context("a server without TLS")?.display().to_string()),
            Transport::Tcp | Transport::Unix => None,
        };
        let place = Place { socket, port, authority };
        Ok(match self.server {
            Server::Postgres => postgres::environment(place, &self.address, self.process.directory()),
            Server::MariaDb => place.environment(MYSQL, [("MYSQL_USER", USER), ("MYSQL_DATABASE", NAME)]),
            Server::Redis => place.environment(REDIS, [("REDIS_DB", INDEX)]),
        })
    }
}

impl Drop for Database {
    /// PostgreSQL's processes are in groups of their own, and shared memory would stay behind: it has a signal for an end at
    /// once that is tidy. The others are killed.
    fn drop(&mut self) {
        if self.server == Server::Postgres && self.process.is_running() {
            let ended = self.process.signal(Signal::SIGQUIT).and_then(|()| self.process.wait());
            if let Err(error) = ended {
                eprintln!("PostgreSQL has not ended: {error}");
            }
        }
    }
}

const SOCKET: &str = "server.sock";

/// Where a server is, in words.
struct Place {
    socket: Option<String>,
    port: Option<String>,
    authority: Option<String>,
}

/// Names of variables: host, port, socket, authority, password.
type Names = [&'static str; 5];
const MYSQL: Names = ["MYSQL_HOST", "MYSQL_PORT", "MYSQL_SOCKET", "MYSQL_CA", "MYSQL_PASSWORD"];
const REDIS: Names = ["REDIS_HOST", "REDIS_PORT", "REDIS_SOCKET", "REDIS_CA", "REDIS_PASSWORD"];

impl Place {
    fn environment<const N: usize>(
        self,
        names: Names,
        others: [(&'static str, &str); N],
    ) -> Vec<(&'static str, String)> {
        let host = self.port.as_ref().map(|_| HOST.to_owned());
        let values = [host, self.port, self.socket, self.authority, Some(PASSWORD.to_owned())];
        let named = names.into_iter().zip(values).filter_map(|(name, value)| Some((name, value?)));
        named.chain(others.map(|(name, value)| (name, value.to_owned()))).collect()
    }
}

const HOST: &str = "127.0.0.1";

/// Arguments of setpriv that run `program` as `user`.
fn as_user(user: &str, program: &Path) -> Vec<String> {
    let words = ["--reuid", user, "--regid", user, "--init-groups", "--pdeathsig", "KILL", "--"];
    words.iter().map(ToString::to_string).chain([program.display().to_string()]).collect()
}

fn own(user: &str, path: &Path) -> Result<()> {
    let found = User::from_name(user)?.with_context(|| format!("no user {user}: run `cargo xtask setup`"))?;
    Ok(chown(path, Some(found.uid), Some(found.gid))?)
}
