//! Programs that call when they are told to.

use crate::{Authority, Interpreter, Process, paths};
use anyhow::{Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;
use std::process::Command;

/// What `tests/apps/tls_client.py` calls with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// libcurl with GnuTLS.
    Pycurl,
    Requests,
    Httpx,
    Aiohttp,
}

/// What calls by HTTP/2 with one connection to each server, or, by gRPC, one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http2Library {
    Httpx,
    Node,
    Go,
    GrpcThreads,
    GrpcAsyncio,
    GrpcNode,
    GrpcGo,
}

impl Http2Library {
    pub const HTTP: [Self; 3] = [Self::Httpx, Self::Node, Self::Go];
    pub const GRPC: [Self; 4] = [Self::GrpcThreads, Self::GrpcAsyncio, Self::GrpcNode, Self::GrpcGo];

    fn command(self) -> Result<Command> {
        let (program, first) = match self {
            Self::Httpx | Self::GrpcThreads | Self::GrpcAsyncio => (paths::installed("h2-venv/bin/python")?, None),
            Self::Node => ("node".into(), Some("h2-node/http_client.js")),
            Self::GrpcNode => ("node".into(), Some("h2-node/grpc_client.js")),
            Self::Go => (paths::installed("h2-go/http_app")?, None),
            Self::GrpcGo => (paths::installed("grpc-go/grpc_app")?, None),
        };
        let mut command = Command::new(program);
        command.args(first.map(paths::installed).transpose()?);
        match self {
            Self::Httpx => command.arg(paths::app("h2/http_client.py")),
            Self::GrpcThreads => command.arg(paths::app("h2/grpc_client.py")),
            Self::GrpcAsyncio => command.arg(paths::app("h2/grpc_client.py")).arg("asyncio"),
            Self::Go | Self::GrpcGo => command.arg("call"),
            Self::Node | Self::GrpcNode => &mut command,
        };
        Ok(command)
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    pub status: u16,
    pub bytes: usize,
    /// Port of the client's end; 0 where the library does not tell.
    pub port: u16,
}

/// A running client.
#[derive(Debug)]
pub struct Caller {
    process: Process,
    answers: usize,
}

impl Caller {
    /// Returns when it could call: the library is loaded.
    pub fn start(library: Library, interpreter: Interpreter, authority: &Authority) -> Result<Self> {
        let script = paths::app("tls_client.py");
        let mut command = match library {
            // It belongs to Debian's Python, outside of the virtual environment.
            Library::Pycurl => {
                let mut command = Command::new("/usr/bin/python3");
                command.arg(script);
                command
            }
            _ => interpreter.script(&script)?,
        };
        command.arg(format!("{library:?}").to_lowercase()).envs(authority.trust());
        Self::run(&format!("{library:?}"), &command)
    }

    /// The same by HTTP/2, of a client that needs no certificates, or trusts those of `authority`.
    pub fn start_http2(library: Http2Library, authority: Option<&Authority>) -> Result<Self> {
        let mut command = library.command()?;
        command.envs(authority.into_iter().flat_map(Authority::trust));
        Self::run(&format!("{library:?}"), &command)
    }

    fn run(name: &str, command: &Command) -> Result<Self> {
        let mut process = Process::start(name, command)?;
        process.wait_until("to be ready", |process| process.stdout().starts_with("ready\n"))?;
        Ok(Self { process, answers: 0 })
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn get(&mut self, url: &str) -> Result<Answer> {
        self.ask(url)
    }

    /// Writes a line and reads one.
    pub fn ask<T: DeserializeOwned>(&mut self, line: impl Display) -> Result<T> {
        Ok(self.ask_all(&[line])?.swap_remove(0))
    }

    /// Writes all the lines and reads as many.
    pub fn ask_all<T: DeserializeOwned>(&mut self, lines: &[impl Display]) -> Result<Vec<T>> {
        self.process.input(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
        let first = 1 + self.answers;
        self.answers += lines.len();
        self.process.wait_until("to answer", |process| process.stdout().matches('\n').count() > self.answers)?;
        let said = self.process.stdout();
        let answers: Vec<T> = said.lines().skip(first).map(serde_json::from_str).collect::<Result<_, _>>()?;
        ensure!(answers.len() == lines.len(), "{} answers to {} lines", answers.len(), lines.len());
        Ok(answers)
    }
}
