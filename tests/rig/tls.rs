//! TLS as the tests speak it: rustls, which no probe of the agent reads.

use crate::{Address, Authority, Client};
use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

pub use rustls::version::{TLS12, TLS13};

pub(crate) type Stream = rustls::StreamOwned<ClientConnection, TcpStream>;

/// What a handshake agreed on, as spans name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// `tls.protocol.version`: "1.2" or "1.3".
    pub version: &'static str,
    /// `tls.cipher`: IANA's name of the cipher suite.
    pub cipher: String,
    /// Nothing but keys of an earlier session: no certificate was sent.
    pub resumed: bool,
}

/// Opens connections; the later ones resume the session of the first where the server lets them.
#[derive(Clone, Debug)]
pub struct Connector {
    config: Arc<ClientConfig>,
}

impl Connector {
    /// TLS 1.3 or 1.2, whatever the server likes best.
    pub fn new(authority: &Authority) -> Result<Self> {
        Self::with(authority, &[&TLS13, &TLS12])
    }

    /// These versions alone.
    pub fn with(authority: &Authority, versions: &[&'static SupportedProtocolVersion]) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(authority.file("ca.pem"))?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions)?;
        Ok(Self { config: Arc::new(config.with_root_certificates(roots).with_no_client_auth()) })
    }

    /// A connection after its handshake.
    pub fn connect(&self, address: &Address) -> Result<Client> {
        Client::connect_tls(address, self)
    }

    /// The handshake on a new connection to a server of this `address`.
    pub(crate) fn handshake(&self, address: &SocketAddr, mut socket: TcpStream) -> Result<(Stream, Session)> {
        let name = ServerName::from(address.ip());
        let mut connection = ClientConnection::new(Arc::clone(&self.config), name)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).context("TLS handshake")?;
        }
        let session = session(&connection)?;
        Ok((Stream::new(connection, socket), session))
    }
}

fn session(connection: &ClientConnection) -> Result<Session> {
    let suite = connection.negotiated_cipher_suite().context("no cipher suite after the handshake")?.suite();
    // rustls names the suites of TLS 1.3 in its own way.
    let cipher = suite.as_str().context("a cipher suite without a name")?.replace("TLS13_", "TLS_");
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "1.2",
        Some(ProtocolVersion::TLSv1_3) => "1.3",
        other => anyhow::bail!("TLS version {other:?}"),
    };
    Ok(Session { version, cipher, resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed) })
}
