//! Redis.

use super::{HOST, PASSWORD, SOCKET};
use crate::address::free_port;
use crate::{Address, Authority, Process};
use anyhow::Result;
use std::process::Command;

/// A server that is empty and keeps nothing, and its port for TLS.
pub(super) fn start(address: &Address, authority: Option<&Authority>) -> Result<(Process, u16)> {
    let directory = tempfile::tempdir()?;
    let mut command = Command::new("redis-server");
    command.args(["--bind", HOST, "--port", &address.port().to_string(), "--requirepass", PASSWORD]);
    command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(directory.path());
    command.arg("--unixsocket").arg(directory.path().join(SOCKET));
    let tls_port = free_port()?;
    if let Some(authority) = authority {
        command.args(["--tls-port", &tls_port.to_string(), "--tls-auth-clients", "no"]);
        for (option, name) in [("ca-cert", "ca.pem"), ("cert", "server.pem"), ("key", "server.key")] {
            command.arg(format!("--tls-{option}-file")).arg(authority.file(name));
        }
    }
    let mut process = Process::start_in(directory, "redis", &command)?;
    process.wait_until("to be ready", |process| process.stdout().contains("eady to accept connections"))?;
    Ok((process, tls_port))
}
