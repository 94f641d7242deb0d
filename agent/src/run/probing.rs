//! Keeps probes on the user code that targets run: looks at what they map, attaches to files that are new, lets go of
//! those that nobody uses any more.

use crate::kernel::Kernel;
use crate::probe::{Libraries, ProbeChange, ProbeFamily, ProbeProgram};
use autospan_abi::PythonRuntime;
use autospan_abi::process::{TRAIT_GO, TRAIT_JOBS, TRAIT_TLS, TRAIT_TURNS, TRAIT_UVLOOP};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// Losses remembered as reported.
const REPORTED_MAX: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Probing {
    libraries: Libraries,
    /// A refusal was reported: what one file meets, all do.
    refused: bool,
    /// Losses that were reported.
    reported: BTreeSet<String>,
    /// Processes whose CPython the kernel programs know.
    pythons: HashMap<u32, PythonRuntime>,
    /// Processes whose deques are watched.
    jobs: BTreeSet<u32>,
}

/// Threads that a process has from its start, the main one included, if it has a pool of them.
const POOL_THREADS_MIN: usize = 3;

// === impl Probing ===

impl Probing {
    /// A process is a target from now on, or has mapped more code.
    pub(super) fn look(&mut self, kernel: &mut Kernel, pid: u32) {
        let changes = self.libraries.mapped(pid);
        self.apply(kernel, pid, changes);
        self.report_losses(pid);
        let traits = self.traits(kernel, pid);
        if traits != 0 {
            kernel.add_traits(pid, traits);
        }
        if kernel.has_probes(ProbeFamily::PyContexts) {
            self.look_for_python(kernel, pid);
        }
    }

    /// One that is known may have greenlets by now.
    fn look_for_python(&mut self, kernel: &mut Kernel, pid: u32) {
        let is_same = |known: &PythonRuntime| known.datastack != 0 || !self.libraries.has_greenlets(pid);
        if self.pythons.get(&pid).is_some_and(is_same) {
            return;
        }
        let Some(runtime) = self.libraries.python(pid) else { return };
        if self.pythons.get(&pid) == Some(&runtime) || !kernel.set_python(pid, runtime) {
            return;
        }
        self.pythons.insert(pid, runtime);
        // What the first requests do is seen as well. The engine tells if it was for nothing.
        self.watch_jobs(kernel, pid, has_threads(pid, POOL_THREADS_MIN));
    }

    /// What is true of the process, as far as probes that are attached show it.
    fn traits(&self, kernel: &Kernel, pid: u32) -> u8 {
        let of_uvloop = if self.libraries.of(pid).any(|file| file.uvloop) { TRAIT_UVLOOP } else { 0 };
        let programs = self.libraries.attached(pid).flat_map(|file| &file.probes).map(|probe| probe.program);
        let firing = programs.filter(|program| kernel.has_probes(program.family()));
        firing.map(trait_of).fold(of_uvloop, |all, more| all | more)
    }

    /// Whether to see how the threads of a process leave work for one another in memory.
    pub(super) fn watch_jobs(&mut self, kernel: &mut Kernel, pid: u32, watch: bool) {
        // Greenlets share the threads that are told apart.
        let has_greenlets = self.pythons.get(&pid).is_some_and(|runtime| runtime.datastack != 0);
        if !watch || has_greenlets {
            if self.jobs.remove(&pid) {
                kernel.remove_traits(pid, TRAIT_JOBS);
                kernel.detach_probes_of(pid);
                tracing::debug!(pid, "deques not watched any more");
            }
            return;
        }
        if !kernel.has_probes(ProbeFamily::PyDeques)
            || !kernel.is_target(pid)
            || !self.pythons.contains_key(&pid)
            || self.jobs.contains(&pid)
        {
            return;
        }
        let Some((path, probes)) = self.libraries.on_demand(pid) else { return };
        match kernel.attach_probes_to(pid, &path, probes) {
            Ok(()) => {
                kernel.add_traits(pid, TRAIT_JOBS);
                self.jobs.insert(pid);
                tracing::debug!(pid, "watching deques");
            }
            Err(loss) => self.refuse(pid, &loss.why, &loss.remedy),
        }
    }

    /// A target runs another program, or was seen to when it had run it for long: what it maps still keeps its probes.
    pub(super) fn executed(&mut self, kernel: &mut Kernel, pid: u32) {
        self.pythons.remove(&pid);
        self.watch_jobs(kernel, pid, false);
        self.look(kernel, pid);
    }

