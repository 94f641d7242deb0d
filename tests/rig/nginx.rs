//! nginx as a reverse proxy.

use crate::process::find;
use crate::{Address, Authority, Process, paths};
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

/// nginx with two workers in front of one service. `/hello` and `/files/` it answers itself.
#[derive(Debug)]
pub struct Nginx {
    pub address: Address,
    process: Process,
}

/// As its configuration says.
const WORKERS: usize = 2;

/// What differs from a plain proxy.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings<'a> {
    /// Serve by TLS, with this authority's certificate.
    pub tls: Option<&'a Authority>,
    /// The service behind it is reached by TLS.
    pub upstream_tls: bool,
    /// Serve HTTP/2, and without TLS nothing else.
    pub http2: bool,
}

impl Nginx {
    pub fn before(upstream: &Address) -> Result<Self> {
        Self::start_with(upstream, Settings::default())
    }

    pub fn start_with(upstream: &Address, settings: Settings<'_>) -> Result<Self> {
        let address = Address::loopback()?;
        let directory = tempfile::tempdir()?;
        let path = directory.path().display().to_string();
        let listen = [(" ssl", settings.tls.is_some()), (" http2", settings.http2)];
        let listen: String = listen.iter().filter(|(_, wanted)| *wanted).map(|(word, _)| *word).collect();
        let template = std::fs::read_to_string(paths::app("nginx/nginx.conf.in"))?;
        let config = template
            .replace("@DIR@", &path)
            .replace("@LISTEN@", &format!("{address}{listen}"))
            .replace("@TLS@", &settings.tls.map(certificate).unwrap_or_default())
            .replace("@SCHEME@", if settings.upstream_tls { "https" } else { "http" })
            .replace("@UPSTREAM@", &upstream.to_string());
        std::fs::write(directory.path().join("nginx.conf"), config)?;
        std::fs::create_dir(directory.path().join("files"))?;
        let mut command = Command::new(find("nginx").context("nginx is not installed: run `cargo xtask setup`")?);
        command.args(["-p", &path, "-c", "nginx.conf", "-e", "stderr"]);
        let mut process = Process::start_in(directory, "nginx", &command)?;
        // The kernel accepts connections for workers that are not there yet.
        let has_workers = |process: &Process| process.family().is_ok_and(|family| family.len() > WORKERS);
        process.wait_until("to accept connections", |process| address.answers() && has_workers(process))?;
        Ok(Self { address, process })
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// All its processes: the master and its workers.
    pub fn pids(&self) -> Result<Vec<u32>> {
        self.process.family()
    }

    /// What `/files/` shows.
    pub fn files(&self) -> PathBuf {
        self.process.directory().join("files")
    }
}

/// The lines of a server with TLS.
fn certificate(authority: &Authority) -> String {
    let (certificate, key) = (authority.file("server.pem"), authority.file("server.key"));
    let versions = "ssl_protocols TLSv1.2 TLSv1.3; ssl_early_data on;";
    format!("ssl_certificate {}; ssl_certificate_key {}; {versions}", certificate.display(), key.display())
}
