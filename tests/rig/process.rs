//! Child processes: a group of their own, output kept, stopped when dropped.

use crate::wait;
use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use tempfile::TempDir;

/// A running program with its children. Its output goes to files, shown when the test fails.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    directory: TempDir,
}

impl Process {
    /// Starts `command`. The kernel kills it when the thread that started it ends.
    pub fn start(name: &str, command: &Command) -> Result<Self> {
        Self::start_in(tempfile::tempdir()?, name, command)
    }

    /// As [`Self::start`], with `directory` for its files.
    pub fn start_in(directory: TempDir, name: &str, command: &Command) -> Result<Self> {
        let child = tied_to_us(command)
            .stdin(Stdio::piped())
            .stdout(File::create(directory.path().join("stdout"))?)
            .stderr(File::create(directory.path().join("stderr"))?)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name: name.to_owned(), child, directory })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// It and its children.
    pub fn family(&self) -> Result<Vec<u32>> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid());
        let children = std::fs::read_to_string(&path).context(path)?;
        Ok([self.pid()].into_iter().chain(children.split_whitespace().filter_map(|pid| pid.parse().ok())).collect())
    }

    /// A directory of its own, deleted with it.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes to its standard input.
    pub fn input(&mut self, text: &str) -> Result<()> {
        let input = self.child.stdin.as_mut().with_context(|| format!("{}: its input is closed", self.name))?;
        Ok(input.write_all(text.as_bytes())?)
    }

    /// Closes its standard input.
    pub fn end_of_input(&mut self) {
        self.child.stdin = None;
    }

    /// What it wrote to standard output so far.
    pub fn stdout(&self) -> String {
        self.output("stdout")
    }

    /// What it wrote to standard error so far.
    pub fn stderr(&self) -> String {
        self.output("stderr")
    }

    fn output(&self, stream: &str) -> String {
        let bytes = std::fs::read(self.directory().join(stream)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until `condition` holds, or the process ends.
    pub fn wait_until(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) -> Result<()> {
        let what = format!("{}: {what}", self.name);
        let ended = wait::until(&what, || match self.child.try_wait() {
            Ok(Some(status)) => Some(Some(status)),
            _ => condition(self).then_some(None),
        });
        let ended = ended.with_context(|| self.logs())?;
        ensure!(ended.is_none(), "{what}: it ended with {ended:?} instead\n{}", self.logs());
        Ok(())
    }

    /// Has it ended?
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends `signal` to the process alone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(nix::sys::signal::kill(self.group(), signal)?)
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        let what = format!("{}: its end", self.name);
        wait::until(&what, || self.child.try_wait().transpose())
            .with_context(|| self.logs())?
            .with_context(|| what.clone())
    }

    /// SIGTERM, then its end.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait()
    }

    /// SIGKILL to the group, then its end.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        killpg(self.group(), Signal::SIGKILL)?;
        self.wait()
    }

    /// What it printed, for the reader of a failed test.
    pub fn logs(&self) -> String {
        format!("--- {} stdout\n{}--- {} stderr\n{}", self.name, tail(&self.stdout()), self.name, tail(&self.stderr()))
    }

    fn group(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        // Its end may have come before ours: there is nobody to tell and nothing to do then.
        let _ = killpg(self.group(), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

const LOG_BYTES_MAX: usize = 8192;

fn tail(text: &str) -> &str {
    let start = text.ceil_char_boundary(text.len().saturating_sub(LOG_BYTES_MAX));
    &text[start..]
}

/// The same command, killed by the kernel when we end without tidying up.
fn tied_to_us(command: &Command) -> Command {
    let mut tied = Command::new("setpriv");
    tied.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => tied.env(key, value),
            None => tied.env_remove(key),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        tied.current_dir(directory);
    }
    tied
}

/// Runs `command` to its end and returns its standard output.
pub fn output<S: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = S>) -> Result<String> {
    let output =
        Command::new(program).args(arguments).stdin(Stdio::null()).output().with_context(|| program.to_owned())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(output.status.success(), "{program}: {}\n{}{}", output.status, text(&output.stdout), text(&output.stderr));
    Ok(text(&output.stdout))
}

/// A program on the search path, or where Debian keeps what is not on a user's path.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    places.map(|place| place.join(program)).find(|path| path.exists())
}
