//! Starting an app.

use super::apps::App;
use super::downstream::Downstream;
use anyhow::{Context, Result, ensure};
use rig::process::find;
use rig::{Address, Process, paths};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Name of the list that a service keeps, in its own folder.
pub(super) const TRUTH: &str = "truth";

impl App {
    /// Starts it and returns when it accepts connections.
    pub(super) fn start(&self, address: &Address, downstream: &Downstream, heartbeat: bool) -> Result<Process> {
        let directory = tempfile::tempdir()?;
        let names = Names::new(address, downstream, &directory);
        for (template, name) in self.files {
            let text = std::fs::read_to_string(paths::app("accuracy").join(template)).context(*template)?;
            std::fs::write(directory.path().join(name), names.fill(&text))?;
        }
        let mut command = self.command(&names)?;
        command
            .env("HOST", "127.0.0.1")
            .env("PORT", address.port().to_string())
            .envs(downstream.environment())
            .env("TRUTH", directory.path().join(TRUTH))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .envs(self.environment.iter().copied());
        if heartbeat {
            command.env("HEARTBEAT", "1");
        }
        let mut process = Process::start_in(directory, self.name, &command)?;
        process.wait_until("to accept connections", |_| address.answers())?;
        Ok(process)
    }

    fn command(&self, names: &Names) -> Result<Command> {
        let mut words = self.command.split_whitespace().map(|word| names.fill(word));
        let program = words.next().context("no command")?;
        let program = if program.contains('/') { PathBuf::from(program) } else { find(&program).context(program)? };
        ensure!(program.exists(), "{} is missing", program.display());
        let mut command = Command::new(program);
        command.args(words).current_dir(names.fill(self.folder));
        Ok(command)
    }

    /// Why it cannot be measured here, if so.
    pub(super) fn missing(&self, tls: bool) -> Option<&'static str> {
        let lacks = |(path, _): &(&str, _)| !paths::target().join("rig/accuracy").join(path).exists();
        let needs = self.needs.filter(lacks).map(|(_, what)| what);
        needs.or((tls && !self.tls).then_some("it cannot call by TLS"))
    }
}

/// What stands for what in commands and configuration files.
struct Names(Vec<(&'static str, String)>);

impl Names {
    fn new(address: &Address, downstream: &Downstream, directory: &TempDir) -> Self {
        let path = |path: &Path| path.display().to_string();
        Self(vec![
            ("@RIG@", path(&paths::target().join("rig/accuracy"))),
            ("@APPS@", path(&paths::app("accuracy"))),
            ("@DIR@", path(directory.path())),
            ("@ADDRESS@", address.to_string()),
            ("@PORT@", address.port().to_string()),
            ("@SCHEME@", downstream.scheme().to_owned()),
            ("@UPSTREAM@", downstream.host()),
        ])
    }

    fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }
}
