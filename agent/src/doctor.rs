//! `autospan doctor`: what this kernel and each running service allow, what is lost and why, what would bring it back.

use crate::kernel::{Capability, Kernel, LoadOptions};
use crate::privilege;
use crate::probe::{Libraries, ProbeProgram};
use crate::process::resource::Host;
use crate::process::runtime::Language;
use crate::process::sockets::Listener;
use crate::process::{Discovery, Identity, Processes, Selector};
use autospan_core::fact::Threads;
use std::fmt::Write;
use std::path::PathBuf;
use std::thread;

/// What was found.
#[derive(Debug)]
pub struct Report {
    pub text: String,
    /// Traces can be had on this machine, now, by this user.
    pub can_trace: bool,
}

/// Looks at everything. Loads the programs for a moment, to see whether the kernel takes them.
pub fn examine(bpf_object: Option<PathBuf>) -> Report {
    let (capabilities, obstacle) = kernel_side(bpf_object);
    let mut text = format!("{}\n\nKernel side\n", machine());
    if capabilities.is_empty() {
        text.push_str("  nothing works: see the end\n");
    }
    for capability in &capabilities {
        push_capability(&mut text, capability);
    }
    push_services(&mut text);
    push_verdict(&mut text, obstacle.as_deref());
    Report { text, can_trace: obstacle.is_none() }
}

/// What works, and why nothing does.
fn kernel_side(object: Option<PathBuf>) -> (Vec<Capability>, Option<String>) {
    if let Err(unprivileged) = privilege::check() {
        return (Vec::new(), Some(unprivileged.to_string()));
    }
    match Kernel::load(&LoadOptions { object, ..LoadOptions::default() }) {
        Ok(kernel) => {
            let capabilities = kernel.capabilities().to_vec();
            // The kernel waits for every CPU before it lets go of each hook: seconds on a busy machine. Nobody else has to.
            thread::spawn(move || drop(kernel));
            (capabilities, None)
        }
        Err(error) => (Vec::new(), Some(error.to_string())),
    }
}

fn machine() -> String {
    let line = |path| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    let (version, kernel) = (env!("CARGO_PKG_VERSION"), line("/proc/sys/kernel/osrelease"));
    format!("autospan {version} on Linux {kernel}, {}", std::env::consts::ARCH)
}

fn push_capability(text: &mut String, capability: &Capability) {
    // Writing to a String cannot fail.
    let _ = match &capability.loss {
        None => writeln!(text, "  works  {}", capability.name),
        Some(loss) => writeln!(
            text,
            "  LOST   {}\n         without it: {}\n         why: {}\n         remedy: {}",
            capability.name, capability.without, loss.why, loss.remedy
        ),
    };
}

fn push_services(text: &mut String) {
    let scan = Discovery::new(Selector::default()).scan();
    let mut processes = Processes::new(Host::read());
    let mut libraries = Libraries::default();
    let _ = writeln!(text, "\nServices");
    let mut seen = 0;
    for (pid, listeners) in scan.targets {
        if let Some(identity) = processes.inspect(pid) {
            libraries.mapped(pid);
            push_service(text, pid, &identity, &listeners, &libraries);
            seen += 1;
        }
    }
    if seen == 0 {
        let _ = writeln!(text, "  none: no process that can be looked at listens on a socket");
    }
}

fn push_service(text: &mut String, pid: u32, identity: &Identity, listeners: &[Listener], libraries: &Libraries) {
    let name = &identity.resource.service_name;
    let tls = Tls::of(pid, identity.runtime.language, libraries);
    let _ = writeln!(text, "  {pid:<8}{name:<24}{:<16}{}", identity.runtime.to_string(), places(listeners));
    let _ = writeln!(
        text,
        "          traced: HTTP/1.0 and 1.1 over TCP and unix sockets, {}; {}",
        if tls.read.is_empty() {
            "in the clear".to_owned()
        } else {
            format!("in the clear and inside TLS ({})", tls.read.join(", "))
        },
        tasks(pid, identity, libraries).unwrap_or_else(|| parents(identity))
    );
    for loss in &tls.lost {
        let _ = writeln!(text, "          not traced: TLS connections: {loss}");
    }
}

