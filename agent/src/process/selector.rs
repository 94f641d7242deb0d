//! Which processes the operator asked for.

use super::sockets::Listener;
use std::path::Path;

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
    pub fn selects(&self, pid: u32, executable: &Path, listeners: &[Listener]) -> bool {
        if self.excludes(executable) {
            return false;
        }
        if self.is_restricted() {
            return self.names(pid, executable, listeners);
        }
        self.all || !listeners.is_empty() && !is_system(executable)
    }

    /// Is a process one that must not be watched, whatever else it is?
    pub fn excludes(&self, executable: &Path) -> bool {
        self.excluded.iter().any(|glob| glob.matches_file(executable)) || self.is_auto() && is_system(executable)
    }

    fn names(&self, pid: u32, executable: &Path, listeners: &[Listener]) -> bool {
        self.pids.contains(&pid)
            || self.executables.iter().any(|glob| glob.matches_file(executable))
            || listeners.iter().filter_map(|listener| listener.port()).any(|port| self.ports.contains(&port))
    }
}

fn is_system(executable: &Path) -> bool {
    let name = executable.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    SYSTEM.contains(&name) || name.starts_with("systemd-")
}

/// A shell-like pattern: `*` stands for any text, `?` for any character. With a `/` it is matched against the whole
/// path, else against the file name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(String);

impl std::str::FromStr for Glob {
    type Err = &'static str;

    fn from_str(pattern: &str) -> Result<Self, Self::Err> {
        if pattern.is_empty() { Err("a pattern cannot be empty") } else { Ok(Self(pattern.to_owned())) }
    }
}

impl Glob {
    pub fn matches_file(&self, path: &Path) -> bool {
        let whole = self.0.contains('/');
        let text = if whole { path.to_str() } else { path.file_name().and_then(|name| name.to_str()) };
        text.is_some_and(|text| matches(self.0.as_bytes(), text.as_bytes()))
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
            assert_eq!(globs(&[pattern])[0].matches_file(Path::new(path)), expected, "{pattern} {path}");
        }
        assert!("".parse::<Glob>().is_err());
    }

    #[test]
    fn hostile_patterns_end() {
        let pattern = "*a".repeat(50) + "b";
        assert!(!matches(pattern.as_bytes(), "a".repeat(2_000).as_bytes()));
    }

    #[test]
    fn services_by_default() {
        let auto = Selector::default();
        let python = Path::new("/usr/bin/python3");
        assert!(auto.selects(1, python, &[Listener::Tcp(80)]));
        assert!(auto.selects(1, python, &[Listener::Unix]));
        assert!(!auto.selects(1, python, &[]));
        assert!(!auto.selects(1, Path::new("/usr/lib/systemd/systemd-journald"), &[Listener::Unix]));
    }

    #[test]
    fn selectors_restrict_and_exclusions_win() {
        let python = Path::new("/usr/bin/python3");
        let selector = Selector { pids: vec![7], ports: vec![80], ..Selector::default() };
        assert!(selector.selects(7, python, &[]));
        assert!(selector.selects(8, python, &[Listener::Tcp(80)]));
        assert!(!selector.selects(8, python, &[Listener::Tcp(81), Listener::Unix]));
        let excluding = Selector { excluded: globs(&["python*"]), ..selector };
        assert!(!excluding.selects(7, python, &[Listener::Tcp(80)]));
        let all = Selector { all: true, ..Selector::default() };
        assert!(all.selects(9, Path::new("/usr/bin/curl"), &[]));
    }
}
