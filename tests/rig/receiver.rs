//! The OTLP receiver (`receiver.py`), and what it received.

use crate::address::free_port;
use crate::authority::Authority;
use crate::paths;
use crate::span::Span;
use crate::wait::PATIENCE;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Accept,
    /// 503 or UNAVAILABLE: worth another try.
    Unavailable,
    /// 400 or INVALID_ARGUMENT: not worth another try.
    Invalid,
    /// Accepted, with one span rejected.
    Partial,
    /// No answer before the mode changes.
    Hang,
    /// Accepted and forgotten.
    Discard,
}

/// One export request.
#[derive(Clone, Debug, Deserialize)]
pub struct Export {
    /// "grpc" or "http".
    pub transport: String,
    /// "identity" or "gzip"; over gRPC always the former, the library does not tell.
    pub encoding: String,
    /// Lower-case names.
    pub headers: BTreeMap<String, String>,
    /// False where the mode was to refuse.
    pub taken: bool,
    pub spans: usize,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    /// To a command, and once at the start.
    Answer(()),
    Export(Export),
    Span(Box<Span>),
}

#[derive(Debug, Default)]
struct Received {
    answers: usize,
    exports: Vec<Export>,
    spans: Vec<Span>,
    ended: bool,
}

/// A running receiver.
#[derive(Debug)]
pub struct Receiver {
    child: Child,
    commands: Option<ChildStdin>,
    received: Arc<(Mutex<Received>, Condvar)>,
    pub grpc_port: u16,
    pub http_port: u16,
}

impl Receiver {
    pub fn start() -> Result<Self> {
        Self::start_on(free_port()?, free_port()?)
    }

    /// Takes spans by TLS alone, from clients that `authority` vouches for.
    pub fn start_tls(authority: &Authority) -> Result<Self> {
        Self::spawn(free_port()?, free_port()?, Some(authority.folder()))
    }

    /// For a collector that comes (back) later.
    pub fn start_on(grpc_port: u16, http_port: u16) -> Result<Self> {
        Self::spawn(grpc_port, http_port, None)
    }

    fn spawn(grpc_port: u16, http_port: u16, certificates: Option<&Path>) -> Result<Self> {
        let mut child = Command::new(paths::installed("venv/bin/python")?)
            .arg(paths::repository().join("tests/rig/receiver.py"))
            .args([grpc_port.to_string(), http_port.to_string()])
            .args(certificates)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the receiver")?;
        let received = Arc::<(Mutex<Received>, Condvar)>::default();
        let output = child.stdout.take().context("the receiver has no output")?;
        let shared = Arc::clone(&received);
        std::thread::spawn(move || collect(output, &shared));
        let receiver = Self { commands: child.stdin.take(), child, received, grpc_port, http_port };
        receiver.wait("the receiver to be ready", |received| (received.answers > 0).then_some(()))?;
        Ok(receiver)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn grpc_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc_port)
    }

    pub fn http_endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }

    /// Returns when the new mode holds.
    pub fn set_mode(&mut self, mode: Mode) -> Result<()> {
        let answers = self.lock().answers;
        let name = format!("{mode:?}").to_lowercase();
        let commands = self.commands.as_mut().context("the receiver has ended")?;
        writeln!(commands, "{{\"mode\": \"{name}\"}}")?;
        self.wait("the new mode", |received| (received.answers > answers).then_some(()))
    }

    /// Returns when everything that was exported before is here.
    pub fn catch_up(&mut self) -> Result<()> {
        self.set_mode(Mode::Accept)
    }

    /// The spans received so far that `filter` wants.
    pub fn spans(&self, filter: impl Fn(&Span) -> bool) -> Vec<Span> {
        self.lock().spans.iter().filter(|span| filter(span)).cloned().collect()
    }

    pub fn exports(&self) -> Vec<Export> {
        self.lock().exports.clone()
    }

    /// Waits for at least `count` spans that `filter` wants, and returns them all.
    pub fn wait_spans(&self, count: usize, filter: impl Fn(&Span) -> bool) -> Result<Vec<Span>> {
        self.wait_spans_for(PATIENCE, count, filter)
    }

    /// As [`Self::wait_spans`], with a deadline of its own.
    pub fn wait_spans_for(&self, time: Duration, count: usize, filter: impl Fn(&Span) -> bool) -> Result<Vec<Span>> {
        let found = self.wait_for(time, &format!("{count} spans"), |received| {
            (received.spans.iter().filter(|span| filter(span)).count() >= count).then_some(())
        });
        let spans = self.spans(&filter);
        found
            .with_context(|| format!("{} spans came: {:#?}", spans.len(), spans.iter().take(8).collect::<Vec<_>>()))?;
        Ok(spans)
    }

    /// Waits for an export request that `filter` wants.
    pub fn wait_export(&self, filter: impl Fn(&Export) -> bool) -> Result<Export> {
        self.wait("an export request", |received| received.exports.iter().find(|export| filter(export)).cloned())
    }

    /// Forgets what came so far.
    pub fn clear(&self) {
        let mut received = self.lock();
        received.spans.clear();
        received.exports.clear();
    }

    fn wait<T>(&self, what: &str, condition: impl Fn(&Received) -> Option<T>) -> Result<T> {
        self.wait_for(PATIENCE, what, condition)
    }

    fn wait_for<T>(&self, time: Duration, what: &str, condition: impl Fn(&Received) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + time;
        let mut received = self.lock();
        loop {
            if let Some(value) = condition(&received) {
                return Ok(value);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || received.ended {
                bail!("{what}: not within {time:?}{}", if received.ended { " (the receiver ended)" } else { "" });
            }
            received = self.received.1.wait_timeout(received, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Received> {
        self.received.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // Closing its input ends it; it may have ended before.
        self.commands = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the receiver's lines until its end; wakes the waiting once per burst.
fn collect(output: ChildStdout, shared: &(Mutex<Received>, Condvar)) {
    let mut output = BufReader::with_capacity(1 << 20, output);
    let mut line = String::new();
    let lock = || shared.0.lock().unwrap_or_else(PoisonError::into_inner);
    while output.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
        match serde_json::from_str(&line) {
            Ok(Line::Answer(())) => lock().answers += 1,
            Ok(Line::Export(export)) => lock().exports.push(export),
            Ok(Line::Span(span)) => lock().spans.push(*span),
            Err(error) => eprintln!("the receiver wrote {line:?}: {error}"),
        }
        line.clear();
        if output.buffer().is_empty() {
            shared.1.notify_all();
        }
    }
    lock().ended = true;
    shared.1.notify_all();
}
