//! A PostgreSQL server that speaks TLS.

use crate::process::output;
use crate::{Address, Authority, Process};
use anyhow::{Context, Result};
use nix::unistd::{User, chown};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// It refuses to run as root.
const USER: &str = "postgres";

/// A running server with an empty database, open to everybody on 127.0.0.1. Needs root.
#[derive(Debug)]
pub struct Postgres {
    pub address: Address,
    process: Process,
}

impl Postgres {
    pub fn start_tls(authority: &Authority) -> Result<Self> {
        let address = Address::loopback()?;
        let directory = tempfile::tempdir()?;
        own(directory.path())?;
        let data = directory.path().join("data");
        let folder = data.display().to_string();
        let initdb = ["--no-sync", "--auth=trust", "--username=postgres", "-D", &folder];
        output("setpriv", as_user(&program("initdb")?).iter().map(String::as_str).chain(initdb))?;
        for name in ["server.pem", "server.key"] {
            fs::copy(authority.file(name), data.join(name))?;
            own(&data.join(name))?;
        }
        let mut command = Command::new("setpriv");
        command.args(as_user(&program("postgres")?)).args(["-D", &folder, "-k", "", "-h", "127.0.0.1"]);
        command.args(["-p", &address.port().to_string()]);
        command.args(["-c", "ssl=on", "-c", "ssl_cert_file=server.pem", "-c", "ssl_key_file=server.key"]);
        let mut process = Process::start_in(directory, "postgres", &command)?;
        process.wait_until("to accept connections", |_| address.answers())?;
        Ok(Self { address, process })
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What libpq takes: a connection by TLS or none.
    pub fn conninfo(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres sslmode=require", self.address.port())
    }
}

/// Arguments of setpriv that run `program` as the server's user.
fn as_user(program: &Path) -> Vec<String> {
    let words = ["--reuid", USER, "--regid", USER, "--init-groups", "--pdeathsig", "KILL", "--"];
    words.iter().map(ToString::to_string).chain([program.display().to_string()]).collect()
}

fn own(path: &Path) -> Result<()> {
    let user = User::from_name(USER)?.context("no user postgres: run `cargo xtask setup`")?;
    Ok(chown(path, Some(user.uid), Some(user.gid))?)
}

/// A program of the server, which Debian keeps off the search path.
fn program(name: &str) -> Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").context("no PostgreSQL: run `cargo xtask setup`")?;
    let programs = versions.flatten().map(|version| version.path().join("bin").join(name));
    programs.filter(|path| path.exists()).max().with_context(|| format!("no {name}: run `cargo xtask setup`"))
}
