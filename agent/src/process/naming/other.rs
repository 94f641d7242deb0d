//! Ruby, PHP, .NET, and programs that are their own name.

use super::{Launch, first_operand, is_generic, stem};
use std::path::Path;

pub(super) fn ruby(launch: &Launch<'_>) -> Option<String> {
    if let Some(title) = launch.title() {
        return puma_tag(title).or_else(|| launch.working_directory_name());
    }
    let args = launch.operands();
    let script = &args[first_operand(args, |option| matches!(option, "-I" | "-r" | "-C" | "-E"))?];
    match stem(Path::new(script)) {
        "puma" | "rails" | "rackup" | "unicorn" | "thin" | "sidekiq" | "bundle" => launch.working_directory_name(),
        _ => Some(launch.script_name(script)),
    }
}

/// `puma 6.4.0 (tcp://0.0.0.0:9292) [orders]`, `puma: cluster worker 0: 123 [orders]`: the tag is the directory's name
/// unless the operator chose one.
fn puma_tag(title: &str) -> Option<String> {
    let tag = title.strip_prefix("puma")?.rsplit_once('[')?.1.strip_suffix(']')?;
    (!tag.is_empty()).then(|| tag.to_owned())
}

pub(super) fn php(launch: &Launch<'_>) -> Option<String> {
    if launch.executable_name().starts_with("php-fpm") {
        return Some("php-fpm".to_owned());
    }
    let args = launch.operands();
    let script = first_operand(args, |option| matches!(option, "-d" | "-c" | "-S" | "-t" | "-z")).map(|at| &args[at]);
    match script.map(|script| (script, stem(Path::new(script)))) {
        Some((script, stem)) if stem != "artisan" => Some(launch.script_name(script)),
        _ => Some(launch.working_directory_name().unwrap_or_else(|| "php".to_owned())),
    }
}

pub(super) fn dotnet(launch: &Launch<'_>) -> Option<String> {
    let args = launch.operands();
    let assembly = args.iter().find(|arg| arg.ends_with(".dll"))?;
    Some(launch.script_name(assembly))
}

/// A program of its own. Where its name says nothing, the directory that it was started in may.
pub(super) fn native(launch: &Launch<'_>) -> Option<String> {
    let name = launch.executable_name();
    if is_generic(name) { launch.working_directory_name() } else { None }
}
