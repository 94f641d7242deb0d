//! Which process maps which files with probes. A file is attached once, for all processes, as long as one maps it.

use super::maps::{self, MapKey, Mapping, Stamp};
use super::plan::{Probe, Recognised};
use super::python::Libc;
use super::recognise::recognise;
use autospan_abi::PythonRuntime;
use autospan_core::limits::PROCESSES_MAX;
use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

/// Files that are remembered, most of them because there is nothing in them.
const FILES_MAX: usize = 16_384;
/// Files that are attached at one time; a host with more kinds of TLS libraries in use loses the later ones.
const ATTACHED_MAX: usize = 1_024;

/// A file, wherever it is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    pub dev: u64,
    pub inode: u64,
}

#[derive(Debug)]
pub enum ProbeChange {
    Attach {
        file: FileId,
        /// Leads to the file as long as the process that mapped it lives.
        path: PathBuf,
        recognised: Arc<Recognised>,
    },
    Detach {
        file: FileId,
    },
}

/// A file that processes map and that has probes, or a loss to tell of.
#[derive(Debug)]
struct Used {
    stamp: Stamp,
    recognised: Arc<Recognised>,
    processes: usize,
    attached: bool,
}

/// What a process maps.
#[derive(Debug, Default)]
struct Mapped {
    /// In order; nothing where the file is of no interest.
    files: Vec<(MapKey, Option<FileId>)>,
    /// Something that switches between greenlets is among it.
    has_greenlets: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Libraries {
    processes: HashMap<u32, Arc<Mapped>>,
    used: HashMap<FileId, Used>,
    /// `None`: of no interest.
    known: HashMap<Stamp, Option<Arc<Recognised>>>,
}

impl Libraries {
    /// Looks at what a process maps now: when it becomes a target, after `exec`, and when it mapped something executable.
    /// Files that it mapped before are not looked at again.
    pub fn mapped(&mut self, pid: u32) -> Vec<ProbeChange> {
        let before = self.processes.remove(&pid).unwrap_or_default();
        let mappings = maps::read(pid);
        let mut changes = Vec::new();
        let mut now = Vec::with_capacity(mappings.len());
        if self.processes.len() < PROCESSES_MAX {
            let seen: HashMap<_, _> = before.files.iter().copied().collect();
            for mapping in &mappings {
                let file = match seen.get(&mapping.key) {
                    Some(file) => file.inspect(|file| self.use_again(*file)),
                    None => self.look(pid, mapping, &mut changes),
                };
                now.push((mapping.key, file));
            }
        }
        // Only now, so that what is mapped as before is not detached in between.
        self.release(&before, &mut changes);
        if !now.is_empty() {
            let has_greenlets = mappings.iter().any(Mapping::is_gevent);
            self.processes.insert(pid, Arc::new(Mapped { files: now, has_greenlets }));
        }
        changes
    }

    /// A child maps what its parent maps.
    pub fn forked(&mut self, parent: u32, child: u32) {
        let Some(mapped) = self.processes.get(&parent).cloned() else { return };
        if self.processes.len() < PROCESSES_MAX && !self.processes.contains_key(&child) {
            files(&mapped).for_each(|file| self.use_again(file));
            self.processes.insert(child, mapped);
        }
    }

    /// A process exited, or is no target any more. A file that no other one uses is detached.
    pub fn gone(&mut self, pid: u32) -> Vec<ProbeChange> {
        let mut changes = Vec::new();
        if let Some(mapped) = self.processes.remove(&pid) {
            self.release(&mapped, &mut changes);
        }
        changes
    }

    /// An `Attach` could not be carried out, because the process was gone before: the next one that maps the file is tried.
    pub fn attach_failed(&mut self, file: FileId) {
        if let Some(used) = self.used.get_mut(&file) {
            used.attached = false;
        }
    }

    /// What was recognised in the files of a process.
    pub fn of(&self, pid: u32) -> impl Iterator<Item = &Recognised> {
        self.used(pid).map(|used| &*used.recognised)
    }

