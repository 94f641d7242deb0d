//! Servers of the benchmark itself. Processes of their own: whoever listens is a service to the agent, and the process
//! that measures must not be one.

use super::pair;
use anyhow::{Context, Result};
use clap::ValueEnum;
use rig::blackhole;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Serve {
    /// A collector that keeps nothing.
    Collector,
    /// A fixed answer to each request.
    Pair,
}

impl Serve {
    /// Prints the port, then serves until the process is ended.
    pub(super) fn run(self) -> Result<()> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        println!("{}", listener.local_addr()?.port());
        match self {
            Self::Collector => blackhole::accept(&listener),
            Self::Pair => pair::answer(&listener)?,
        }
        Ok(())
    }

    fn name(self) -> &'static str {
        match self {
            Self::Collector => "collector",
            Self::Pair => "pair",
        }
    }
}

/// A running server, ended when dropped.
pub(super) struct Server {
    child: Child,
    pub(super) port: u16,
}

impl Server {
    pub(super) fn start(what: Serve) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child =
            command.args(["bench", "--serve", what.name()]).stdout(Stdio::piped()).stdin(Stdio::null()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
        Ok(Self { port: line.trim().parse()?, child })
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ours to end, however far it came.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
