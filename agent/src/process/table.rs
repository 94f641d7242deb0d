//! What is known of the processes that were seen: read once, shared by the workers of a service, kept a little past the
//! end because spans come later than exits.

use super::Resource;
use super::naming::{Launch, service_name};
use super::resource::{Host, describe};
use super::runtime::{self, Recogniser, Runtime};
use super::snapshot::Snapshot;
use autospan_core::limits::PROCESSES_MAX;
use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

/// How long an exited process is remembered: spans of its last requests may still come.
const EXITED_KEPT_NS: u64 = 60_000_000_000;
/// Parents that are followed from a worker to its service's root process.
const ANCESTORS_MAX: usize = 8;

/// What a process is.
#[derive(Debug)]
pub struct Identity {
    pub resource: Arc<Resource>,
    pub executable: PathBuf,
    pub runtime: Runtime,
    container: Option<String>,
}

#[derive(Debug)]
struct Known {
    identity: Arc<Identity>,
    /// 0 where a fork was reported and nothing was read.
    start_ticks: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Processes {
    host: Host,
    recogniser: Recogniser,
    known: HashMap<u32, Known>,
    /// When, which; oldest first.
    exited: VecDeque<(u64, u32)>,
    nameless: Arc<Resource>,
}

// === impl Identity ===

impl Identity {
    /// The same executable under the same name.
    pub fn is_same_program(&self, other: &Self) -> bool {
        self.executable == other.executable && self.resource.service_name == other.resource.service_name
    }
}

// === impl Processes ===

impl Processes {
    pub fn new(host: Host) -> Self {
        Self {
            host,
            recogniser: Recogniser::default(),
            known: HashMap::new(),
            exited: VecDeque::new(),
            nameless: Arc::new(Resource::named("unknown_service")),
        }
    }

    pub fn get(&self, pid: u32) -> Option<&Arc<Identity>> {
        self.known.get(&pid).map(|known| &known.identity)
    }

    /// The resource of a process's spans. One that was gone before it was seen has a resource without a name.
    pub fn resource(&mut self, pid: u32) -> Arc<Resource> {
        if self.get(pid).is_none() {
            self.inspect(pid);
        }
        self.get(pid).map_or_else(|| Arc::clone(&self.nameless), |identity| Arc::clone(&identity.resource))
    }

    /// Reads what a process is now. `None` when it is gone; what was known of it stays.
    pub fn inspect(&mut self, pid: u32) -> Option<Arc<Identity>> {
        self.inspect_snapshot(Snapshot::read(pid)?, ANCESTORS_MAX)
    }

    /// A fork changes nothing but the pid: the child is what its parent is.
    pub fn forked(&mut self, parent: u32, child: u32) -> Option<Arc<Identity>> {
        let identity = Arc::clone(self.get(parent)?);
        self.insert(child, Known { identity: Arc::clone(&identity), start_ticks: 0 });
        Some(identity)
    }

    pub fn forget(&mut self, pid: u32) {
        self.known.remove(&pid);
    }

    /// `at`: `CLOCK_MONOTONIC` ns.
    pub fn exited(&mut self, pid: u32, at: u64) {
        if self.known.contains_key(&pid) {
            self.exited.push_back((at, pid));
        }
    }

    /// Forgets what ended long before `now`.
    pub fn sweep(&mut self, now: u64) {
        while let Some(&(at, pid)) = self.exited.front() {
            if at.saturating_add(EXITED_KEPT_NS) > now {
                break;
            }
            self.exited.pop_front();
            // The pid may have been given to another process since.
            if !self.exited.iter().any(|(_, other)| *other == pid) && !is_alive(pid) {
                self.known.remove(&pid);
            }
        }
    }

    /// As [`super::runtime::has_greenlets`].
    pub fn has_greenlets(&self, pid: u32) -> bool {
        Snapshot::read(pid).is_some_and(|process| runtime::has_greenlets(&process))
    }

    fn inspect_snapshot(&mut self, process: Snapshot, ancestors_left: usize) -> Option<Arc<Identity>> {
        let runtime = self.recogniser.recognise(&process);
        let name = name_of(&process);
        let root = self.service_root(&process, &name, ancestors_left);
        let resource = root.unwrap_or_else(|| Arc::new(describe(&name, &process, &runtime, &self.host)));
        let identity =
            Arc::new(Identity { resource, executable: process.executable, runtime, container: process.container.id });
        self.insert(process.pid, Known { identity: Arc::clone(&identity), start_ticks: process.start_ticks });
        Some(identity)
    }

