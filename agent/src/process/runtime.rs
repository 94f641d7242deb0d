//! What runs a process: recognised from its executable, once per file. The files are untrusted: every read is bounded,
//! and one that lies about itself is `Unknown`.

use super::snapshot::Snapshot;
use crate::elf::{Elf, Source};
use autospan_core::fact::Threads;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::ops::ControlFlow::{Break, Continue};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Files remembered.
const FILES_MAX: usize = 4_096;
/// Bytes of `/proc/<pid>/maps` that are read.
const MAPS_BYTES_MAX: u64 = 4 << 20;
const VERSION_BYTES_MAX: usize = 64;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    CPython,
    NodeJs,
    Go,
    Java,
    Ruby,
    Php,
    Nginx,
    #[default]
    Unknown,
}

/// A language runtime, with its version where that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runtime {
    pub language: Language,
    pub version: Option<String>,
    /// Its threads switch between requests by themselves, whatever the language does otherwise: gevent.
    pub has_greenlets: bool,
}

impl Language {
    /// Value of `process.runtime.name`, where the runtime has one.
    pub fn runtime_name(self) -> Option<&'static str> {
        Some(match self {
            Self::CPython => "cpython",
            Self::NodeJs => "nodejs",
            Self::Go => "go",
            Self::Java => "java",
            Self::Ruby => "ruby",
            Self::Php => "php",
            Self::Nginx | Self::Unknown => return None,
        })
    }

    /// How this runtime maps requests to threads.
    pub fn threads(self) -> Threads {
        match self {
            Self::CPython | Self::NodeJs | Self::Ruby | Self::Php | Self::Nginx => Threads::Owned,
            Self::Go => Threads::Multiplexed,
            Self::Java | Self::Unknown => Threads::Unproven,
        }
    }
}

impl Runtime {
    fn new(language: Language, version: Option<String>) -> Self {
        Self { language, version, has_greenlets: false }
    }

    /// How it maps requests to threads.
    pub fn threads(&self) -> Threads {
        if self.has_greenlets { Threads::Multiplexed } else { self.language.threads() }
    }
}

impl std::fmt::Display for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.language.runtime_name().unwrap_or(match self.language {
            Language::Nginx => "nginx",
            _ => "native",
        });
        match &self.version {
            Some(version) => write!(f, "{name} {version}"),
            None => f.write_str(name),
        }
    }
}

/// Recognises runtimes and remembers them by file.
#[derive(Debug, Default)]
pub struct Recogniser {
    /// By device, inode and change time (s, ns) of the executable.
    files: HashMap<(u64, u64, i64, i64), Runtime>,
}

impl Recogniser {
    /// What runs a process: by its executable's name where that is an interpreter's (Node's file takes long to read),
    /// else by the file's contents, else by the libraries that the process has mapped.
    pub fn recognise(&mut self, process: &Snapshot) -> Runtime {
        let mut runtime = Runtime::new(by_name(process.executable_name()), None);
        if runtime.language == Language::Unknown {
            runtime = process.open_executable().map(|file| self.executable(file)).unwrap_or_default();
        }
        if runtime.language == Language::Unknown {
            runtime = process.read_text("maps", MAPS_BYTES_MAX).map(|maps| by_libraries(&maps)).unwrap_or_default();
        }
        if runtime.language == Language::CPython && runtime.version.is_none() {
            runtime.version = version_after(process.executable_name(), "python");
        }
        runtime.has_greenlets = runtime.language == Language::CPython && has_greenlets(process);
        runtime
    }

    fn executable(&mut self, file: File) -> Runtime {
        let Ok(metadata) = file.metadata() else { return Runtime::default() };
        let key = (metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec());
        if let Some(known) = self.files.get(&key) {
            return known.clone();
        }
        let runtime = recognise_file(&file);
        if self.files.len() >= FILES_MAX {
            self.files.clear();
        }
        self.files.insert(key, runtime.clone());
        runtime
    }
}

/// Recognises an ELF file by what is in it; anything else is `Unknown`.
pub fn recognise_file<S: Source + ?Sized>(file: &S) -> Runtime {
    let Some(elf) = Elf::parse(file) else { return Runtime::default() };
    if let Some(version) = elf.go_version() {
        return Runtime::new(Language::Go, version);
    }
    Runtime::new(by_symbols(&elf), None)
}

/// Names that only the interpreter itself, or a program that embeds it, has in its dynamic symbols.
fn by_symbols<S: Source + ?Sized>(elf: &Elf<'_, S>) -> Language {
    const MARKS: [(&[u8], Language); 4] = [
        (b"PyContext_Type", Language::CPython),
        (b"_ZN4node5StartEiPPc", Language::NodeJs),
        (b"ruby_run_node", Language::Ruby),
        (b"php_module_startup", Language::Php),
    ];
    let mut language = Language::Unknown;
    elf.dynamic_strings(|name| match MARKS.iter().find(|(mark, _)| *mark == name) {
        Some((_, found)) => {
            language = *found;
            Break(())
        }
        None => Continue(()),
    });
    language
}

