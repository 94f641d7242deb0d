//! The Java virtual machine.

use super::{Launch, first_operand, option_value, stem};
use std::path::Path;

pub(super) fn name(launch: &Launch<'_>) -> Option<String> {
    let args = launch.operands();
    declared(args).or_else(|| jar(launch, args)).or_else(|| module(args)).or_else(|| main_class(args))
}

/// Names that operators put on the command line for other tools.
fn declared(args: &[String]) -> Option<String> {
    let name = option_value(args, &["-Dotel.service.name", "-Dspring.application.name"])?;
    (!name.is_empty()).then(|| name.to_owned())
}

fn jar(launch: &Launch<'_>, args: &[String]) -> Option<String> {
    let jar = option_value(args, &["-jar"])?;
    let versionless = without_version(stem(Path::new(jar)));
    Some(launch.script_name(&Path::new(jar).with_file_name(format!("{versionless}.jar")).to_string_lossy()))
}

/// `orders-1.4.2-SNAPSHOT` is `orders`: a release must not become another service.
fn without_version(stem: &str) -> &str {
    let version = stem.match_indices('-').find(|(at, _)| stem[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
    version.map_or(stem, |(at, _)| &stem[..at])
}

/// `-m orders/com.example.Main`.
fn module(args: &[String]) -> Option<String> {
    let module = option_value(args, &["--module", "-m"])?;
    module.split('/').next().map(str::to_owned)
}

fn main_class(args: &[String]) -> Option<String> {
    let class = &args[first_operand(args, takes_value)?];
    class.rsplit('.').next().map(str::to_owned)
}

fn takes_value(option: &str) -> bool {
    matches!(
        option,
        "-cp"
            | "-classpath"
            | "--class-path"
            | "-p"
            | "--module-path"
            | "--add-opens"
            | "--add-exports"
            | "--add-modules"
            | "--add-reads"
            | "--upgrade-module-path"
    )
}