    /// The resource of the parent, where that is the same service: the worker is one of its processes.
    fn service_root(&mut self, process: &Snapshot, name: &str, ancestors_left: usize) -> Option<Arc<Resource>> {
        let ancestors_left = ancestors_left.checked_sub(1)?;
        let parent = Snapshot::read(process.parent)?;
        (parent.executable == process.executable && name_of(&parent) == name).then_some(())?;
        let known = self.known.get(&parent.pid).filter(|known| known.start_ticks == parent.start_ticks);
        let parent = match known {
            Some(known) => Arc::clone(&known.identity),
            None => self.inspect_snapshot(parent, ancestors_left)?,
        };
        (parent.container == process.container.id).then(|| Arc::clone(&parent.resource))
    }

    fn insert(&mut self, pid: u32, known: Known) {
        if self.known.len() >= PROCESSES_MAX && !self.known.contains_key(&pid) {
            self.known.retain(|pid, _| is_alive(*pid));
        }
        if self.known.len() < PROCESSES_MAX {
            self.exited.retain(|(_, exited)| *exited != pid);
            self.known.insert(pid, known);
        }
    }
}

fn is_alive(pid: u32) -> bool {
    std::path::Path::new("/proc").join(pid.to_string()).exists()
}

/// What the operator called the service, else what its command line says.
fn name_of(process: &Snapshot) -> String {
    let launch = Launch {
        executable: &process.executable,
        args: &process.args,
        cwd: &process.cwd,
        flask_app: process.environ.flask_app.as_deref(),
        package_name: &|directory| process.package_name(directory),
    };
    process.environ.explicit_name().map_or_else(|| service_name(&launch), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::process::{Child, Command, Stdio};

    /// A child that lives until its standard input is closed, by drop.
    struct Cat(Child);

    impl Cat {
        /// Returns once it runs: its environment is not there before the end of `exec`.
        fn spawn(environ: &[(&str, &str)]) -> Self {
            let mut command = Command::new("cat");
            command.envs(environ.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().expect("cat runs");
            child.stdin.as_mut().expect("a pipe").write_all(b"x").expect("cat reads");
            child.stdout.as_mut().expect("a pipe").read_exact(&mut [0]).expect("cat answers");
            Self(child)
        }
    }

    impl Drop for Cat {
        fn drop(&mut self) {
            drop(self.0.stdin.take());
            let _ = self.0.wait();
        }
    }

    fn processes() -> Processes {
        Processes::new(Host { name: "h".to_owned(), id: "1".to_owned() })
    }

    #[test]
    fn the_operators_name_wins() {
        let cat = Cat::spawn(&[("OTEL_SERVICE_NAME", "orders")]);
        assert_eq!(processes().resource(cat.0.id()).service_name, "orders");
        let cat = Cat::spawn(&[("OTEL_RESOURCE_ATTRIBUTES", "service.name=cart,service.namespace=shop")]);
        let resource = processes().resource(cat.0.id());
        assert_eq!(resource.service_name, "cart");
        assert!(
            resource
                .attributes
                .contains(&("service.namespace".to_owned(), super::super::ResourceValue::String("shop".to_owned())))
        );
    }

    #[test]
    fn forks_share_their_parents_identity() {
        let mut processes = processes();
        let own = std::process::id();
        let identity = processes.inspect(own).expect("this process is there");
        let child = processes.forked(own, 4_000_000).expect("the parent is known");
        assert!(Arc::ptr_eq(&identity, &child));
        assert!(processes.forked(3_999_999, 1).is_none());
    }

    #[test]
    fn a_process_that_is_gone_keeps_its_name_for_a_while() {
        let mut processes = processes();
        let cat = Cat::spawn(&[("OTEL_SERVICE_NAME", "orders")]);
        let pid = cat.0.id();
        processes.inspect(pid).expect("it lives");
        drop(cat);
        assert!(processes.inspect(pid).is_none());
        processes.exited(pid, 1_000);
        processes.sweep(2_000);
        assert_eq!(processes.resource(pid).service_name, "orders");
        processes.sweep(1_000 + EXITED_KEPT_NS);
        assert_eq!(processes.resource(pid).service_name, "unknown_service");
    }
}