fn by_name(executable: &str) -> Language {
    match executable {
        "node" | "nodejs" => Language::NodeJs,
        "java" => Language::Java,
        "nginx" => Language::Nginx,
        _ if executable.starts_with("ruby") => Language::Ruby,
        _ if executable.starts_with("php") => Language::Php,
        _ if executable.starts_with("python") => Language::CPython,
        _ => Language::Unknown,
    }
}

/// Whether a CPython has loaded gevent. greenlet alone tells nothing: others load it and never switch.
pub fn has_greenlets(process: &Snapshot) -> bool {
    process.read_text("maps", MAPS_BYTES_MAX).is_some_and(|maps| maps_gevent(&maps))
}

fn maps_gevent(maps: &str) -> bool {
    maps.lines().filter_map(|line| line.find('/').map(|at| &line[at..])).any(|path| is_gevent(Path::new(path)))
}

/// Whether a file is one of gevent's modules that switch between greenlets.
pub fn is_gevent(path: &Path) -> bool {
    let folder = path.parent().and_then(Path::file_name);
    let file = path.file_name().unwrap_or_default();
    folder == Some(OsStr::new("gevent")) && file.as_encoded_bytes().starts_with(b"_gevent_c")
}

/// Runtimes that live in a shared library: an embedding program, or a launcher.
fn by_libraries(maps: &str) -> Runtime {
    let files = maps.lines().filter_map(|line| line.rsplit('/').next());
    files.into_iter().find_map(library_runtime).unwrap_or_default()
}

fn library_runtime(file: &str) -> Option<Runtime> {
    let (language, version) = match file {
        _ if file.starts_with("libpython") => (Language::CPython, version_after(file, "libpython")),
        _ if file.starts_with("libjvm.so") => (Language::Java, None),
        _ if file.starts_with("libnode.so") => (Language::NodeJs, None),
        _ if file.starts_with("libruby") => (Language::Ruby, version_after(file, "libruby-")),
        _ => return None,
    };
    Some(Runtime::new(language, version))
}

/// `3.11` of `libpython3.11.so.1.0` after `libpython`.
fn version_after(text: &str, prefix: &str) -> Option<String> {
    let rest = text.strip_prefix(prefix)?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let version = rest[..end].trim_matches('.');
    (version.contains('.') && version.len() <= VERSION_BYTES_MAX).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Real interpreters, where the machine has them.
    #[test]
    fn installed_interpreters() {
        let mut seen = 0;
        for (path, language) in [
            ("/usr/bin/python3.11", Language::CPython),
            ("/usr/bin/python3", Language::CPython),
            ("/usr/bin/node", Language::NodeJs),
        ] {
            let Ok(file) = File::open(path) else { continue };
            assert_eq!(recognise_file(&file).language, language, "{path}");
            seen += 1;
        }
        eprintln!("{seen} interpreters recognised");
    }

    #[test]
    fn this_test_is_native() {
        let own = File::open(std::env::current_exe().expect("own path")).expect("own file");
        assert_eq!(recognise_file(&own), Runtime::default());
    }

    #[test]
    fn files_that_lie() {
        for bytes in [&b""[..], b"\x7fELF", b"#!/bin/sh\n", &[0xff; 4096]] {
            assert_eq!(recognise_file(bytes), Runtime::default());
        }
        let mut own = std::fs::read(std::env::current_exe().expect("own path")).expect("own file");
        own.truncate(own.len() / 2);
        assert_eq!(recognise_file(own.as_slice()), Runtime::default(), "the section table is cut off");
        for at in 0..64 {
            let mut head = own[..4096].to_vec();
            head[at] ^= 0xff;
            recognise_file(head.as_slice());
        }
    }

    #[test]
    fn libraries_and_versions() {
        let maps = "7f0-7f1 r--p 0 08:01 5  /usr/lib/x86_64-linux-gnu/libc.so.6\n\
                    7f2-7f3 r-xp 0 08:01 6  /usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0\n";
        let found = by_libraries(maps);
        assert_eq!((found.language, found.version.as_deref()), (Language::CPython, Some("3.11")));
        assert_eq!(by_libraries("7f0-7f1 rw-p 0 00:00 0 [heap]\n"), Runtime::default());
        assert!(!maps_gevent(maps));
        let module = "_gevent_c_hub_local.cpython-311-x86_64-linux-gnu.so";
        assert!(maps_gevent(&format!("7f0-7f1 r-xp 0 08:01 5  /venv/lib/python3.11/site-packages/gevent/{module}\n")));
        assert!(!maps_gevent("7f0-7f1 r-xp 0 08:01 5  /venv/lib/python3.11/site-packages/greenlet/_greenlet.so\n"));
        assert_eq!(version_after("python3.12", "python").as_deref(), Some("3.12"));
        assert_eq!(version_after("python3", "python"), None);
    }
}