fn places(listeners: &[Listener]) -> String {
    let mut places: Vec<String> = listeners
        .iter()
        .map(|listener| match listener {
            Listener::Tcp(port) => format!(":{port}"),
            Listener::Unix => "unix".to_owned(),
        })
        .collect();
    places.sort_unstable();
    places.dedup();
    places.join(" ")
}

/// How outgoing calls find the request that they were made for, where the process shows more than its threads.
fn tasks(pid: u32, identity: &Identity, libraries: &Libraries) -> Option<&'static str> {
    let has = |program| {
        let probes = libraries.of(pid).flat_map(|recognised| &recognised.probes);
        probes.into_iter().any(|probe| probe.program == program)
    };
    if has(ProbeProgram::GoNewprocReturn) {
        Some("calls by the goroutine of their request")
    } else if has(ProbeProgram::TurnEnded) || has(ProbeProgram::NodeChecks) {
        Some("calls by the turn of the event loop that reads their request")
    } else {
        let python = libraries.python(pid)?;
        match (identity.runtime.has_greenlets, python.datastack) {
            (false, _) => Some("calls by the thread or the asyncio context of their request"),
            (true, 1..) => Some("calls by the greenlet of their request"),
            (true, 0) => None,
        }
    }
}

/// How they do elsewhere.
fn parents(identity: &Identity) -> &'static str {
    if identity.runtime.has_greenlets {
        return "calls have a parent where one request was in flight: greenlets share threads, and this version's are not told apart";
    }
    match identity.runtime.threads() {
        Threads::Owned => "calls by the thread of their request",
        Threads::Multiplexed => {
            "calls have a parent where one request was in flight: goroutines move between threads, and these cannot be followed"
        }
        Threads::Unproven => {
            "calls have a parent where one request was in flight: how this program uses its threads is not known"
        }
    }
}

/// What the process speaks TLS with, and whether that can be read.
#[derive(Debug, Default)]
struct Tls {
    read: Vec<String>,
    lost: Vec<String>,
}

impl Tls {
    fn of(pid: u32, language: Language, libraries: &Libraries) -> Self {
        let mut tls = Self::default();
        for recognised in libraries.of(pid) {
            tls.read.extend(recognised.what.iter().map(ToString::to_string));
            tls.lost.extend(recognised.loss.clone());
        }
        if language == Language::Java {
            tls.lost.push("JSSE, Java's own, has no functions to probe".to_owned());
        }
        tls
    }
}

fn push_verdict(text: &mut String, obstacle: Option<&str>) {
    let _ = match obstacle {
        None => writeln!(text, "\nTracing works here."),
        Some(obstacle) => writeln!(text, "\nTracing CANNOT work here:\n{obstacle}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Loss;

    #[test]
    fn losses_come_with_their_remedy() {
        let mut text = String::new();
        push_capability(&mut text, &Capability { name: "reads", without: "nothing is seen", loss: None });
        let loss = Loss { why: "no tracefs".to_owned(), remedy: "mount it".to_owned() };
        push_capability(&mut text, &Capability { name: "writes", without: "half is seen", loss: Some(loss) });
        assert_eq!(
            text,
            "  works  reads\n  LOST   writes\n         without it: half is seen\n         why: no tracefs\n         remedy: \
             mount it\n"
        );
    }

    #[test]
    fn services_are_listed_with_what_is_traced() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let mut processes = Processes::new(Host::default());
        let own = processes.inspect(std::process::id()).expect("this process");
        let mut text = String::new();
        push_service(
            &mut text,
            std::process::id(),
            &own,
            &[Listener::Tcp(port), Listener::Unix],
            &Libraries::default(),
        );
        assert!(text.contains(&format!(":{port} unix")) && text.contains("traced: HTTP/1.0 and 1.1"), "{text}");
    }

    #[test]
    fn the_verdict_names_the_obstacle() {
        let mut text = String::new();
        push_verdict(&mut text, Some("no root"));
        assert!(text.contains("CANNOT") && text.contains("no root"));
    }
}
