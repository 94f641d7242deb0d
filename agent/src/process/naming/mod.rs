//! What a service is called when its operator did not say: the script or module that its command line runs, else its
//! executable. Pure functions of a [`Launch`].

mod java;
mod javascript;
mod other;
mod python;

use std::path::{Component, Path};

/// Bytes of a service name.
const NAME_BYTES_MAX: usize = 255;

/// How a process was started.
#[derive(Clone, Copy)]
pub struct Launch<'a> {
    /// The file that runs, as the process sees it.
    pub executable: &'a Path,
    /// The command line, `args[0]` included; the process may have rewritten it.
    pub args: &'a [String],
    pub cwd: &'a Path,
    /// The environment's `FLASK_APP`.
    pub flask_app: Option<&'a str>,
    /// Name in the `package.json` of a directory.
    pub package_name: &'a dyn Fn(&Path) -> Option<String>,
}

impl std::fmt::Debug for Launch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Launch").field("executable", &self.executable).finish_non_exhaustive()
    }
}

/// The service's name; never empty, no control characters, at most `NAME_BYTES_MAX` bytes.
pub fn service_name(launch: &Launch<'_>) -> String {
    let executable = launch.executable_name();
    let found = match Family::of(executable) {
        Family::Python => python::name(launch),
        Family::JavaScript => javascript::name(launch),
        Family::Java => java::name(launch),
        Family::Ruby => other::ruby(launch),
        Family::Php => other::php(launch),
        Family::Dotnet => other::dotnet(launch),
        Family::Native => other::native(launch),
    };
    let name = printable(&found.unwrap_or_else(|| executable.to_owned()));
    if name.is_empty() { "unknown_service".to_owned() } else { name }
}

/// Who reads the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Python,
    JavaScript,
    Java,
    Ruby,
    Php,
    Dotnet,
    Native,
}

impl Family {
    fn of(executable: &str) -> Self {
        let versioned = |name: &str| {
            executable.strip_prefix(name).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
        };
        match executable {
            _ if versioned("python") || versioned("pypy") || executable == "uwsgi" => Self::Python,
            "node" | "nodejs" | "bun" | "deno" => Self::JavaScript,
            "java" => Self::Java,
            _ if versioned("ruby") => Self::Ruby,
            _ if versioned("php") || versioned("php-fpm") => Self::Php,
            "dotnet" => Self::Dotnet,
            _ => Self::Native,
        }
    }
}

// === impl Launch ===

impl<'a> Launch<'a> {
    fn executable_name(&self) -> &'a str {
        self.executable.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Everything after `args[0]`.
    fn operands(&self) -> &'a [String] {
        self.args.get(1..).unwrap_or_default()
    }

    /// The only argument, where the process rewrote its command line into a title.
    fn title(&self) -> Option<&'a str> {
        match self.args {
            [title] => Some(title.trim()),
            _ => None,
        }
    }

    /// The name of a script: its stem, or its directory's name where the stem says nothing.
    fn script_name(&self, script: &str) -> String {
        let script = self.cwd.join(script);
        let stem = stem(&script);
        if is_generic(stem) {
            self.directory_name(script.parent()).unwrap_or_else(|| stem.to_owned())
        } else {
            stem.to_owned()
        }
    }

    /// The name of a directory that says something: `directory`'s own, or its parent's where that is generic.
    fn directory_name(&self, directory: Option<&Path>) -> Option<String> {
        let candidates = directory?.ancestors().take(3);
        let named = candidates.take_while(|path| !is_home(path)).filter_map(|path| path.file_name()?.to_str());
        named.into_iter().find(|name| !is_generic(name) && !is_generic_directory(name)).map(str::to_owned)
    }

    fn working_directory_name(&self) -> Option<String> {
        self.directory_name(Some(self.cwd))
    }
}

// === parts of names ===

/// File name without its last extension; `""` for paths that have none.
fn stem(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
}

/// Names that every second service has.
fn is_generic(name: &str) -> bool {
    const GENERIC: [&str; 17] = [
        "",
        "app",
        "application",
        "main",
        "__main__",
        "server",
        "index",
        "wsgi",
        "asgi",
        "manage",
        "run",
        "start",
        "serve",
        "service",
        "start-server",
        "bootstrap",
        "a.out",
    ];
    GENERIC.contains(&name)
}

fn is_generic_directory(name: &str) -> bool {
    const GENERIC: [&str; 19] = [
        "src",
        "dist",
        "build",
        "lib",
        "bin",
        "code",
        "srv",
        "www",
        "html",
        "public",
        "web",
        "usr",
        "opt",
        "var",
        "tmp",
        "root",
        "home",
        "workspace",
        "target",
    ];
    GENERIC.contains(&name)
}

/// `/home/<user>`: a person, not a service.
fn is_home(path: &Path) -> bool {
    let mut components = path.components().skip_while(|component| *component == Component::RootDir);
    components.next() == Some(Component::Normal("home".as_ref())) && components.count() <= 1
}

/// Index of the first argument that is neither an option nor the value of one. `takes_value` tells of an option whether
/// the next argument belongs to it.
fn first_operand(args: &[String], takes_value: impl Fn(&str) -> bool) -> Option<usize> {
    let mut at = 0;
    loop {
        match args.get(at)?.as_str() {
            "--" => return (at + 1 < args.len()).then_some(at + 1),
            option if option.len() > 1 && option.starts_with('-') => at += 1 + usize::from(takes_value(option)),
            _ => return Some(at),
        }
    }
}

/// Value of the first of `names` that is given, as `--name value` or `--name=value`.
fn option_value<'a>(args: &'a [String], names: &[&str]) -> Option<&'a str> {
    args.iter().enumerate().find_map(|(at, arg)| {
        let name = names.iter().find(|name| arg.starts_with(**name))?;
        match &arg[name.len()..] {
            "" => args.get(at + 1).map(String::as_str),
            rest => rest.strip_prefix('='),
        }
    })
}

fn printable(name: &str) -> String {
    let clean = name.trim().chars().filter(|c| !c.is_control());
    let mut bytes = 0;
    let fits = clean.take_while(|c| {
        bytes += c.len_utf8();
        bytes <= NAME_BYTES_MAX
    });
    fits.collect()
}

#[cfg(test)]
mod tests;
