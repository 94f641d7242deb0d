//! Probes on user code: attached per file, for every process that maps it.

use std::collections::HashMap;
use std::path::Path;
use std::thread::{self, JoinHandle};

use aya::Ebpf;
use aya::programs::uprobe::{UProbeLink, UProbeScope};
use aya::programs::{Program, UProbe};

use super::attach::{cannot_load, chain, foreign_object};
use super::capability::{Capability, Loss};
use crate::probe::{FileId, Probe, ProbeProgram};

/// What is attached, by file.
#[derive(Debug, Default)]
pub(super) struct Probes {
    loaded: HashMap<ProbeProgram, Result<(), Loss>>,
    links: HashMap<FileId, Vec<UProbeLink>>,
    /// Detaching takes the kernel a grace period for each probe: others do the waiting.
    releases: Vec<JoinHandle<()>>,
}

// === impl Probes ===

impl Probes {
    /// Attaches all probes of a file, or none: half of them would see half of the bytes.
    pub(super) fn attach(&mut self, ebpf: &mut Ebpf, file: FileId, path: &Path, probes: &[Probe]) -> Result<(), Loss> {
        if self.links.contains_key(&file) {
            return Ok(());
        }
        let mut ordered: Vec<&Probe> = probes.iter().collect();
        // Returns first, so that no entry waits for a return that is not hooked.
        ordered.sort_by_key(|probe| !ends_call(probe.program));
        let mut links = Vec::with_capacity(ordered.len());
        for probe in ordered {
            links.push(self.attach_one(ebpf, path, probe)?);
        }
        self.links.insert(file, links);
        Ok(())
    }

    pub(super) fn detach(&mut self, file: FileId) {
        if let Some(links) = self.links.remove(&file) {
            self.releases.retain(|release| !release.is_finished());
            self.releases.extend(release(links));
        }
    }

    /// Loads everything: the verifier takes its time, and the first requests of a service that has just started do not
    /// wait for it.
    pub(super) fn load_all(&mut self, ebpf: &mut Ebpf) -> Capability {
        let loss = ProbeProgram::ALL.into_iter().find_map(|program| self.load(ebpf, program).err());
        Capability { name: "probes on user code", without: "what passes inside TLS connections", loss }
    }

    fn attach_one(&mut self, ebpf: &mut Ebpf, path: &Path, probe: &Probe) -> Result<UProbeLink, Loss> {
        self.load(ebpf, probe.program)?;
        let name = probe.program.name();
        let program = uprobe(ebpf, name)?;
        let attached = program.attach(probe.offset, path, UProbeScope::AllProcesses);
        attached.and_then(|link| program.take_link(link)).map_err(|error| Loss {
            why: format!("{name} cannot be attached to {} at {:#x}: {}", path.display(), probe.offset, chain(&error)),
            remedy: "a kernel built with CONFIG_UPROBE_EVENTS, and a file system that is not mounted noexec".into(),
        })
    }

    fn load(&mut self, ebpf: &mut Ebpf, program: ProbeProgram) -> Result<(), Loss> {
        if let Some(outcome) = self.loaded.get(&program) {
            return outcome.clone();
        }
        let name = program.name();
        let outcome = uprobe(ebpf, name).and_then(|uprobe| uprobe.load().map_err(|error| cannot_load(name, &error)));
        self.loaded.insert(program, outcome.clone());
        outcome
    }
}

fn ends_call(program: ProbeProgram) -> bool {
    matches!(program, ProbeProgram::TlsReturn | ProbeProgram::GoTlsReturn | ProbeProgram::GoNewprocReturn)
}

/// Detaches probes, some at a time: grace periods that are waited for together pass together.
fn release(links: Vec<UProbeLink>) -> Vec<JoinHandle<()>> {
    const THREADS_MAX: usize = 16;
    let mut shares: Vec<Vec<UProbeLink>> = Vec::new();
    shares.resize_with(THREADS_MAX.min(links.len()), Vec::new);
    let count = shares.len();
    for (i, link) in links.into_iter().enumerate() {
        shares[i % count].push(link);
    }
    shares.into_iter().map(|share| thread::spawn(move || drop(share))).collect()
}

impl Drop for Probes {
    fn drop(&mut self) {
        let links = self.links.drain().flat_map(|(_, links)| links).collect();
        self.releases.extend(release(links));
        for release in self.releases.drain(..) {
            let _ = release.join();
        }
    }
}

fn uprobe<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut UProbe, Loss> {
    match ebpf.program_mut(name) {
        Some(Program::UProbe(program)) => Ok(program),
        _ => Err(foreign_object(name)),
    }
}
