//! Probes on user code: attached per file, for every process that maps it.

mod multi;
mod single;

use std::collections::HashMap;
use std::error::Error;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::thread::{self, JoinHandle};

use aya::Ebpf;
use aya::programs::uprobe::UProbeLink;

use super::attach::chain;
use super::capability::{Capability, Loss};
use crate::probe::{FileId, Probe, ProbeFamily, ProbeProgram};

/// What is attached, by file.
#[derive(Debug)]
pub(super) struct Probes {
    programs: Programs,
    /// Of which the kernel refused a program.
    lost: Vec<ProbeFamily>,
    /// Why each probe has a link of its own, if it has.
    no_multi: Option<Loss>,
    links: HashMap<FileId, Vec<Link>>,
    /// What is attached to single processes, by their ids.
    of_processes: HashMap<u32, Vec<Link>>,
    /// Detaching takes the kernel a grace period for each link: others do the waiting.
    releases: Vec<JoinHandle<()>>,
}

/// The same programs, loaded for one kind of link or the other.
#[derive(Debug)]
enum Programs {
    Multi(multi::Programs),
    Single(single::Programs),
}

/// Kept to be closed.
#[derive(Debug)]
#[expect(dead_code, reason = "closed when dropped, which is all that is wanted of it")]
enum Link {
    Multi(OwnedFd),
    Single(UProbeLink),
}

// === impl Probes ===

impl Probes {
    /// Loads everything: the verifier takes its time, and the first requests of a service that has just started do not
    /// wait for it. `object`: what `ebpf` was made from, with all its maps still in there. `multi`: whether to try links
    /// of many probes.
    pub(super) fn load(ebpf: &mut Ebpf, object: &[u8], multi: bool) -> Self {
        let multi = if multi { multi::Programs::load(ebpf, object) } else { Err(unwanted()) };
        let (programs, no_multi) = match multi {
            Ok(programs) => (Programs::Multi(programs), None),
            Err(loss) => (Programs::Single(single::Programs::load(ebpf)), Some(loss)),
        };
        let lost = ProbeFamily::ALL.into_iter().filter(|family| programs.loss(*family).is_some()).collect();
        Self { programs, lost, no_multi, links: HashMap::new(), of_processes: HashMap::new(), releases: Vec::new() }
    }

    pub(super) fn capabilities(&self) -> Vec<Capability> {
        let families = ProbeFamily::ALL.into_iter().map(|family| Capability {
            name: family.name(),
            without: family.without(),
            loss: self.programs.loss(family),
        });
        let multi = Capability {
            name: "many probes per link",
            without: "nothing is lost, but detaching takes up to a tenth of a second for each probe, and so does stopping \
                      the agent",
            loss: self.no_multi.clone(),
        };
        families.chain([multi]).collect()
    }

    /// Are all programs of the family loaded?
    pub(super) fn has(&self, family: ProbeFamily) -> bool {
        !self.lost.contains(&family)
    }

    /// Those that can be attached.
    fn usable(&self, probes: &[Probe]) -> Vec<Probe> {
        probes.iter().filter(|probe| self.has(probe.program.family())).copied().collect()
    }

    /// Attaches all probes of a file whose family works, or none: half of them would see half of the bytes.
    pub(super) fn attach(&mut self, ebpf: &mut Ebpf, file: FileId, path: &Path, probes: &[Probe]) -> Result<(), Loss> {
        if self.links.contains_key(&file) {
            return Ok(());
        }
        let (links, outcome) = self.programs.attach(ebpf, path, &self.usable(probes), None);
        match outcome {
            Ok(()) => drop(self.links.insert(file, links)),
            Err(_) => self.release(links),
        }
        outcome
    }

