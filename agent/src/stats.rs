//! What `--stats` prints: every counter, one per line, a name and a number.

use crate::export::ExportCounters;
use autospan_core::engine::Engine;
use std::fmt::Write;

/// A named figure.
pub type Figure = (String, u64);

/// Spans about export requests of this agent, which are left out.
pub const OWN_EXPORTS: &str = "spans.own_export";

/// Counters of the engine and the sizes of its tables.
pub fn engine_figures(engine: &Engine) -> Vec<Figure> {
    let counters = engine.counters().map(|(counter, value)| (counter.name().to_owned(), value));
    let tables = engine.table_sizes().into_iter().map(|(name, size)| (format!("engine.table.{name}"), size as u64));
    counters.chain(tables).collect()
}

pub fn export_figures(counters: &ExportCounters) -> Vec<Figure> {
    counters.iter().map(|(counter, value)| (counter.name().to_owned(), value)).collect()
}

/// Memory of this process.
pub fn own_figures() -> Vec<Figure> {
    let status = procfs::process::Process::myself().and_then(|own| own.status());
    let resident = status.ok().and_then(|status| status.vmrss).unwrap_or(0);
    vec![("agent.resident_bytes".to_owned(), resident * 1024)]
}

/// Everything that was lost, by name, where something was.
pub fn losses(figures: &[Figure]) -> Vec<Figure> {
    let is_loss = |name: &str| name.starts_with("lost.") || name.starts_with("dropped.");
    figures.iter().filter(|(name, value)| *value > 0 && is_loss(name)).cloned().collect()
}

/// Lines of a name and a number, under a heading.
pub fn table(heading: &str, figures: &[Figure]) -> String {
    let width = figures.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = format!("{heading}\n");
    for (name, value) in figures {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<width$} {value}");
    }
    text
}

/// `12 spans, nothing lost`, or what was lost.
pub fn summary(spans: u64, figures: &[Figure]) -> String {
    let losses = losses(figures);
    let total: u64 = losses.iter().map(|(_, value)| value).sum();
    if total == 0 {
        return format!("{spans} spans, nothing lost");
    }
    let each: Vec<String> = losses.iter().map(|(name, value)| format!("{name} {value}")).collect();
    format!("{spans} spans; lost or dropped: {}", each.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(pairs: &[(&str, u64)]) -> Vec<Figure> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn each_counter_has_a_line() {
        let text = table("counters of autospan", &figures(&[("spans", 3), ("lost.ring_full", 0)]));
        assert_eq!(text, "counters of autospan\n  spans          3\n  lost.ring_full 0\n");
    }

    #[test]
    fn summaries_name_what_was_lost() {
        assert_eq!(summary(3, &figures(&[("spans", 3), ("lost.ring_full", 0)])), "3 spans, nothing lost");
        assert_eq!(
            summary(3, &figures(&[("lost.ring_full", 2), ("dropped.queue_full", 1)])),
            "3 spans; lost or dropped: lost.ring_full 2, dropped.queue_full 1"
        );
    }

    #[test]
    fn this_process_has_a_size() {
        assert!(own_figures()[0].1 > 100_000);
    }
}
