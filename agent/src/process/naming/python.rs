//! CPython, its application servers and task runners.

use super::{Launch, is_generic, option_value};
use std::path::Path;

/// Programs that run an application named on their command line.
const RUNNERS: [&str; 13] = [
    "gunicorn",
    "uvicorn",
    "hypercorn",
    "flask",
    "celery",
    "daphne",
    "waitress",
    "waitress-serve",
    "granian",
    "fastapi",
    "uwsgi",
    "quart",
    "hupper",
];

pub(super) fn name(launch: &Launch<'_>) -> Option<String> {
    if let Some(title) = launch.title() {
        return titled(launch, title).or_else(|| Some(launch.executable_name().to_owned()));
    }
    let args = launch.operands();
    if launch.executable_name() == "uwsgi" {
        return Some(application(launch, "uwsgi", args));
    }
    match target(args) {
        Some(Target::Module(module, rest)) if RUNNERS.contains(&module) => Some(application(launch, module, rest)),
        Some(Target::Module(module, _)) => Some(module_name(launch, module)),
        Some(Target::Script(script, rest)) => Some(script_name(launch, script, rest)),
        // The code after `-c`, or an interactive session: nothing there is a name.
        None => Some("python".to_owned()),
    }
}

/// What the interpreter was told to run, and the arguments for it.
enum Target<'a> {
    Module(&'a str, &'a [String]),
    Script(&'a str, &'a [String]),
}

fn target(args: &[String]) -> Option<Target<'_>> {
    let mut at = 0;
    while let Some(arg) = args.get(at) {
        match arg.as_str() {
            "-c" | "-" => return None,
            "-m" => return Some(Target::Module(args.get(at + 1)?, args.get(at + 2..).unwrap_or_default())),
            "-W" | "-X" | "--check-hash-based-pycs" => at += 2,
            module if module.starts_with("-m") => return Some(Target::Module(&module[2..], &args[at + 1..])),
            // Options in one word, such as `-uOm`: the module may follow.
            cluster if is_cluster_with(cluster, 'm') => {
                return Some(Target::Module(args.get(at + 1)?, args.get(at + 2..).unwrap_or_default()));
            }
            cluster if is_cluster_with(cluster, 'c') => return None,
            option if option.starts_with('-') => at += 1,
            script => return Some(Target::Script(script, &args[at + 1..])),
        }
    }
    None
}

/// `-uBm`: single-letter options of which the last is `last`.
fn is_cluster_with(arg: &str, last: char) -> bool {
    arg.strip_prefix('-').is_some_and(|letters| {
        letters.ends_with(last) && letters.len() <= 8 && letters.bytes().all(|b| b.is_ascii_alphabetic())
    })
}

fn script_name(launch: &Launch<'_>, script: &str, rest: &[String]) -> String {
    let stem = super::stem(Path::new(script));
    if RUNNERS.contains(&stem) { application(launch, stem, rest) } else { launch.script_name(script) }
}

/// `gunicorn: master [orders:app]`, as `setproctitle` writes it.
fn titled(launch: &Launch<'_>, title: &str) -> Option<String> {
    let bracketed = title.strip_prefix("gunicorn: ")?.split_once('[')?.1.strip_suffix(']')?;
    Some(reference_name(launch, launch.cwd, bracketed))
}

/// The application that a runner was given, else the working directory's name, else the runner's.
fn application(launch: &Launch<'_>, runner: &str, args: &[String]) -> String {
    let directory = option_value(args, &["--chdir", "--app-dir"]).map(|directory| launch.cwd.join(directory));
    let directory = directory.as_deref().unwrap_or(launch.cwd);
    let reference = reference(launch, runner, args).map(|reference| reference_name(launch, directory, reference));
    reference.or_else(|| launch.directory_name(Some(directory))).unwrap_or_else(|| runner.to_owned())
}

fn reference<'a>(launch: &Launch<'a>, runner: &str, args: &'a [String]) -> Option<&'a str> {
    let named = match runner {
        "flask" | "celery" | "quart" => option_value(args, &["--app", "-A"]).or(launch.flask_app),
        "uwsgi" => option_value(args, &["--module", "-w", "--wsgi-file", "--wsgi", "--file"]),
        "waitress" | "waitress-serve" | "uvicorn" => option_value(args, &["--app", "--call"]),
        "fastapi" => args.iter().map(String::as_str).find(|arg| has_extension(arg)),
        _ => None,
    };
    named.or_else(|| args.iter().map(String::as_str).find(|arg| is_reference(arg))).or_else(|| match runner {
        // `gunicorn OPTIONS… orders`: only the last argument can be told from an option's value.
        "gunicorn" | "uvicorn" => args.last().map(String::as_str).filter(|arg| is_module(arg) && !has_extension(arg)),
        _ => None,
    })
}

/// `pkg.mod:app`, `pkg.mod:create_app()`.
fn is_reference(arg: &str) -> bool {
    arg.split_once(':').is_some_and(|(module, object)| {
        let object = object.split('(').next().unwrap_or_default();
        is_module(module) && is_module(object)
    })
}

fn is_module(text: &str) -> bool {
    let is_name = |part: &str| {
        part.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    text.split('.').all(is_name)
}

fn has_extension(arg: &str) -> bool {
    Path::new(arg).extension().is_some_and(|extension| extension == "py")
}

/// The module (or file) part of what names an application.
fn reference_name(launch: &Launch<'_>, directory: &Path, reference: &str) -> String {
    let module = reference.split(':').next().unwrap_or(reference);
    if module.contains('/') || has_extension(module) {
        return launch.script_name(&directory.join(module).to_string_lossy());
    }
    named_module(module).or_else(|| launch.directory_name(Some(directory))).unwrap_or_else(|| module.to_owned())
}

fn module_name(launch: &Launch<'_>, module: &str) -> String {
    named_module(module).or_else(|| launch.working_directory_name()).unwrap_or_else(|| module.to_owned())
}

/// The module without trailing parts that say nothing: `shop.orders.wsgi` is `shop.orders`. The standard library's
/// `http.server` is a name as it stands.
fn named_module(module: &str) -> Option<String> {
    let mut name = module;
    while name != "http.server" && is_generic(name.rsplit('.').next().unwrap_or(name)) {
        name = name.rsplit_once('.')?.0;
    }
    Some(name.to_owned())
}