    /// Attaches probes of a file to one process, once. Where each has a link of its own they fire in all that map it, since a
    /// perf event of one process is one of a single thread.
    pub(super) fn attach_to(&mut self, ebpf: &mut Ebpf, pid: u32, path: &Path, probes: &[Probe]) -> Result<(), Loss> {
        if self.of_processes.contains_key(&pid) {
            return Ok(());
        }
        let (links, outcome) = self.programs.attach(ebpf, path, &self.usable(probes), Some(pid));
        match outcome {
            Ok(()) => drop(self.of_processes.insert(pid, links)),
            Err(_) => self.release(links),
        }
        outcome
    }

    pub(super) fn detach_from(&mut self, pid: u32) {
        if let Some(links) = self.of_processes.remove(&pid) {
            self.release(links);
        }
    }

    pub(super) fn detach(&mut self, file: FileId) {
        if let Some(links) = self.links.remove(&file) {
            self.release(links);
        }
    }

    /// The loaded programs that aya does not know of.
    pub(super) fn loaded(&self) -> impl Iterator<Item = (&'static str, BorrowedFd<'_>)> {
        let multi = if let Programs::Multi(programs) = &self.programs { Some(programs) } else { None };
        multi.into_iter().flat_map(multi::Programs::fds)
    }

    /// Closes links, some at a time: grace periods that are waited for together pass together. (Not those of single
    /// links, which wait one after another for a lock that the kernel holds meanwhile.)
    fn release(&mut self, links: Vec<Link>) {
        const THREADS_MAX: usize = 16;
        self.releases.retain(|release| !release.is_finished());
        let mut shares: Vec<Vec<Link>> = Vec::new();
        shares.resize_with(THREADS_MAX.min(links.len()), Vec::new);
        let count = shares.len();
        for (i, link) in links.into_iter().enumerate() {
            shares[i % count].push(link);
        }
        self.releases.extend(shares.into_iter().map(|share| thread::spawn(move || drop(share))));
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        let of_processes = self.of_processes.drain().flat_map(|(_, links)| links);
        let links = self.links.drain().flat_map(|(_, links)| links).chain(of_processes).collect();
        self.release(links);
        for release in self.releases.drain(..) {
            let _ = release.join();
        }
    }
}

// === impl Programs ===

impl Programs {
    /// Why one of the family is refused.
    fn loss(&self, family: ProbeFamily) -> Option<Loss> {
        family.programs().find_map(|program| match self {
            Self::Multi(programs) => programs.loss(program),
            Self::Single(programs) => programs.loss(program),
        })
    }

    /// The links that could be made, and whether these are all.
    fn attach(
        &self,
        ebpf: &mut Ebpf,
        path: &Path,
        probes: &[Probe],
        pid: Option<u32>,
    ) -> (Vec<Link>, Result<(), Loss>) {
        match self {
            Self::Multi(programs) => {
                let (links, outcome) = programs.attach(path, probes, pid);
                (links.into_iter().map(Link::Multi).collect(), outcome)
            }
            Self::Single(programs) => {
                let (links, outcome) = programs.attach(ebpf, path, probes);
                (links.into_iter().map(Link::Single).collect(), outcome)
            }
        }
    }
}

/// Those of a program side by side; returns first, so that no entry waits for a return that is not hooked.
fn in_order(probes: &[Probe]) -> Vec<Probe> {
    let mut probes = probes.to_vec();
    probes.sort_by_key(|probe| (!ends_call(probe.program), probe.program));
    probes
}

fn ends_call(program: ProbeProgram) -> bool {
    use ProbeProgram as P;
    matches!(
        program,
        P::TlsReturn | P::GoTlsReturn | P::GoTlsHandshakeReturn | P::GoNewprocReturn | P::GrpcStartBatchReturn
    )
}

fn cannot_attach(program: &str, path: &Path, error: &dyn Error) -> Loss {
    Loss {
        why: format!("{program} cannot be attached to {}: {}", path.display(), chain(error)),
        remedy: "a kernel built with CONFIG_UPROBE_EVENTS, and a file system that is not mounted noexec".into(),
    }
}

fn unwanted() -> Loss {
    Loss { why: "LoadOptions::single_probes is set".into(), remedy: "leave it".into() }
}
