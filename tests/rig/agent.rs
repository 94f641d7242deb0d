//! The agent under test.

use crate::{Process, Receiver, paths};
use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::process::{Command, ExitStatus, Output, Stdio};

/// Part of the line that the agent prints when it traces.
const READY: &str = "tracing started";

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    process: Process,
}

/// How to start it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Options {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(ToString::to_string));
        self
    }

    pub fn environment(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Export to `receiver` by gRPC.
    pub fn grpc(self, receiver: &Receiver) -> Self {
        self.environment("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.grpc_endpoint())
            .environment("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    }

    /// Export to `receiver` by HTTP/protobuf.
    pub fn http(self, receiver: &Receiver) -> Self {
        self.environment("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.http_endpoint())
            .environment("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    }

    pub fn command(&self) -> Result<Command> {
        let mut command = Command::new(paths::agent()?);
        command.args(&self.arguments).envs(self.environment.iter().map(|(key, value)| (key, value)));
        Ok(command)
    }

    /// Starts the agent and waits until it traces.
    pub fn start(&self) -> Result<Agent> {
        let mut agent = self.launch()?;
        agent.process.wait_until("to trace", |process| process.stderr().contains(READY))?;
        Ok(agent)
    }

    /// Starts the agent.
    pub fn launch(&self) -> Result<Agent> {
        Ok(Agent { process: Process::start("autospan", &self.command()?)? })
    }

    /// Runs it to its end.
    pub fn run(&self) -> Result<Output> {
        Ok(self.command()?.stdin(Stdio::null()).output()?)
    }
}

impl Agent {
    /// With nothing but an endpoint, as most users will.
    pub fn start(receiver: &Receiver) -> Result<Self> {
        Options::new().grpc(receiver).start()
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Waits until it says that it watches this process: what it and its children do from then on is seen, inside TLS too.
    pub fn wait_for(&mut self, pid: u32) -> Result<()> {
        let line = format!("watching pid={pid} ");
        self.process.wait_until("to watch a new service", |process| process.stderr().contains(&line))
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn stdout(&self) -> String {
        self.process.stdout()
    }

    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// Resident set, bytes.
    pub fn resident_bytes(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(&path)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    }

    /// Ends it as a service manager would: everything is flushed.
    pub fn stop(mut self) -> Result<Stopped> {
        let status = self.process.terminate()?;
        ensure!(status.success(), "the agent ended with {status} on SIGTERM\n{}", self.process.logs());
        Ok(Stopped { status, stdout: self.stdout(), stderr: self.stderr() })
    }

    /// Ends it as the kernel's out-of-memory killer would.
    pub fn kill(mut self) -> Result<()> {
        self.process.signal(Signal::SIGKILL)?;
        self.process.wait().map(drop)
    }
}

/// What is left of an agent.
#[derive(Debug)]
pub struct Stopped {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Stopped {
    /// The counters that `--stats` printed last: lines of a name and a number.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        self.stderr.lines().filter_map(counter).collect()
    }
}

fn counter(line: &str) -> Option<(String, u64)> {
    let mut words = line.split_whitespace();
    let (name, value) = (words.next()?, words.next()?);
    words.next().is_none().then(|| Some((name.to_owned(), value.parse().ok()?)))?
}
