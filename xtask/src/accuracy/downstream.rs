//! The one service that all apps call.

use anyhow::{Context, Result};
use rig::address::free_port;
use rig::authority::Authority;
use rig::{Address, Process, paths};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

#[derive(Debug)]
pub(super) struct Downstream {
    port: u16,
    /// Who vouches for it, where it speaks TLS.
    authority: Option<Authority>,
    /// Ended when dropped.
    _process: Process,
}

/// Where libraries look for the authorities that they trust: OpenSSL and Go, requests, Node.
const TRUST: [&str; 3] = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"];

impl Downstream {
    pub(super) fn start(tls: bool) -> Result<Self> {
        let authority = tls.then(Authority::new).transpose()?;
        let port = free_port()?;
        let mut command = Command::new(paths::installed("accuracy/go/downstream")?);
        command.env("PORT", port.to_string());
        if let Some(authority) = &authority {
            command.env("CERTIFICATE", authority.file("server.pem")).env("KEY", authority.file("server.key"));
        }
        let mut process = Process::start("downstream", &command)?;
        let address = Address::Tcp(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
        process.wait_until("to accept connections", |_| address.answers()).context("downstream")?;
        Ok(Self { port, authority, _process: process })
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.authority.is_some() { "https" } else { "http" }
    }

    /// By name: apps look it up, as they do in the field.
    pub(super) fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// What an app needs to find and to trust it.
    pub(super) fn environment(&self) -> Vec<(&'static str, String)> {
        let url = ("DOWNSTREAM", format!("{}://{}", self.scheme(), self.host()));
        let authority = self.authority.as_ref().map(|authority| authority.file("ca.pem").display().to_string());
        let trust = authority.into_iter().flat_map(|file| TRUST.map(|name| (name, file.clone())));
        std::iter::once(url).chain(trust).collect()
    }
}
