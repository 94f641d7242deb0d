//! Which processes become targets: those that run when the agent starts, and those that come to be.

use super::selector::{Program, Selector};
use super::sockets::{Listener, Listeners, holds_sockets};
use super::table::Processes;
use procfs::process::Process;
use std::collections::HashMap;

/// What the kernel side has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Add(u32),
    Remove(u32),
    /// Never a target by itself.
    Exclude(u32),
}

/// The machine at one moment.
#[derive(Debug, Default)]
pub struct Scan {
    /// Processes to trace, with the sockets they listen on.
    pub targets: Vec<(u32, Vec<Listener>)>,
    /// Processes that listen and must not become targets when they accept.
    pub excluded: Vec<u32>,
    /// Network namespace and port of each listening TCP socket, whoever holds it.
    pub listeners: Vec<(u32, u16)>,
}

/// See the module.
#[derive(Debug)]
pub struct Discovery {
    selector: Selector,
    own_pid: u32,
}

// === impl Discovery ===

impl Discovery {
    pub fn new(selector: Selector) -> Self {
        Self { selector, own_pid: std::process::id() }
    }

    pub fn selector(&self) -> &Selector {
        &self.selector
    }

    /// Looks at every process once. Those that vanish meanwhile are passed over.
    pub fn scan(&self) -> Scan {
        let mut scan = Scan::default();
        let mut namespaces = HashMap::new();
        let processes = procfs::process::all_processes().into_iter().flatten().flatten();
        for process in processes.filter(|process| u32::try_from(process.pid()) != Ok(self.own_pid)) {
            let _vanished = self.scan_process(&process, &mut namespaces, &mut scan);
        }
        for (netns, listeners) in &namespaces {
            scan.listeners.extend(listeners.ports().map(|port| (*netns, port)));
        }
        scan
    }

    fn scan_process(&self, process: &Process, namespaces: &mut HashMap<u32, Listeners>, scan: &mut Scan) -> Option<()> {
        let pid = u32::try_from(process.pid()).ok()?;
        let program = Program::of(process)?;
        let netns = network_namespace(process)?;
        let held = namespaces.entry(netns).or_insert_with(|| Listeners::read(process)).held_by(process);
        if self.selector.excludes(&program) {
            // One that does not listen may yet turn into another program.
            scan.excluded.extend((!held.is_empty()).then_some(pid));
        } else if self.selector.selects(pid, &program, &held) {
            scan.targets.push((pid, held));
        }
        Some(())
    }

    /// A process runs another program. A target whose new program is neither the old one nor listening is no service: it
    /// was started by one.
    pub fn executed(&self, pid: u32, was_target: bool, processes: &Processes) -> Option<Change> {
        if !was_target && self.selector.is_auto() {
            return None;
        }
        let process = Process::new(i32::try_from(pid).ok()?).ok()?;
        let program = Program::of(&process)?;
        let same_program = || processes.get(pid).is_some_and(|identity| identity.executable == program.executable);
        let selected = || self.selector.selects(pid, &program, &listeners_of(&process));
        let wanted = !self.selector.excludes(&program) && (was_target && same_program() || selected());
        match (was_target, wanted) {
            (true, false) => Some(Change::Remove(pid)),
            (false, true) => Some(Change::Add(pid)),
            _ => None,
        }
    }

    /// Must a process that became a target by itself not be one?
    pub fn appeared(&self, pid: u32) -> Option<Change> {
        let process = Process::new(i32::try_from(pid).ok()?).ok()?;
        self.selector.excludes(&Program::of(&process)?).then_some(Change::Exclude(pid))
    }

    /// A process began to listen. Services are targets by then where nothing was selected; this is for those that must
    /// not be, for selected ones, and for processes that only tried a port and are no services.
    pub fn listening(&self, pid: u32, port: u16, is_target: bool, processes: &Processes) -> Option<Change> {
        let process = Process::new(i32::try_from(pid).ok()?).ok()?;
        let program = Program::of(&process)?;
        if self.selector.excludes(&program) {
            return Some(Change::Exclude(pid));
        }
        if is_target {
            let unknown = self.selector.is_auto() && processes.get(pid).is_none();
            return (unknown && listeners_of(&process).is_empty()).then_some(Change::Remove(pid));
        }
        let listener = if port == 0 { Listener::Unix } else { Listener::Tcp(port) };
        self.selector.selects(pid, &program, &[listener]).then_some(Change::Add(pid))
    }
}