    /// Those of them that have their probes.
    pub fn attached(&self, pid: u32) -> impl Iterator<Item = &Recognised> {
        self.used(pid).filter(|used| used.attached).map(|used| &*used.recognised)
    }

    fn used(&self, pid: u32) -> impl Iterator<Item = &Used> {
        let mapped = self.processes.get(&pid).map(|mapped| files(mapped));
        mapped.into_iter().flatten().filter_map(|file| self.used.get(&file))
    }

    /// Whether something in the process switches between greenlets.
    pub fn has_greenlets(&self, pid: u32) -> bool {
        self.processes.get(&pid).is_some_and(|mapped| mapped.has_greenlets)
    }

    /// Where the CPython of a process keeps what its threads run. `None`: it has none that is supported, or it is gone.
    pub fn python(&self, pid: u32) -> Option<PythonRuntime> {
        let of_key = |key: MapKey| self.processes.get(&pid)?.files.iter().find(|(mapped, _)| *mapped == key)?.1;
        let python = |key: MapKey| self.used.get(&of_key(key)?)?.recognised.python.as_ref()?.as_ref().ok();
        // Nothing is read for the many processes without one.
        self.of(pid).any(|recognised| matches!(recognised.python, Some(Ok(_)))).then_some(())?;
        let mappings = maps::read(pid);
        let libc = if mappings.iter().any(Mapping::is_musl) { Libc::Musl } else { Libc::Glibc };
        let has_greenlets = self.has_greenlets(pid);
        let runtime =
            |mapping: &Mapping| python(mapping.key)?.runtime(mapping.start, mapping.offset, libc, has_greenlets);
        mappings.iter().find_map(runtime)
    }

    /// A file of a process with probes for single processes, and a way to it.
    pub fn on_demand(&self, pid: u32) -> Option<(PathBuf, &[Probe])> {
        self.of(pid).any(|recognised| !recognised.on_demand.is_empty()).then_some(())?;
        let mapped = self.processes.get(&pid)?;
        let with_probes = |mapping: &Mapping| {
            let (_, file) = mapped.files.iter().find(|(key, _)| *key == mapping.key)?;
            let used = self.used.get(file.as_ref()?).filter(|used| !used.recognised.on_demand.is_empty())?;
            let (path, _) = mapping.find(pid).filter(|(_, stamp)| *stamp == used.stamp)?;
            Some((path, used.recognised.on_demand.as_slice()))
        };
        maps::read(pid).iter().find_map(with_probes)
    }

    /// Looks at a file that is new to a process.
    fn look(&mut self, pid: u32, mapping: &Mapping, changes: &mut Vec<ProbeChange>) -> Option<FileId> {
        let (path, stamp) = mapping.find(pid)?;
        let recognised = self.recognise(&path, stamp)?;
        let file = stamp.id;
        if self.used.len() >= ATTACHED_MAX && !self.used.contains_key(&file) {
            return None;
        }
        let fresh = || Used { stamp, recognised: Arc::clone(&recognised), processes: 0, attached: false };
        let used = self.used.entry(file).or_insert_with(fresh);
        // The file was written to while it was in use: what was attached is at the wrong places.
        if used.stamp != stamp {
            changes.extend(used.attached.then_some(ProbeChange::Detach { file }));
            *used = Used { processes: used.processes, ..fresh() };
        }
        used.processes += 1;
        if !used.attached && !recognised.probes.is_empty() {
            used.attached = true;
            changes.push(ProbeChange::Attach { file, path, recognised });
        }
        Some(file)
    }

    /// What is in a file; `None` where that is of no interest.
    fn recognise(&mut self, path: &PathBuf, stamp: Stamp) -> Option<Arc<Recognised>> {
        if let Some(known) = self.known.get(&stamp) {
            return known.clone();
        }
        let file = File::open(path).ok().filter(|file| stamp.is_of(file))?;
        let recognised = Some(recognise(&file)).filter(|recognised| !recognised.is_nothing()).map(Arc::new);
        if self.known.len() >= FILES_MAX {
            self.known.clear();
        }
        self.known.insert(stamp, recognised.clone());
        recognised
    }

