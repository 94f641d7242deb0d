//! A link for each probe, by aya: kernels before 6.6.

use std::collections::HashMap;
use std::path::Path;

use aya::Ebpf;
use aya::programs::uprobe::{UProbeLink, UProbeScope};
use aya::programs::{Program, UProbe};

use super::super::attach::{cannot_load, foreign_object};
use super::super::capability::Loss;
use super::super::verify::side_by_side;
use super::{cannot_attach, in_order};
use crate::probe::{Probe, ProbeProgram};

/// The programs on user code, and what came of loading each.
#[derive(Debug)]
pub(super) struct Programs(HashMap<ProbeProgram, Result<(), Loss>>);

// === impl Programs ===

impl Programs {
    pub(super) fn load(ebpf: &mut Ebpf) -> Self {
        let named = |name| ProbeProgram::ALL.into_iter().find(|program| program.name() == name);
        let programs = ebpf.programs_mut().filter_map(|(name, program)| Some((named(name)?, program)));
        let loaded = side_by_side(programs, |(named, program)| (named, load(named, program)));
        Self(loaded.into_iter().collect())
    }

    pub(super) fn loss(&self, program: ProbeProgram) -> Option<Loss> {
        self.outcome(program).err()
    }

    fn outcome(&self, program: ProbeProgram) -> Result<(), Loss> {
        self.0.get(&program).cloned().unwrap_or_else(|| Err(foreign_object(program.name())))
    }

    pub(super) fn attach(&self, ebpf: &mut Ebpf, path: &Path, probes: &[Probe]) -> (Vec<UProbeLink>, Result<(), Loss>) {
        let mut links = Vec::with_capacity(probes.len());
        for probe in in_order(probes) {
            match self.attach_one(ebpf, path, probe) {
                Ok(link) => links.push(link),
                Err(loss) => return (links, Err(loss)),
            }
        }
        (links, Ok(()))
    }

    fn attach_one(&self, ebpf: &mut Ebpf, path: &Path, probe: Probe) -> Result<UProbeLink, Loss> {
        self.outcome(probe.program)?;
        let name = probe.program.name();
        let program = uprobe(ebpf, name)?;
        let attached = program.attach(probe.offset, path, UProbeScope::AllProcesses);
        attached.and_then(|link| program.take_link(link)).map_err(|error| cannot_attach(name, path, &error))
    }
}

fn load(named: ProbeProgram, program: &mut Program) -> Result<(), Loss> {
    match program {
        Program::UProbe(program) => program.load().map_err(|error| cannot_load(named.name(), &error)),
        _ => Err(foreign_object(named.name())),
    }
}

fn uprobe<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut UProbe, Loss> {
    match ebpf.program_mut(name) {
        Some(Program::UProbe(program)) => Ok(program),
        _ => Err(foreign_object(name)),
    }
}