/// Sockets that a process listens on now.
pub fn listeners_of(process: &Process) -> Vec<Listener> {
    // Most programs that are started by a service hold no socket at all: spare them the tables.
    if holds_sockets(process) { Listeners::read(process).held_by(process) } else { Vec::new() }
}

/// Inode number of the network namespace that a process is in.
fn network_namespace(process: &Process) -> Option<u32> {
    let link = std::fs::read_link(format!("/proc/{}/ns/net", process.pid())).ok()?;
    link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::resource::Host;
    use std::net::TcpListener;

    fn discovery(selector: Selector) -> Discovery {
        // The test's own process stands for a service, so nobody is the agent here.
        Discovery { selector, own_pid: 0 }
    }

    #[test]
    fn a_process_that_listens_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let scan = discovery(Selector::default()).scan();
        let own = scan.targets.iter().find(|(pid, _)| *pid == std::process::id()).expect("this process");
        assert!(own.1.contains(&Listener::Tcp(port)));
        assert!(scan.listeners.iter().any(|(_, p)| *p == port));
    }

    #[test]
    fn the_agent_never_finds_itself() {
        let _listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let scan = Discovery::new(Selector { all: true, ..Selector::default() }).scan();
        assert!(scan.targets.iter().all(|(pid, _)| *pid != std::process::id()));
    }

    #[test]
    fn selectors_limit_the_scan() {
        let own = std::process::id();
        let by_pid = Selector { pids: vec![own], ..Selector::default() };
        assert_eq!(discovery(by_pid).scan().targets.iter().map(|(pid, _)| *pid).collect::<Vec<_>>(), [own]);
    }

    #[test]
    fn what_a_service_starts_is_no_service() {
        let _listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let processes = Processes::new(Host::default());
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().expect("cat runs");
        let own = std::process::id();
        let auto = discovery(Selector::default());
        assert_eq!(auto.executed(child.id(), true, &processes), Some(Change::Remove(child.id())));
        assert_eq!(auto.executed(child.id(), false, &processes), None);
        assert_eq!(auto.executed(own, true, &processes), None, "it listens");
        let all = discovery(Selector { all: true, ..Selector::default() });
        assert_eq!(all.executed(child.id(), false, &processes), Some(Change::Add(child.id())));
        drop(child.stdin.take());
        child.wait().expect("cat ends");
        assert_eq!(auto.executed(child.id(), true, &processes), None, "it is gone");
    }

    #[test]
    fn listening_makes_a_selected_process_a_target() {
        let (own, processes) = (std::process::id(), Processes::new(Host::default()));
        let by_port = discovery(Selector { ports: vec![81], ..Selector::default() });
        assert_eq!(by_port.listening(own, 81, false, &processes), Some(Change::Add(own)));
        assert_eq!(by_port.listening(own, 81, true, &processes), None);
        assert_eq!(by_port.listening(own, 82, false, &processes), None);
        let excluding = Selector { excluded: vec!["*".parse().expect("a pattern")], ..Selector::default() };
        assert_eq!(discovery(excluding).listening(own, 80, true, &processes), Some(Change::Exclude(own)));
    }

    #[test]
    fn who_only_tried_a_port_is_no_service() {
        let mut processes = Processes::new(Host::default());
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().expect("cat runs");
        let auto = discovery(Selector::default());
        assert_eq!(auto.listening(child.id(), 80, true, &processes), Some(Change::Remove(child.id())));
        processes.inspect(child.id()).expect("it lives");
        assert_eq!(auto.listening(child.id(), 80, true, &processes), None, "a worker of a service");
        drop(child.stdin.take());
        child.wait().expect("cat ends");
    }
}
