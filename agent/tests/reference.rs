//! The tables under `docs/reference` are what the code says. `cargo xtask docs` rewrites them.

use autospan::cli::Cli;
use autospan::export;
use clap::{Arg, Command, CommandFactory};
use std::fmt::Write;
use std::path::Path;

const GENERATED: &str = "<!-- Written by `cargo xtask docs`; changes by hand are lost. -->\n\n";

fn check(name: &str, text: &str) {
    let text = format!("{GENERATED}{text}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &text).expect("docs/reference can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, text, "docs/reference/{name} is not what the code says: run `cargo xtask docs`");
}

/// Text inside a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

// === counters ===

#[test]
fn counters() {
    let mut text = String::from(
        "# Counters\n\n`--stats` prints them all. What is lost or dropped begins with `lost.` or `dropped.`.\n",
    );
    let kernel = autospan_abi::Counter::ALL.iter().map(|counter| (counter.name(), counter.meaning()));
    let engine = autospan_core::counter::Counter::ALL.iter().map(|counter| (counter.name(), counter.meaning()));
    let export = export::Counter::ALL.iter().map(|counter| (counter.name(), counter.meaning()));
    counter_table(&mut text, "Kernel side", kernel);
    counter_table(&mut text, "Engine", engine);
    counter_table(&mut text, "Export", export);
    check("counters.md", &text);
}

fn counter_table<'a>(text: &mut String, heading: &str, counters: impl Iterator<Item = (&'a str, &'a str)>) {
    let _ = write!(text, "\n## {heading}\n\n| counter | what it counts |\n|---|---|\n");
    for (name, meaning) in counters {
        let _ = writeln!(text, "| `{name}` | {} |", cell(meaning));
    }
}

#[test]
fn counter_names_are_unique() {
    let kernel = autospan_abi::Counter::ALL.iter().map(|counter| counter.name());
    let engine = autospan_core::counter::Counter::ALL.iter().map(|counter| counter.name());
    let export = export::Counter::ALL.iter().map(|counter| counter.name());
    let mut names: Vec<_> = kernel.chain(engine).chain(export).collect();
    names.sort_unstable();
    let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

// === command line ===

#[test]
fn command_line() {
    let mut command = Cli::command();
    command.build();
    let mut text = String::from("# Command line\n");
    section(&mut text, &command);
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        section(&mut text, sub);
    }
    if let Some(after) = command.get_after_help() {
        let _ = write!(text, "\n## Notes\n\n```text\n{after}\n```\n");
    }
    check("command-line.md", &text);
}

fn section(text: &mut String, command: &Command) {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let _ = write!(text, "\n## `{name}`\n\n{about}\n\n| argument | |\n|---|---|\n");
    let shown = |arg: &&Arg| !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version");
    for arg in command.get_arguments().filter(shown) {
        let _ = writeln!(text, "| `{}` | {} |", usage(arg), cell(&explanation(arg)));
    }
}

/// `--port <PORT>`, or `<FILE>`.
fn usage(arg: &Arg) -> String {
    let values = arg.get_value_names().unwrap_or_default();
    let value = values.iter().map(|name| format!("<{name}>")).collect::<Vec<_>>().join(" ");
    match arg.get_long() {
        Some(long) if arg.get_action().takes_values() && arg.is_require_equals_set() => format!("--{long}[={value}]"),
        Some(long) if arg.get_action().takes_values() => format!("--{long} {value}"),
        Some(long) => format!("--{long}"),
        None => value,
    }
}

fn explanation(arg: &Arg) -> String {
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<_> = arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if arg.get_action().takes_values() && !values.is_empty() {
        let _ = write!(text, "; one of {}", values.join(", "));
    }
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| format!("`{}`", value.display())).collect();
    if arg.get_action().takes_values() && !defaults.is_empty() {
        let _ = write!(text, "; default {}", defaults.join(" "));
    }
    text
}

// === attributes ===

/// The table of attributes is written by hand; none that the code sets may be missing.
#[test]
fn attributes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = std::fs::read_to_string(root.join("../docs/reference/attributes.md")).expect("the table is there");
    let sources = [
        "core/src/semconv/database.rs",
        "core/src/semconv/http.rs",
        "core/src/semconv/network.rs",
        "core/src/engine/context.rs",
        "src/tracer.rs",
        "src/process/resource.rs",
    ];
    let sources = sources.map(|path| std::fs::read_to_string(root.join(path)).expect(path));
    let mut named: Vec<_> = sources.iter().flat_map(|source| attribute_names(source)).collect();
    named.dedup();
    assert!(named.len() > 20, "{named:?}");
    named.retain(|name| !table.contains(&format!("`{name}`")));
    assert!(named.is_empty(), "docs/reference/attributes.md does not know {named:?}");
}

/// String literals that look like the name of an attribute and stand where one is set.
fn attribute_names(source: &str) -> Vec<&str> {
    let before_tests = source.split("#[cfg(test)]").next().unwrap_or_default();
    let literals = before_tests.split('"').skip(1).step_by(2);
    let is_name =
        |text: &&str| text.contains('.') && text.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'.' | b'_'));
    literals.filter(is_name).collect()
}
