//! Certificates for one test: an authority, and a server and a client that it vouches for. Made by openssl.

use anyhow::{Context, Result, ensure};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// PEM files in a folder: `ca.pem`, `server.pem`, `server.key`, `client.pem`, `client.key`.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
}

impl Authority {
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        openssl(
            folder.path(),
            "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=authority -days 1",
        )?;
        for name in ["server", "client"] {
            let mut request =
                format!("req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}");
            write!(request, " -addext subjectAltName=DNS:localhost,IP:127.0.0.1")?;
            openssl(folder.path(), &request)?;
            let files = format!("-in {name}.csr -out {name}.pem -CA ca.pem -CAkey ca.key -CAcreateserial");
            openssl(folder.path(), &format!("x509 -req {files} -copy_extensions copy -days 1"))?;
        }
        Ok(Self { folder })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn openssl(folder: &Path, arguments: &str) -> Result<()> {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
    let output = output.context("cannot run openssl")?;
    ensure!(output.status.success(), "openssl {arguments}\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
