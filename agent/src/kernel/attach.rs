//! Loading and attaching what the kernel calls by itself, each program on its own: a refusal costs one capability, and the
//! rest goes on.

use std::collections::HashMap;
use std::io;

use aya::Ebpf;
use aya::programs::{Program, ProgramError, RawTracePoint, TracePoint};

use super::capability::{Capability, Loss};
use super::program::{Attachment, Hook, PLANS, Plan};
use super::verify::side_by_side;

const REPORT: &str = "a newer kernel, or a report of this line with the kernel's version";

/// Loads and attaches what the plans name.
#[derive(Debug)]
pub(crate) struct Attacher<'a> {
    ebpf: &'a mut Ebpf,
    /// Outcome of loading each program.
    loaded: HashMap<&'static str, Result<(), Loss>>,
}

impl<'a> Attacher<'a> {
    /// Loads what the plans need. `offsets`: why the kernel's structs are unknown, if they are.
    pub(crate) fn new(ebpf: &'a mut Ebpf, offsets: Option<&Loss>) -> Self {
        let plans = || PLANS.iter().filter(|plan| offsets.is_none() || !plan.needs_offsets);
        let attachments = || plans().flat_map(|plan| plan.preferred.iter().chain(plan.attachments));
        let named = |name| attachments().find_map(|(program, _)| (*program == name).then_some(*program));
        let programs = ebpf.programs_mut().filter_map(|(name, program)| Some((named(name)?, program)));
        let loaded = side_by_side(programs, |(name, program)| (name, load(name, program)));
        Self { ebpf, loaded: loaded.into_iter().collect() }
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
        self.loaded.get(program).cloned().unwrap_or_else(|| Err(foreign_object(program)))?;
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

    fn program<'p, P>(&'p mut self, name: &str) -> Result<&'p mut P, Loss>
    where
        &'p mut P: TryFrom<&'p mut Program>,
    {
        let program = self.ebpf.program_mut(name).and_then(|program| program.try_into().ok());
        program.ok_or_else(|| foreign_object(name))
    }
}

fn load(name: &str, program: &mut Program) -> Result<(), Loss> {
    let outcome = match program {
        Program::TracePoint(program) => program.load(),
        Program::RawTracePoint(program) => program.load(),
        _ => return Err(foreign_object(name)),
    };
    outcome.map_err(|error| cannot_load(name, &error))
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
