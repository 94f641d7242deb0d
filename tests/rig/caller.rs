//! Programs that call https URLs when they are told to.

use crate::{Authority, Interpreter, Process, paths};
use anyhow::{Context, Result};
use serde::Deserialize;
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
        let mut process = Process::start(&format!("{library:?}"), &command)?;
        process.wait_until("to be ready", |process| process.stdout().starts_with("ready\n"))?;
        Ok(Self { process, answers: 0 })
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn get(&mut self, url: &str) -> Result<Answer> {
        self.process.input(&format!("{url}\n"))?;
        self.answers += 1;
        let line = |process: &Process| process.stdout().split_inclusive('\n').nth(self.answers).map(str::to_owned);
        self.process.wait_until("to answer", |process| line(process).is_some_and(|line| line.ends_with('\n')))?;
        Ok(serde_json::from_str(&line(&self.process).context("no answer")?)?)
    }
}
