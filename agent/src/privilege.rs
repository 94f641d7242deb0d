//! What the agent must be allowed to do and where it must run, checked before the kernel refuses it in its own words.

use std::path::Path;

/// A capability of `capabilities(7)`: number and name.
type Capability = (u32, &'static str);

const SYS_ADMIN: u32 = 21;
/// Programs and maps; tracepoints; other users' processes; their files.
const NEEDED: [Capability; 4] =
    [(39, "CAP_BPF"), (38, "CAP_PERFMON"), (19, "CAP_SYS_PTRACE"), (2, "CAP_DAC_READ_SEARCH")];
/// `PROC_PID_INIT_INO`: the first pid namespace has this inode on every kernel.
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unprivileged {
    #[error(
        "autospan may not load programs into the kernel and look at other processes: {} missing.\n\
         Run it as root (sudo autospan …), or give it CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.\n\
         `autospan replay FILE` needs no privileges",
        missing.join(", ")
    )]
    Capabilities { missing: Vec<&'static str> },
    #[error(
        "autospan runs in a pid namespace of its own, where it cannot find the processes that the kernel reports.\n\
         Run it in the host's: docker run --pid=host …, or hostPID: true in Kubernetes"
    )]
    PidNamespace,
}

/// # Errors
/// Says what is missing and what to do.
pub fn check() -> Result<(), Unprivileged> {
    let status = procfs::process::Process::myself().and_then(|own| own.status());
    // Without /proc nothing is known: let the kernel decide.
    let missing = status.map(|status| missing(status.capeff)).unwrap_or_default();
    if !missing.is_empty() {
        return Err(Unprivileged::Capabilities { missing });
    }
    match std::fs::read_link("/proc/self/ns/pid") {
        Ok(namespace) if namespace != Path::new(INITIAL_PID_NAMESPACE) => Err(Unprivileged::PidNamespace),
        _ => Ok(()),
    }
}

fn missing(effective: u64) -> Vec<&'static str> {
    let has = |number: u32| effective & 1 << number != 0;
    // Before CAP_BPF and CAP_PERFMON (Linux 5.8), and still, CAP_SYS_ADMIN stands for both.
    let covered = |number: u32| has(number) || number >= 38 && has(SYS_ADMIN);
    NEEDED.iter().filter(|(number, _)| !covered(*number)).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_everything_and_others_nothing() {
        assert_eq!(missing(u64::MAX), [""; 0]);
        assert_eq!(missing(0).len(), NEEDED.len());
        assert_eq!(missing(1 << SYS_ADMIN | 1 << 19 | 1 << 2), [""; 0]);
        assert_eq!(missing(1 << 39 | 1 << 38), ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]);
    }

    #[test]
    fn the_messages_say_what_to_do() {
        let text = Unprivileged::Capabilities { missing: missing(0) }.to_string();
        assert!(text.contains("sudo autospan") && text.contains("CAP_BPF"));
        assert!(Unprivileged::PidNamespace.to_string().contains("--pid=host"));
    }
}
