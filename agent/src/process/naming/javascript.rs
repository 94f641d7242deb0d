//! Node, Bun and Deno.

use super::{Launch, first_operand, is_generic, stem};
use std::path::Path;

/// Directories above a script that are searched for a `package.json`.
const PACKAGE_LEVELS: usize = 4;

pub(super) fn name(launch: &Launch<'_>) -> Option<String> {
    let args = launch.operands();
    // No script: the process set its title, or runs code from its command line.
    let Some(script) = script(args) else { return (launch.package_name)(launch.cwd).map(unscoped) };
    let path = launch.cwd.join(script);
    let stem = stem(&path);
    if is_tool(&path) {
        return Some((launch.package_name)(launch.cwd).map_or_else(|| launch.script_name(script), unscoped));
    }
    if is_generic(stem) {
        return Some(package_above(launch, &path).map_or_else(|| launch.script_name(script), unscoped));
    }
    Some(stem.to_owned())
}

fn script(args: &[String]) -> Option<&str> {
    if args.iter().take_while(|arg| arg.starts_with('-')).any(|arg| matches!(arg.as_str(), "-e" | "--eval" | "-p")) {
        return None;
    }
    let first = first_operand(args, takes_value)?;
    match args[first].as_str() {
        // `bun run x.ts`, `deno run -A x.ts`, `deno serve x.ts`.
        "run" | "serve" => {
            let rest = &args[first + 1..];
            first_operand(rest, takes_value).map(|at| rest[at].as_str())
        }
        script => Some(script),
    }
}

fn takes_value(option: &str) -> bool {
    matches!(
        option,
        "-r" | "--require" | "--import" | "--loader" | "--experimental-loader" | "-C" | "--conditions" | "--title"
    )
}

/// A program of a dependency (`node_modules/.bin/next`): the service is what it was started for.
fn is_tool(script: &Path) -> bool {
    script.components().any(|component| component.as_os_str() == "node_modules")
}

fn package_above(launch: &Launch<'_>, script: &Path) -> Option<String> {
    script.ancestors().skip(1).take(PACKAGE_LEVELS).find_map(|directory| (launch.package_name)(directory))
}

/// `@shop/orders` is `orders` to the people who run it.
fn unscoped(package: String) -> String {
    package.rsplit_once('/').map_or(package.clone(), |(_, name)| name.to_owned())
}
