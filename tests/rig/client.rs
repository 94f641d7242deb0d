//! An HTTP/1.1 client that does what a test tells it: one connection, raw bytes, pipelining.

use crate::Address;
use crate::tls::{Connector, Session};
use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(60);
const HEADERS_MAX: usize = 64;

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A keep-alive connection.
pub struct Client {
    stream: Box<dyn Stream>,
    /// Bytes that came and are not used yet.
    buffer: Vec<u8>,
    local: Option<SocketAddr>,
    tls: Option<Session>,
    /// What goes into `Host`.
    host: String,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("local", &self.local).field("tls", &self.tls).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    /// Lower-case names.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Client {
    pub fn connect(address: &Address) -> Result<Self> {
        match address {
            Address::Tcp(tcp) => {
                let (stream, local) = open(tcp)?;
                Ok(Self::over(Box::new(stream), Some(local), address))
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(TIMEOUT))?;
                Ok(Self::over(Box::new(stream), None, address))
            }
        }
    }

    pub(crate) fn connect_tls(address: &Address, connector: &Connector) -> Result<Self> {
        let Address::Tcp(tcp) = address else { bail!("no TLS over unix sockets") };
        let (stream, local) = open(tcp)?;
        let (stream, session) = connector.handshake(tcp, stream)?;
        Ok(Self { tls: Some(session), ..Self::over(Box::new(stream), Some(local), address) })
    }

    fn over(stream: Box<dyn Stream>, local: Option<SocketAddr>, address: &Address) -> Self {
        let host = match address {
            Address::Tcp(address) => address.to_string(),
            Address::Unix(_) => "localhost".to_owned(),
        };
        Self { stream, buffer: Vec::new(), local, tls: None, host }
    }

    /// What the TLS handshake agreed on, where there was one.
    pub fn tls(&self) -> Option<&Session> {
        self.tls.as_ref()
    }

    /// 0 for a unix socket.
    pub fn port(&self) -> u16 {
        self.local.map_or(0, |local| local.port())
    }

    pub fn get(&mut self, path: &str) -> Result<Response> {
        self.get_with(path, &[])
    }

    /// `headers`: lines without their ends.
    pub fn get_with(&mut self, path: &str, headers: &[&str]) -> Result<Response> {
        self.send(&self.request("GET", path, headers))?;
        self.response()
    }

    pub fn post(&mut self, path: &str, body: &[u8]) -> Result<Response> {
        self.post_stream(path, body.len() as u64, |stream| Ok(stream.write_all(body)?))
    }

    /// POST with a body of `bytes` bytes that `write` writes.
    pub fn post_stream(
        &mut self,
        path: &str,
        bytes: u64,
        write: impl FnOnce(&mut dyn Write) -> Result<()>,
    ) -> Result<Response> {
        self.send(&self.request("POST", path, &[&format!("Content-Length: {bytes}")]))?;
        write(&mut self.stream)?;
        self.response()
    }

    /// A request's head. `headers`: lines without their ends.
    pub fn request(&self, method: &str, path: &str, headers: &[&str]) -> Vec<u8> {
        let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{lines}\r\n", self.host).into_bytes()
    }

    /// Sends raw bytes.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Reads the next response, body included.
    pub fn response(&mut self) -> Result<Response> {
        let mut response = self.head()?;
        if matches!(response.status, 204 | 304) {
            return Ok(response);
        }
        response.body = if response.header("transfer-encoding").is_some_and(|coding| coding.ends_with("chunked")) {
            self.chunked()?
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse()?;
            self.exactly(length)?
        } else {
            self.rest()?
        };
        Ok(response)
    }

    /// Reads the next response and returns the length of its body, which is not kept.
    pub fn drain(&mut self) -> Result<u64> {
        let response = self.head()?;
        let length: u64 = response.header("content-length").context("no content-length")?.parse()?;
        let mut left = length.saturating_sub(self.buffer.len() as u64);
        self.buffer.clear();
        let mut block = vec![0; 1 << 18];
        while left > 0 {
            let read = self.stream.read(&mut block)?;
            ensure!(read > 0, "the connection ended {left} bytes before the end of the body");
            left = left.saturating_sub(read as u64);
        }
        Ok(length)
    }

    fn head(&mut self) -> Result<Response> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
            let mut parsed = httparse::Response::new(&mut headers);
            let status = parsed.parse(&self.buffer).map_err(|error| anyhow::anyhow!("bad response: {error}"))?;
            if let httparse::Status::Complete(length) = status {
                let response = Response {
                    status: parsed.code.unwrap_or_default(),
                    headers: parsed.headers.iter().map(header).collect(),
                    body: Vec::new(),
                };
                self.buffer.drain(..length);
                if response.status >= 200 {
                    return Ok(response);
                }
            } else {
                self.more()?;
            }
        }
    }

    fn more(&mut self) -> Result<()> {
        let mut block = [0; 65_536];
        let read = self.stream.read(&mut block)?;
        ensure!(read > 0, "the connection ended");
        self.buffer.extend_from_slice(&block[..read]);
        Ok(())
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.more()?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    fn rest(&mut self) -> Result<Vec<u8>> {
        let mut body = std::mem::take(&mut self.buffer);
        self.stream.read_to_end(&mut body)?;
        Ok(body)
    }

    fn chunked(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            match httparse::parse_chunk_size(&self.buffer) {
                Ok(httparse::Status::Complete((line, size))) => {
                    self.buffer.drain(..line);
                    let chunk = self.exactly(usize::try_from(size)? + 2)?;
                    body.extend_from_slice(&chunk[..chunk.len() - 2]);
                    if size == 0 {
                        return Ok(body);
                    }
                }
                Ok(httparse::Status::Partial) => self.more()?,
                Err(_) => bail!("bad chunk size"),
            }
        }
    }
}

fn open(address: &SocketAddr) -> Result<(TcpStream, SocketAddr)> {
    let stream = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    Ok((stream, local))
}

fn header(header: &httparse::Header<'_>) -> (String, String) {
    (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).into_owned())
}
