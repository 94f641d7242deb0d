//! The first lines a user sees.

use crate::export::{ExportConfig, SinkConfig};
use crate::process::sockets::Listener;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Services named in the greeting; the rest is counted.
const SHOWN_MAX: usize = 12;
/// Ports named per service.
const PORTS_MAX: usize = 4;

/// What is watched, by service.
#[derive(Debug, Default)]
pub(super) struct Watched {
    services: BTreeMap<String, BTreeSet<u16>>,
    processes: usize,
}

// === impl Watched ===

impl Watched {
    pub(super) fn add(&mut self, service: &str, listeners: &[Listener]) {
        let ports = self.services.entry(service.to_owned()).or_default();
        ports.extend(listeners.iter().filter_map(|listener| listener.port()));
        self.processes += 1;
    }

    /// `orders :8000, nginx :80 :443 and 3 more`
    fn names(&self) -> String {
        let mut text = String::new();
        for (name, ports) in self.services.iter().take(SHOWN_MAX) {
            let separator = if text.is_empty() { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = write!(text, "{separator}{name}");
            for port in ports.iter().take(PORTS_MAX) {
                let _ = write!(text, " :{port}");
            }
        }
        match self.services.len().saturating_sub(SHOWN_MAX) {
            0 => text,
            more => format!("{text} and {more} more"),
        }
    }
}

/// Says that tracing works and, to people at a terminal, what is watched and what comes next.
pub(super) fn greet(watched: &Watched, export: Option<&ExportConfig>) {
    let (services, processes) = (watched.services.len(), watched.processes);
    tracing::info!(services, processes, "tracing started");
    if matches!(export.map(|export| &export.sink), Some(SinkConfig::Terminal { .. })) {
        eprint!("{}", text(watched));
    }
}

fn text(watched: &Watched) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let what = match watched.services.len() {
        0 => "no service runs yet; they are found as they start".to_owned(),
        1 => format!("watching 1 service: {}", watched.names()),
        n => format!("watching {n} services: {}", watched.names()),
    };
    format!(
        "autospan {version}: {what}\nTraces follow as requests come in. To export them, set OTEL_EXPORTER_OTLP_ENDPOINT. \
         Ctrl-C ends.\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_named_with_their_ports() {
        let mut watched = Watched::default();
        assert!(text(&watched).contains("no service runs yet"));
        watched.add("orders", &[Listener::Tcp(8000), Listener::Unix]);
        watched.add("orders", &[Listener::Tcp(8000)]);
        watched.add("cart", &[]);
        assert!(text(&watched).contains("watching 2 services: cart, orders :8000\n"));
        for n in 0..20 {
            watched.add(&format!("z{n:02}"), &[]);
        }
        assert!(text(&watched).contains(" and 10 more\n"));
    }
}
