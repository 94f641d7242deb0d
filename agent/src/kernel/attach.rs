//! Loading and attaching, one program at a time: a refusal costs one capability, and the rest goes on.

use std::collections::HashMap;
use std::io;

use aya::Ebpf;
use aya::programs::{Program, ProgramError, RawTracePoint, TracePoint};

use super::capability::{Capability, Loss};
use super::program::{Attachment, Hook, Plan};

const REPORT: &str = "a newer kernel, or a report of this line with the kernel's version";

/// Loads and attaches what the plans name.
#[derive(Debug)]
pub(crate) struct Attacher<'a> {
    ebpf: &'a mut Ebpf,
    /// Outcome of loading each program, so that each is loaded once.
    loaded: HashMap<&'static str, Result<(), Loss>>,
}

impl<'a> Attacher<'a> {
    pub(crate) fn new(ebpf: &'a mut Ebpf) -> Self {
        Self { ebpf, loaded: HashMap::new() }
    }

    /// `offsets`: why the kernel's structs are unknown, if they are.
    pub(crate) fn run(&mut self, plan: &Plan, offsets: Option<&Loss>) -> Capability {
        let outcome = match offsets {
            Some(loss) if plan.needs_offsets => Err(loss.clone()),
            _ if !plan.preferred.is_empty() && self.attach_all(plan.preferred).is_ok() => Ok(()),
            _ => self.attach_all(plan.attachments),
        };
        Capability { name: plan.capability, without: plan.without, loss: outcome.err() }
    }

    fn attach_all(&mut self, attachments: &[Attachment]) -> Result<(), Loss> {
        attachments.iter().try_for_each(|(program, hook)| self.attach(program, *hook))
    }

    fn attach(&mut self, program: &'static str, hook: Hook) -> Result<(), Loss> {
        self.load(program)?;
        match hook {
            Hook::Tracepoint(category, name) => {
                let attached = self.program::<TracePoint>(program)?.attach(category, name).map(drop);
                attached.map_err(|error| cannot_attach(program, &format!("{category}:{name}"), &error))
            }
            Hook::RawTracepoint(name) => {
                let attached = self.program::<RawTracePoint>(program)?.attach(name).map(drop);
                attached.map_err(|error| cannot_attach(program, name, &error))
            }
        }
    }

    fn load(&mut self, name: &'static str) -> Result<(), Loss> {
        if let Some(outcome) = self.loaded.get(name) {
            return outcome.clone();
        }
        let outcome = match self.ebpf.program_mut(name) {
            Some(Program::TracePoint(program)) => program.load(),
            Some(Program::RawTracePoint(program)) => program.load(),
            _ => return Err(foreign_object(name)),
        };
        let outcome = outcome.map_err(|error| cannot_load(name, &error));
        self.loaded.insert(name, outcome.clone());
        outcome
    }

    fn program<'p, P>(&'p mut self, name: &str) -> Result<&'p mut P, Loss>
    where
        &'p mut P: TryFrom<&'p mut Program>,
    {
        let program = self.ebpf.program_mut(name).and_then(|program| program.try_into().ok());
        program.ok_or_else(|| foreign_object(name))
    }
}

pub(super) fn foreign_object(program: &str) -> Loss {
    Loss {
        why: format!("the object has no program {program}"),
        remedy: "use the object that this agent was built with".into(),
    }
}

pub(super) fn cannot_load(program: &str, error: &ProgramError) -> Loss {
    let why = match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            return refused(program, io_error, &verifier_log.to_string());
        }
        error => format!("{program} cannot be loaded: {}", chain(error)),
    };
    Loss { why, remedy: REPORT.into() }
}

/// `log`: what the verifier said.
pub(super) fn refused(program: &str, error: &io::Error, log: &str) -> Loss {
    tracing::debug!(program, %log, "refused");
    Loss { why: format!("the kernel refused {program}: {error} ({})", verdict(log)), remedy: REPORT.into() }
}

fn cannot_attach(program: &str, hook: &str, error: &ProgramError) -> Loss {
    Loss {
        why: format!("{program} cannot be attached to {hook}: {}", chain(error)),
        remedy: "a kernel built with CONFIG_FTRACE_SYSCALLS and CONFIG_BPF_EVENTS".into(),
    }
}

/// The verifier's last words before its statistics.
fn verdict(log: &str) -> &str {
    const STATISTICS: [&str; 3] = ["processed ", "stack depth ", "verification time "];
    let mut lines = log.lines().rev().filter(|line| !line.trim().is_empty());
    lines.find(|line| !STATISTICS.iter().any(|start| line.starts_with(start))).unwrap_or("no verifier log")
}

/// An error with all its causes on one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_not_the_statistics_behind_it() {
        let log = "12: (85) call pc+3\ncombined stack size of 3 calls is 544. Too large\nverification time 7 usec\n\
                   stack depth 192+184+0\nprocessed 76767 insns (limit 1000000)";
        assert_eq!(verdict(log), "combined stack size of 3 calls is 544. Too large");
        assert_eq!(verdict(""), "no verifier log");
    }
}
