//! One process as `/proc` shows it. Everything read is bounded, and any of it may vanish half-way.

use super::container::Container;
use super::environ::Environ;
use procfs::process::Process;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Bytes of a command line that are read.
const CMDLINE_BYTES_MAX: u64 = 64 << 10;
/// Bytes of an environment that are read.
const ENVIRON_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a cgroup file that are read.
const CGROUP_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a `package.json` that are read; a longer one is passed over.
const PACKAGE_BYTES_MAX: u64 = 1 << 20;

/// What is known of a process without touching it.
#[derive(Debug)]
pub struct Snapshot {
    pub pid: u32,
    pub parent: u32,
    /// Clock ticks after boot; with the pid, the identity of the process.
    pub start_ticks: u64,
    /// The file that runs, as the process sees it.
    pub executable: PathBuf,
    pub args: Vec<String>,
    pub cwd: PathBuf,
    pub environ: Environ,
    pub container: Container,
    process: Process,
}

impl Snapshot {
    /// Reads a process. `None`: it is gone, or it is a kernel thread.
    pub fn read(pid: u32) -> Option<Self> {
        let process = Process::new(i32::try_from(pid).ok()?).ok()?;
        let executable = without_deleted(process.exe().ok()?);
        let stat = process.stat().ok()?;
        let read = |file, limit| read_bounded(&process, file, limit).unwrap_or_default();
        let text = |file, limit| String::from_utf8_lossy(&read(file, limit)).into_owned();
        Some(Self {
            pid,
            parent: u32::try_from(stat.ppid).unwrap_or(0),
            start_ticks: stat.starttime,
            executable,
            args: split_args(&text("cmdline", CMDLINE_BYTES_MAX)),
            cwd: process.cwd().unwrap_or_default(),
            environ: Environ::parse(&read("environ", ENVIRON_BYTES_MAX)),
            container: Container::parse(&text("cgroup", CGROUP_BYTES_MAX)),
            process,
        })
    }

    /// Opens the file that runs, wherever it lives and even if it was deleted.
    pub fn open_executable(&self) -> Option<File> {
        self.process.open_relative("exe").ok()
    }

    /// File name of the executable.
    pub fn executable_name(&self) -> &str {
        self.executable.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// Reads a file of `/proc/<pid>` up to a limit.
    pub fn read_text(&self, file: &str, limit: u64) -> Option<String> {
        let bytes = read_bounded(&self.process, file, limit)?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Name in the `package.json` of a directory of the process's own file tree.
    pub fn package_name(&self, directory: &Path) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Package {
            name: String,
        }
        let mut text = Vec::new();
        self.open_inside(&directory.join("package.json"))?.take(PACKAGE_BYTES_MAX).read_to_end(&mut text).ok()?;
        serde_json::from_slice::<Package>(&text).ok().map(|package| package.name).filter(|name| !name.is_empty())
    }

    /// Opens a regular file as the process would see it. Links cannot lead out of its root, and a FIFO cannot block.
    fn open_inside(&self, path: &Path) -> Option<File> {
        use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
        let root = self.process.open_relative("root").ok()?;
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let file = File::from(openat2(root.as_fd(), path, how).ok()?);
        file.metadata().ok()?.is_file().then_some(file)
    }
}

/// The kernel marks the path of a file that was replaced while it ran.
pub(super) fn without_deleted(path: PathBuf) -> PathBuf {
    match path.to_str().and_then(|path| path.strip_suffix(" (deleted)")) {
        Some(original) => PathBuf::from(original),
        None => path,
    }
}

fn read_bounded(process: &Process, file: &str, limit: u64) -> Option<Vec<u8>> {
    let file = process.open_relative(file).ok()?;
    read_all(file, limit).ok()
}

fn read_all(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Arguments end with a NUL each; a rewritten title is padded with more of them.
fn split_args(cmdline: &str) -> Vec<String> {
    let trimmed = cmdline.trim_end_matches('\0');
    if trimmed.is_empty() { Vec::new() } else { trimmed.split('\0').map(str::to_owned).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_read() {
        let snapshot = Snapshot::read(std::process::id()).expect("this process is there");
        assert_eq!(snapshot.executable, std::env::current_exe().expect("its own path"));
        assert_eq!(snapshot.cwd, std::env::current_dir().expect("its own directory"));
        assert_eq!(snapshot.args, std::env::args().collect::<Vec<_>>());
        assert!(snapshot.open_executable().is_some());
    }

    #[test]
    fn what_is_not_there_is_none() {
        assert!(Snapshot::read(u32::MAX).is_none());
        assert!(Snapshot::read(0).is_none());
    }

    #[test]
    fn package_names_come_from_regular_files_only() {
        let directory = tempfile::tempdir().expect("a directory");
        let snapshot = Snapshot::read(std::process::id()).expect("this process is there");
        let file = directory.path().join("package.json");
        assert_eq!(snapshot.package_name(directory.path()), None);
        std::fs::write(&file, r#"{"name": "orders", "version": "1"}"#).expect("write");
        assert_eq!(snapshot.package_name(directory.path()).as_deref(), Some("orders"));
        std::fs::write(&file, "{").expect("write");
        assert_eq!(snapshot.package_name(directory.path()), None);
        std::fs::remove_file(&file).expect("remove");
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        assert_eq!(snapshot.package_name(directory.path()), None, "and does not block");
    }

    #[test]
    fn rewritten_command_lines() {
        assert_eq!(split_args("gunicorn: master [x]\0\0\0\0"), ["gunicorn: master [x]"]);
        assert_eq!(split_args("a\0\0b\0"), ["a", "", "b"]);
        assert_eq!(split_args(""), [""; 0]);
        assert_eq!(without_deleted("/usr/bin/x (deleted)".into()), Path::new("/usr/bin/x"));
    }
}
