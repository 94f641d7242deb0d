//! Which processes the operator asked for.

use super::snapshot::without_deleted;
use super::sockets::Listener;
use procfs::process::Process;
use std::path::{Path, PathBuf};

/// The operator's choice. Without `pids`, `executables` and `ports` every service is watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    pub pids: Vec<u32>,
    pub executables: Vec<Glob>,
    pub ports: Vec<u16>,
    /// Every process, service or not.
    pub all: bool,
    pub excluded: Vec<Glob>,
}

/// What a process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub executable: PathBuf,
    /// As it was started, at most 15 bytes: of a script its own name, not its interpreter's, and of a link the link's.
    /// Programs may change it.
    pub name: String,
}

/// Daemons of the system itself: they listen on sockets, but speak nothing that is traced.
const SYSTEM: [&str; 9] = [
    "systemd",
    "dbus-daemon",
    "dbus-broker",
    "sshd",
    "containerd-shim",
    "containerd-shim-runc-v2",
    "conmon",
    "rsyslogd",
    "cupsd",
];

// === impl Selector ===

impl Selector {
    /// The operator named something; what is not named is left alone.
    pub fn is_restricted(&self) -> bool {
        !(self.pids.is_empty() && self.executables.is_empty() && self.ports.is_empty())
    }

    /// Services that nobody named are watched too.
    pub fn is_auto(&self) -> bool {
        !self.is_restricted() && !self.all
    }

    /// Must a process be watched? `listeners` are the sockets that it listens on.
    pub fn selects(&self, pid: u32, program: &Program, listeners: &[Listener]) -> bool {
        if self.excludes(program) {
            return false;
        }
        if self.is_restricted() {
            return self.names(pid, program, listeners);
        }
        self.all || !listeners.is_empty() && !is_system(&program.executable)
    }

    /// Is a process one that must not be watched, whatever else it is?
    pub fn excludes(&self, program: &Program) -> bool {
        self.excluded.iter().any(|glob| glob.matches(program)) || self.is_auto() && is_system(&program.executable)
    }

    fn names(&self, pid: u32, program: &Program, listeners: &[Listener]) -> bool {
        self.pids.contains(&pid)
            || self.executables.iter().any(|glob| glob.matches(program))
            || listeners.iter().filter_map(|listener| listener.port()).any(|port| self.ports.contains(&port))
    }
}

// === impl Program ===

impl Program {
    /// What a process runs now. None: it is gone, or a thread of the kernel.
    pub fn of(process: &Process) -> Option<Self> {
        Some(Self { executable: without_deleted(process.exe().ok()?), name: process.stat().ok()?.comm })
    }
}

fn is_system(executable: &Path) -> bool {
    let name = executable.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    SYSTEM.contains(&name) || name.starts_with("systemd-")
}

/// A shell-like pattern: `*` stands for any text, `?` for any character. With a `/` it is matched against the whole
/// path of the executable, else against its file name and the name under which it was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(String);

impl std::str::FromStr for Glob {
    type Err = &'static str;

    fn from_str(pattern: &str) -> Result<Self, Self::Err> {
        if pattern.is_empty() { Err("a pattern cannot be empty") } else { Ok(Self(pattern.to_owned())) }
    }
}

impl Glob {
    fn matches(&self, program: &Program) -> bool {
        let matches = |text: &str| matches(self.0.as_bytes(), text.as_bytes());
        let Program { executable, name } = program;
        if self.0.contains('/') {
            return executable.to_str().is_some_and(matches);
        }
        executable.file_name().and_then(|name| name.to_str()).is_some_and(matches) || matches(name)
    }
}

/// Time is at most `pattern.len() * text.len()`: only the last star is ever tried again.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((star_p, star_t)) = star else { return false };
                star = Some((star_p, star_t + 1));
                (p, t) = (star_p + 1, star_t + 1);
            }
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(patterns: &[&str]) -> Vec<Glob> {
        patterns.iter().map(|pattern| pattern.parse().expect("a pattern")).collect()
    }

    /// Started under the executable's own name.
    fn program(path: &str) -> Program {
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        Program { executable: path.into(), name }
    }

    #[test]
    fn patterns() {
        for (pattern, path, expected) in [
            ("python3*", "/usr/bin/python3.11", true),
            ("python3*", "/usr/bin/ipython3", false),
            ("*python?.??", "/usr/bin/ipython3.11", true),
            ("/usr/*/node", "/usr/bin/node", true),
            ("/usr/*/node", "/opt/bin/node", false),
            ("node", "/usr/bin/node", true),
            ("*", "/x", true),
            ("a*b*c", "/aXbXbXc", true),
            ("a*b*c", "/aXbXbX", false),
        ] {
            assert_eq!(globs(&[pattern])[0].matches(&program(path)), expected, "{pattern} {path}");
        }
        assert!("".parse::<Glob>().is_err());
    }

    #[test]
    fn what_a_link_or_a_script_is_called() {
        let redis = Program { name: "redis-server".into(), ..program("/usr/bin/redis-check-rdb") };
        let gunicorn = Program { name: "gunicorn".into(), ..program("/usr/bin/python3.11") };
        for (pattern, program, expected) in [
            ("redis-server", &redis, true),
            ("redis-check-rdb", &redis, true),
            ("*/redis-server", &redis, false),
            ("gunicorn", &gunicorn, true),
            ("python3*", &gunicorn, true),
            ("uvicorn", &gunicorn, false),
        ] {
            assert_eq!(globs(&[pattern])[0].matches(program), expected, "{pattern} {program:?}");
        }
    }

    #[test]
    fn hostile_patterns_end() {
        let pattern = "*a".repeat(50) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(2_000).as_bytes()));
    }

    #[test]
    fn services_by_default() {
        let auto = Selector::default();
        let python = &program("/usr/bin/python3");
        assert!(auto.selects(1, python, &[Listener::Tcp(80)]));
        assert!(auto.selects(1, python, &[Listener::Unix]));
        assert!(!auto.selects(1, python, &[]));
        assert!(!auto.selects(1, &program("/usr/lib/systemd/systemd-journald"), &[Listener::Unix]));
    }

    #[test]
    fn selectors_restrict_and_exclusions_win() {
        let python = &program("/usr/bin/python3");
        let selector = Selector { pids: vec![7], ports: vec![80], ..Selector::default() };
        assert!(selector.selects(7, python, &[]));
        assert!(selector.selects(8, python, &[Listener::Tcp(80)]));
        assert!(!selector.selects(8, python, &[Listener::Tcp(81), Listener::Unix]));
        let excluding = Selector { excluded: globs(&["python*"]), ..selector };
        assert!(!excluding.selects(7, python, &[Listener::Tcp(80)]));
        let all = Selector { all: true, ..Selector::default() };
        assert!(all.selects(9, &program("/usr/bin/curl"), &[]));
    }
}