    /// The child maps what its parent does.
    pub(super) fn forked(&mut self, parent: u32, child: u32) {
        self.libraries.forked(parent, child);
    }

    /// A process is gone, no target any more, or another program.
    pub(super) fn forget(&mut self, kernel: &mut Kernel, pid: u32) {
        self.pythons.remove(&pid);
        self.watch_jobs(kernel, pid, false);
        let changes = self.libraries.gone(pid);
        self.apply(kernel, pid, changes);
    }

    fn apply(&mut self, kernel: &mut Kernel, pid: u32, changes: Vec<ProbeChange>) {
        for change in changes {
            match change {
                ProbeChange::Detach { file } => kernel.detach_probes(file),
                ProbeChange::Attach { file, path, recognised } => {
                    match kernel.attach_probes(file, &path, &recognised.probes) {
                        Ok(()) => {
                            tracing::debug!(pid, what = ?recognised.what, probes = recognised.probes.len(), "attached")
                        }
                        Err(loss) => {
                            self.libraries.attach_failed(file);
                            // With the process, the way to the file is gone; the next one that maps it is tried.
                            if Path::new("/proc").join(pid.to_string()).exists() {
                                self.refuse(pid, &loss.why, &loss.remedy);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Each once: a service has many processes.
    fn report_losses(&mut self, pid: u32) {
        for recognised in self.libraries.of(pid) {
            let tls = recognised.loss.as_ref().map(|loss| format!("TLS of this process cannot be read: {loss}"));
            let python = recognised.python.as_ref().and_then(|python| python.as_ref().err());
            let tasks = python.map(|why| format!("requests of one thread of this process cannot be told apart: {why}"));
            for loss in tls.into_iter().chain(tasks) {
                if self.reported.len() < REPORTED_MAX && !self.reported.contains(&loss) {
                    tracing::warn!(pid, "{loss}");
                    self.reported.insert(loss);
                }
            }
        }
    }

    fn refuse(&mut self, pid: u32, why: &str, remedy: &str) {
        if std::mem::replace(&mut self.refused, true) {
            tracing::debug!(pid, why, "probes refused");
        } else {
            tracing::warn!(
                pid,
                why,
                remedy,
                "the kernel refused probes on user code: TLS cannot be read, nor requests that share a thread be told apart"
            );
        }
    }
}

/// Whether a process has so many threads.
fn has_threads(pid: u32, threads: usize) -> bool {
    std::fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|tasks| tasks.take(threads).count() == threads)
}

fn trait_of(program: ProbeProgram) -> u8 {
    use ProbeProgram as P;
    match program {
        P::TlsRead | P::TlsReadEx | P::TlsWrite | P::TlsWriteEx | P::TlsWriteEx2 | P::TlsHandshake => TRAIT_TLS,
        P::GoTlsRead | P::GoTlsWrite | P::GoTlsHandshake => TRAIT_TLS,
        // Without it, a goroutine would carry what another left behind in the same g.
        P::GoNewprocReturn => TRAIT_GO,
        P::TurnEnded | P::NodeChecks => TRAIT_TURNS,
        P::TlsReturn
        | P::TlsFree
        | P::TlsSetFd
        | P::GoTlsReturn
        | P::GoTlsHandshakeReturn
        | P::GoNewproc
        | P::GoRoundTrip
        | P::GoHttp2ReadFrames
        | P::GoHttp2RunHandler
        | P::GoHttp2WriteHeaders => 0,
        P::GrpcGoServes | P::GrpcGoRequest | P::GrpcGoHandle => 0,
        P::GrpcGoCalls | P::GrpcGoResponse | P::GrpcGoStreamMade => 0,
        P::PyContextCopied | P::PyContextEntered | P::PyFutureSet | P::PyQueuePut | P::PyQueueGot => 0,
        // Of one process, not of all that map the file.
        P::PyDequeAppend | P::PyDequePopleft => 0,
        P::WorkSubmitted | P::WorkQueued | P::WorkDone => 0,
        P::Nghttp2Received | P::Nghttp2ReceivedReturn | P::Nghttp2Submit | P::Nghttp2SubmitReturn => 0,
        P::Nghttp2Frame | P::Nghttp2Data | P::Nghttp2StreamClosed => 0,
        P::GrpcStartBatch | P::GrpcStartBatchReturn => 0,
    }
}
