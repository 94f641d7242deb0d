//! What is told of a command: its name and its keys. Values never are, unless the operator asks for them.

use super::arguments::{ARGUMENTS_MAX, Arguments};
use super::commands::Kind;
use crate::limits::{ATTRIBUTE_BYTES_MAX, cut_attribute};
use crate::sql::{Statement, TextPolicy};
use alloc::borrow::{Cow, ToOwned};
use alloc::string::String;
use core::fmt::Write;

/// Enough for most commands.
const TEXT_BYTES: usize = 48;
/// A script's digest, or a name that a function can have.
const PROCEDURE_BYTES_MAX: usize = 128;

pub(super) fn read(arguments: &Arguments<'_>, policy: TextPolicy) -> Statement {
    let procedure = procedure(arguments);
    Statement {
        text: (policy != TextPolicy::Off).then(|| text(arguments, policy == TextPolicy::Verbatim, procedure)),
        operation: operation(arguments),
        procedure: procedure.map(ToOwned::to_owned),
        ..Statement::default()
    }
}

/// The command's name in upper case; of a container's, with the subcommand, as Redis documents it.
fn operation(arguments: &Arguments<'_>) -> Option<Cow<'static, str>> {
    if let Some(command) = arguments.command {
        return Some(Cow::Borrowed(command.name));
    }
    let name = core::str::from_utf8(arguments.get(0)?).ok()?;
    Some(Cow::Owned(name.to_ascii_uppercase()))
}

/// The script or function that is called.
fn procedure<'a>(arguments: &Arguments<'a>) -> Option<&'a str> {
    arguments.command.filter(|command| command.kind == Kind::Script)?;
    let name = arguments.get(1).filter(|name| !name.is_empty() && name.len() <= PROCEDURE_BYTES_MAX)?;
    let is_name = name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    core::str::from_utf8(name).ok().filter(|_| is_name)
}

/// `SET user:1 ? ?`, or as it was sent.
fn text(arguments: &Arguments<'_>, verbatim: bool, procedure: Option<&str>) -> String {
    let secret = arguments.command.is_some_and(|command| matches!(command.kind, Kind::Login | Kind::Secret));
    let mut out = String::with_capacity(TEXT_BYTES);
    out.push_str(operation(arguments).as_deref().unwrap_or_default());
    let shown = arguments.count.min(ARGUMENTS_MAX as u64) as usize;
    for index in arguments.first()..shown {
        let (known, is_key) = (arguments.get(index), arguments.is_key(index));
        match known {
            Some(argument) if (verbatim && !secret) || is_key => word(&mut out, argument),
            Some(argument) if index == 1 && procedure.is_some() => word(&mut out, argument),
            None if verbatim || is_key || arguments.misses_keys() => {
                out.push_str(" ...");
                break;
            }
            _ => out.push_str(" ?"),
        }
    }
    if arguments.count > ARGUMENTS_MAX as u64 && !out.ends_with(" ...") {
        out.push_str(" ...");
    }
    cut_attribute(&mut out);
    out
}

/// As `redis-cli` takes it: in quotes where it is not one word without them.
fn word(out: &mut String, argument: &[u8]) {
    out.push(' ');
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    if let Some(text) =
        core::str::from_utf8(argument).ok().filter(|_| !argument.is_empty() && argument.iter().all(plain))
    {
        return out.push_str(text);
    }
    out.push('"');
    for character in String::from_utf8_lossy(argument.get(..ATTRIBUTE_BYTES_MAX).unwrap_or(argument)).chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control.is_ascii_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
}
