//! Many probes on one link: Linux 6.6 and newer. aya knows no such links, so the programs are loaded here, from the
//! object and with the maps that aya made of it.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aya::Ebpf;
use aya_obj::{Object, ProgramSection};

use super::super::attach::{chain, foreign_object, refused};
use super::super::bpf::{self, Code, Places};
use super::super::capability::Loss;
use super::super::maps;
use super::super::verify::side_by_side;
use super::{cannot_attach, in_order};
use crate::probe::{Probe, ProbeProgram};

/// What the verifier may say, in bytes.
const LOG_BYTES_MAX: usize = 1 << 20;

#[derive(Debug)]
struct Loaded {
    fd: OwnedFd,
    /// Runs where a function returns.
    returns: bool,
}

/// The programs on user code, and what came of loading each.
#[derive(Debug)]
pub(super) struct Programs(BTreeMap<ProbeProgram, Result<Loaded, Loss>>);

// === impl Programs ===

impl Programs {
    /// Loads all of them. `object`: what `ebpf` was made from.
    ///
    /// # Errors
    /// The kernel knows no such links.
    pub(super) fn load(ebpf: &Ebpf, object: &[u8]) -> Result<Self, Loss> {
        know_links()?;
        let object = linked(ebpf, object).map_err(|why| Loss {
            why: format!("the programs cannot be linked with their maps: {why}"),
            remedy: "use the object that this agent was built with".into(),
        })?;
        let loaded = side_by_side(ProbeProgram::ALL, |program| (program, load(&object, program)));
        Ok(Self(loaded.into_iter().collect()))
    }

    pub(super) fn loss(&self, program: ProbeProgram) -> Option<Loss> {
        self.loaded(program).err()
    }

    fn loaded(&self, program: ProbeProgram) -> Result<&Loaded, Loss> {
        let outcome = self.0.get(&program).ok_or_else(|| foreign_object(program.name()))?;
        outcome.as_ref().map_err(Loss::clone)
    }

    /// One link for each program that the probes name; in one process, or in all.
    pub(super) fn attach(&self, path: &Path, probes: &[Probe], pid: Option<u32>) -> (Vec<OwnedFd>, Result<(), Loss>) {
        let mut links = Vec::new();
        let outcome = self.attach_to(&mut links, path, probes, pid);
        (links, outcome)
    }

    fn attach_to(&self, links: &mut Vec<OwnedFd>, path: &Path, probes: &[Probe], pid: Option<u32>) -> Result<(), Loss> {
        let c_path = CString::new(path.as_os_str().as_bytes());
        let c_path = c_path.map_err(|error| cannot_attach("any probe", path, &error))?;
        for of_program in in_order(probes).chunk_by(|a, b| a.program == b.program) {
            let program = of_program[0].program;
            let loaded = self.loaded(program)?;
            let offsets: Vec<u64> = of_program.iter().map(|probe| probe.offset).collect();
            let places = Places { path: &c_path, offsets: &offsets, returns: loaded.returns, pid };
            let link = bpf::link_uprobe_multi(loaded.fd.as_fd(), &places);
            links.push(link.map_err(|error| cannot_attach(program.name(), path, &error))?);
        }
        Ok(())
    }

    pub(super) fn fds(&self) -> impl Iterator<Item = (&'static str, BorrowedFd<'_>)> {
        self.0.iter().filter_map(|(program, outcome)| Some((program.name(), outcome.as_ref().ok()?.fd.as_fd())))
    }
}

/// Does the kernel know these links? One that does looks at the file before it says no.
fn know_links() -> Result<(), Loss> {
    let lost = |error| Loss {
        why: format!("the kernel has no uprobe_multi links: {error}"),
        remedy: "Linux 6.6 or newer, built with CONFIG_UPROBES and CONFIG_BPF_EVENTS".into(),
    };
    // r0 = 0; exit
    let code = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
    let instructions = aya_obj::copy_instructions(&code).map_err(|error| lost(io::Error::other(error)))?;
    let code = Code { name: "autospan_probe", instructions: &instructions, license: c"GPL" };
    let program = bpf::load_uprobe_multi(&code, &mut []).map_err(lost)?;
    let places = Places { path: c"/", offsets: &[0], returns: false, pid: None };
    match bpf::link_uprobe_multi(program.as_fd(), &places) {
        Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok(()),
        Err(error) => Err(lost(error)),
        Ok(_) => Err(lost(io::Error::other("it takes a directory for a program"))),
    }
}

/// The object with the programs on user code, each a whole that refers to the maps of `ebpf`.
fn linked(ebpf: &Ebpf, object: &[u8]) -> Result<Object, String> {
    let mut object = Object::parse(object).map_err(|error| chain(&error))?;
    object.programs.retain(|name, _| ProbeProgram::ALL.iter().any(|program| program.name() == name));
    let fds: HashMap<&str, RawFd> =
        ebpf.maps().filter_map(|(name, map)| Some((name, maps::data(map)?.fd().as_fd().as_raw_fd()))).collect();
    let maps = std::mem::take(&mut object.maps);
    let maps = maps.iter().filter_map(|(name, map)| Some((name.as_str(), *fds.get(name.as_str())?, map)));
    let text_sections = object.functions.keys().map(|(section, _)| *section).collect();
    object.relocate_maps(maps, &text_sections).map_err(|error| chain(&error))?;
    object.relocate_calls(&text_sections).map_err(|error| chain(&error))?;
    Ok(object)
}

fn load(object: &Object, program: ProbeProgram) -> Result<Loaded, Loss> {
    let name = program.name();
    let found = object.programs.get(name).ok_or_else(|| foreign_object(name))?;
    let function = object.functions.get(&found.function_key()).ok_or_else(|| foreign_object(name))?;
    let code = Code { name, instructions: &function.instructions, license: &found.license };
    let fd = bpf::load_uprobe_multi(&code, &mut []).map_err(|error| refused(name, &error, &verifier_log(&code)))?;
    Ok(Loaded { fd, returns: matches!(found.section, ProgramSection::URetProbe { .. }) })
}

/// What the verifier says of a program that was refused: saying it takes time, and so it is not asked at first.
fn verifier_log(code: &Code<'_>) -> String {
    let mut log = vec![0; LOG_BYTES_MAX];
    // Refused once more.
    let _ = bpf::load_uprobe_multi(code, &mut log);
    CStr::from_bytes_until_nul(&log).map(|log| log.to_string_lossy().into_owned()).unwrap_or_default()
}