    fn use_again(&mut self, file: FileId) {
        if let Some(used) = self.used.get_mut(&file) {
            used.processes += 1;
        }
    }

    fn release(&mut self, mapped: &Mapped, changes: &mut Vec<ProbeChange>) {
        for file in files(mapped) {
            let Some(used) = self.used.get_mut(&file) else { continue };
            used.processes -= 1;
            if used.processes == 0 {
                changes.extend(used.attached.then_some(ProbeChange::Detach { file }));
                self.used.remove(&file);
            }
        }
    }
}

fn files(mapped: &Mapped) -> impl Iterator<Item = FileId> {
    mapped.files.iter().filter_map(|(_, file)| *file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::testing::Image;
    use crate::probe::plan::ProbeProgram;
    use std::fs;
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::path::Path;
    use std::process::{Command, Stdio};
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// An executable mapping of a file in this process.
    struct Map(*mut libc::c_void);

    impl Map {
        const BYTES: usize = 4_096;

        fn new(path: &Path) -> Self {
            let file = File::open(path).expect("the file");
            let (flags, access) = (libc::MAP_PRIVATE, libc::PROT_READ | libc::PROT_EXEC);
            // SAFETY: a new mapping, at no address of ours.
            let address = unsafe { libc::mmap(std::ptr::null_mut(), Self::BYTES, access, flags, file.as_raw_fd(), 0) };
            assert_ne!(address, libc::MAP_FAILED);
            Self(address)
        }
    }

    impl Drop for Map {
        fn drop(&mut self) {
            // SAFETY: the mapping is ours, and nothing refers to it.
            unsafe { libc::munmap(self.0, Self::BYTES) };
        }
    }

    /// These tests look at their own process, which is the same for all of them.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    /// A folder with a library.
    struct Folder {
        path: PathBuf,
        _folder: tempfile::TempDir,
        _turn: MutexGuard<'static, ()>,
    }

    impl Folder {
        fn with(export: &str) -> Self {
            let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("lib ssl.so");
            fs::write(&path, library(export)).expect("a library");
            Self { path, _folder: folder, _turn: turn }
        }
    }

    fn library(export: &str) -> Vec<u8> {
        Image { exports: vec![(export.to_owned(), Some(0), 8)], ..Image::default() }.build()
    }

    /// What is to be done with the files of this test, `+` and `-`.
    fn told(changes: &[ProbeChange]) -> String {
        let sign = |change: &ProbeChange| match change {
            ProbeChange::Attach { path, .. } => {
                assert!(File::open(path).is_ok(), "{path:?}");
                '+'
            }
            ProbeChange::Detach { .. } => '-',
        };
        changes.iter().map(sign).collect()
    }

    /// Files that are attached; the test itself has rustls, of which there is only a loss to tell.
    fn attached(libraries: &Libraries, pid: u32) -> Vec<&Recognised> {
        libraries.of(pid).filter(|recognised| !recognised.probes.is_empty()).collect()
    }

    /// No process has this number.
    const CHILD: u32 = u32::MAX;

    #[test]
    fn a_file_is_attached_as_long_as_a_process_maps_it() {
        let (own, folder) = (std::process::id(), Folder::with("SSL_read"));
        let mut libraries = Libraries::default();
        assert_eq!(told(&libraries.mapped(own)), "", "the test itself has no TLS library with symbols of these names");
        let map = Map::new(&folder.path);
        assert_eq!(told(&libraries.mapped(own)), "+");
        assert_eq!(told(&libraries.mapped(own)), "");
        assert_eq!(attached(&libraries, own).len(), 1);
        libraries.forked(own, CHILD);
        assert_eq!(attached(&libraries, CHILD).len(), 1);
        drop(map);
        assert_eq!(told(&libraries.mapped(own)), "", "the child has it still");
        assert_eq!(attached(&libraries, own).len(), 0);
        assert_eq!(told(&libraries.mapped(CHILD)), "-", "there is no such process");
        assert_eq!(told(&libraries.gone(CHILD)), "");
    }

    #[test]
    fn deleted_and_replaced_files() {
        let (own, folder) = (std::process::id(), Folder::with("SSL_read"));
        let mut libraries = Libraries::default();
        let _first = Map::new(&folder.path);
        fs::remove_file(&folder.path).expect("it was there");
        assert_eq!(told(&libraries.mapped(own)), "+");
        fs::write(&folder.path, library("gnutls_record_recv")).expect("another library");
        let _second = Map::new(&folder.path);
        assert_eq!(told(&libraries.mapped(own)), "+");
        let mut what: Vec<_> = attached(&libraries, own).iter().map(|recognised| recognised.what[0].name).collect();
        what.sort_unstable();
        assert_eq!(what, ["GnuTLS", "OpenSSL"]);
        assert_eq!(told(&libraries.gone(own)), "--");
    }

    #[test]
    fn a_file_that_was_written_to_is_attached_anew() {
        let (own, folder) = (std::process::id(), Folder::with("SSL_read"));
        let mut libraries = Libraries::default();
        let _map = Map::new(&folder.path);
        assert_eq!(told(&libraries.mapped(own)), "+");
        libraries.forked(own, CHILD);
        fs::write(&folder.path, library("SSL_read_ex")).expect("other contents");
        assert_eq!(told(&libraries.gone(own)), "");
        assert_eq!(told(&libraries.mapped(own)), "-+");
    }

    #[test]
    fn what_could_not_be_attached_is_tried_again() {
        let (own, folder) = (std::process::id(), Folder::with("SSL_read"));
        let mut libraries = Libraries::default();
        let _map = Map::new(&folder.path);
        let changes = libraries.mapped(own);
        let [ProbeChange::Attach { file, .. }] = changes.as_slice() else { panic!("{changes:?}") };
        libraries.forked(own, CHILD);
        libraries.attach_failed(*file);
        assert_eq!(told(&libraries.gone(own)), "");
        assert_eq!(told(&libraries.mapped(own)), "+");
    }

    /// What a program that says so when it has TLS has, in libraries of its own choice.
    fn libraries_of(program: &str, arguments: [&str; 2]) -> Vec<(String, Vec<ProbeProgram>)> {
        let mut command = Command::new(program);
        let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}; try cargo xtask setup"));
        child.stdout.as_mut().expect("a pipe").read_exact(&mut [0]).expect("it has started");
        let mut libraries = Libraries::default();
        let changes = libraries.mapped(child.id());
        drop(child.stdin.take());
        child.wait().expect("it ends");
        let attached = changes.iter().filter_map(|change| match change {
            ProbeChange::Attach { recognised, .. } => Some(recognised),
            ProbeChange::Detach { .. } => None,
        });
        attached
            .filter(|file| !file.what.is_empty())
            .map(|file| (file.what[0].to_string(), file.probes.iter().map(|probe| probe.program).collect()))
            .collect()
    }

    #[test]
    fn installed_interpreters() {
        let python = libraries_of("python3", ["-c", "import ssl, sys; print(end='1', flush=True); sys.stdin.read()"]);
        let node = libraries_of("node", ["-e", "require('tls'); process.stdout.write('1'); process.stdin.resume()"]);
        for files in [python, node] {
            let file = files.iter().find(|(what, _)| what.starts_with("OpenSSL"));
            let (_, programs) = file.unwrap_or_else(|| panic!("no OpenSSL in {files:?}"));
            for program in [ProbeProgram::TlsReadEx, ProbeProgram::TlsWriteEx, ProbeProgram::TlsReturn] {
                assert!(programs.contains(&program), "{programs:?}");
            }
        }
    }
}
