//! Certificates for one test: an authority, and a server and a client that it vouches for. Made by openssl.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Made in milliseconds, where RSA takes most of a second.
const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
const NAMES: &str = "-addext subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1";

/// PEM files in a folder: `ca.pem`, `server.pem`, `server.key`, `client.pem`, `client.key`.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
}

impl Authority {
    pub fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        openssl(folder.path(), &format!("req -x509 {KEY} -keyout ca.key -out ca.pem -subj /CN=authority -days 1"))?;
        for name in ["server", "client"] {
            let files = format!("-keyout {name}.key -out {name}.csr -subj /CN={name}");
            openssl(folder.path(), &format!("req {KEY} {files} {NAMES}"))?;
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

    /// The variables by which curl, OpenSSL, Go, Python's libraries, Node and gRPC are told to trust it.
    pub fn trust(&self) -> [(&'static str, PathBuf); 5] {
        let of_grpc = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH";
        ["CURL_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", of_grpc]
            .map(|variable| (variable, self.file("ca.pem")))
    }
}

fn openssl(folder: &Path, arguments: &str) -> Result<()> {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output();
    let output = output.context("cannot run openssl")?;
    ensure!(output.status.success(), "openssl {arguments}\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
