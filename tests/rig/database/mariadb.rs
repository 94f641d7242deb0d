//! MariaDB.

use super::{HOST, SOCKET};
use crate::process::{find, output};
use crate::{Address, Authority, Process, paths};
use anyhow::{Context, Result};
use std::process::Command;

/// Small files, and what is lost in a crash is no loss.
const SETTINGS: [&str; 5] = [
    "--innodb-log-file-size=4M",
    "--innodb-buffer-pool-size=32M",
    "--innodb-flush-log-at-trx-commit=0",
    "--skip-name-resolve",
    "--user=root",
];

/// A server with the fixture and its user.
pub(super) fn start(address: &Address, authority: Option<&Authority>) -> Result<Process> {
    let directory = tempfile::tempdir()?;
    let data = format!("--datadir={}", directory.path().join("data").display());
    let install = ["--no-defaults", &data, "--auth-root-authentication-method=normal", "--skip-test-db"];
    output("mariadb-install-db", install.iter().chain(&SETTINGS))?;
    let mut command = Command::new(find("mariadbd").context("no mariadbd: run `cargo xtask setup`")?);
    command.args(["--no-defaults", &data]).args(SETTINGS);
    command.args([format!("--bind-address={HOST}"), format!("--port={}", address.port())]);
    command.arg(format!("--socket={}", directory.path().join(SOCKET).display()));
    command.arg(format!("--init-file={}", paths::app("db/mariadb.sql").display()));
    if let Some(authority) = authority {
        for (option, name) in [("ssl-ca", "ca.pem"), ("ssl-cert", "server.pem"), ("ssl-key", "server.key")] {
            command.arg(format!("--{option}={}", authority.file(name).display()));
        }
    }
    let mut process = Process::start_in(directory, "mariadbd", &command)?;
    process.wait_until("to be ready", |process| process.stderr().contains("ready for connections"))?;
    Ok(process)
}
