//! CPython as people get it elsewhere than from Debian, in the version of Debian's so that it can use the same packages:
//!
//! - `built`: from source, with its symbols and the system's OpenSSL, as pyenv does;
//! - `standalone`: the same, stripped and with OpenSSL linked in, as the builds are that uv downloads.

use super::{Package, Part, debian_packages, python3};
use crate::program::{find, read, run, run_quietly};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::available_parallelism;

const PACKAGES: &[Package] = &[
    Package { name: "gcc", present: || find("gcc").is_some() },
    Package { name: "libc6-dev", present: || Path::new("/usr/include/stdio.h").exists() },
    Package { name: "libssl-dev", present: || Path::new("/usr/include/openssl/ssl.h").exists() },
    Package { name: "make", present: || find("make").is_some() },
    Package { name: "xz-utils", present: || find("xz").is_some() },
    Package { name: "zlib1g-dev", present: || Path::new("/usr/include/zlib.h").exists() },
];

/// Of <https://docs.python.org/3/using/configure.html>: what nobody needs to serve requests is not built.
const CONFIGURE: &[&str] = &["--quiet", "--disable-test-modules", "--without-ensurepip"];
/// Modules of the interpreter itself instead of shared ones. Nothing of OpenSSL is exported.
const STATIC_MODULES: &str = "*static*
_ssl _ssl.c -Wl,--exclude-libs,libssl.a -Wl,--exclude-libs,libcrypto.a -l:libssl.a -l:libcrypto.a
_hashlib _hashopenssl.c -l:libcrypto.a
";
/// What they replace.
const SHARED_MODULES: [&str; 2] = ["_ssl.", "_hashlib."];

pub(crate) fn install() -> Result<()> {
    debian_packages(PACKAGES)?;
    let version = "import sys; print('python%d.%d' % sys.version_info[:2], end='')";
    let name = read(Command::new(python3()).args(["-c", version]))?;
    Part::new("cpython").install(&format!("{name} {CONFIGURE:?} {STATIC_MODULES}"), |directory| {
        let work = directory.join("source");
        let source = unpack(&fetch(&name, &work)?, &work)?;
        let (built, standalone) = (directory.join("built"), directory.join("standalone"));
        build(&source, &built)?;
        run(Command::new("cp").arg("-a").arg(&built).arg(&standalone))?;
        link_openssl(&source, &standalone, &name)?;
        Ok(fs::remove_dir_all(work)?)
    })
}

/// The release's own archive, which Debian keeps beside what it makes of it.
fn fetch(name: &str, work: &Path) -> Result<PathBuf> {
    let (lists, sources) = (work.join("lists"), work.join("sources.list"));
    fs::create_dir_all(lists.join("partial"))?;
    fs::write(&sources, repositories()?)?;
    let options = [
        format!("Dir::Etc::SourceList={}", sources.display()),
        "Dir::Etc::SourceParts=/dev/null".to_owned(),
        format!("Dir::State::Lists={}", lists.display()),
        "APT::Sandbox::User=root".to_owned(),
    ];
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.current_dir(work).arg("-qq").args(options.iter().flat_map(|option| ["-o", option])).args(arguments);
        run(&mut apt)
    };
    apt(&["update"])?;
    apt(&["source", "--download-only", name])?;
    only_entry(work, |file| file.contains(".orig.tar.") && !file.ends_with(".asc"))
}

/// Where this machine gets Debian's packages from, for their sources. Not those of updates such as `bookworm-security`: what
/// they change is Debian's part.
fn repositories() -> Result<String> {
    const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let signed = if Path::new(KEYS).exists() { format!("[signed-by={KEYS}] ") } else { String::new() };
    let filters = ["Created-By: Packages", "Origin: Debian"];
    let format = "$(REPO_URI) $(RELEASE) $(COMPONENT)";
    let targets = read(Command::new("apt-get").args(["indextargets", "--format", format]).args(filters))?;
    let is_whole = |target: &&str| target.split(' ').nth(1).is_some_and(|release| !release.contains('-'));
    Ok(targets.lines().filter(is_whole).map(|target| format!("deb-src {signed}{target}\n")).collect())
}

fn unpack(archive: &Path, work: &Path) -> Result<PathBuf> {
    run(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(work))?;
    only_entry(work, |name| name.starts_with("Python-"))
}

fn only_entry(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let entries = fs::read_dir(folder)?.flatten();
    let found = entries.into_iter().find(|entry| wanted(&entry.file_name().to_string_lossy()));
    found.map(|entry| entry.path()).with_context(|| format!("{} has not what was expected", folder.display()))
}

fn build(source: &Path, prefix: &Path) -> Result<()> {
    let mut configure = Command::new("./configure");
    run_quietly(configure.current_dir(source).args(CONFIGURE).arg("--prefix").arg(prefix))?;
    make(source, "all")?;
    make(source, "install")
}

fn make(source: &Path, goal: &str) -> Result<()> {
    let jobs = format!("-j{}", available_parallelism()?);
    run_quietly(Command::new("make").current_dir(source).args(["--silent", &jobs, goal]))
}

fn link_openssl(source: &Path, standalone: &Path, name: &str) -> Result<()> {
    fs::write(source.join("Modules/Setup.local"), STATIC_MODULES)?;
    make(source, "python")?;
    for entry in fs::read_dir(standalone.join("lib").join(name).join("lib-dynload"))?.flatten() {
        if SHARED_MODULES.iter().any(|module| entry.file_name().to_string_lossy().starts_with(module)) {
            fs::remove_file(entry.path())?;
        }
    }
    let interpreter = standalone.join("bin").join(name);
    fs::copy(source.join("python"), &interpreter)?;
    run(Command::new("strip").arg(interpreter))
}
