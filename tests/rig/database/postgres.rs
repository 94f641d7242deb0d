//! PostgreSQL.

use super::{HOST, NAME, PASSWORD, Place, USER, as_user, own};
use crate::process::output;
use crate::{Address, Authority, Process, paths};
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// It refuses to run as root.
const OWNER: &str = "postgres";
/// What is lost in a crash is no loss, and errors are what tests ask for.
const SETTINGS: [&str; 5] =
    ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off", "log_min_messages=log"];

/// A server with a password for everybody, and the fixture.
pub(super) fn start(address: &Address, authority: Option<&Authority>) -> Result<Process> {
    let directory = tempfile::tempdir()?;
    own(OWNER, directory.path())?;
    let data = directory.path().join("data");
    init(directory.path(), &data)?;
    let mut command = Command::new("setpriv");
    command.args(as_user(OWNER, &program("postgres")?)).arg("-D").arg(&data).arg("-k").arg(directory.path());
    command.args(["-h", HOST, "-p", &address.port().to_string()]);
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    if let Some(authority) = authority {
        for name in ["server.pem", "server.key"] {
            fs::copy(authority.file(name), data.join(name))?;
            own(OWNER, &data.join(name))?;
        }
        command.args(["-c", "ssl=on", "-c", "ssl_cert_file=server.pem", "-c", "ssl_key_file=server.key"]);
    }
    let mut process = Process::start_in(directory, "postgres", &command)?;
    process.wait_until("to be ready", |process| process.stderr().contains("ready to accept connections"))?;
    fill(&process, address)?;
    Ok(process)
}

fn init(directory: &Path, data: &Path) -> Result<()> {
    let password = directory.join("password");
    fs::write(&password, PASSWORD)?;
    own(OWNER, &password)?;
    let arguments = [
        "--no-sync".to_owned(),
        "--no-instructions".to_owned(),
        "--auth=scram-sha-256".to_owned(),
        format!("--username={USER}"),
        format!("--pwfile={}", password.display()),
        format!("--pgdata={}", data.display()),
    ];
    output("setpriv", as_user(OWNER, &program("initdb")?).into_iter().chain(arguments)).map(drop)
}

fn fill(process: &Process, address: &Address) -> Result<()> {
    let place = Place { socket: Some(String::new()), port: None, authority: None };
    let mut psql = Command::new(program("psql")?);
    psql.args(["--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--dbname=postgres", "--file"]);
    psql.arg(paths::app("db/postgres.sql")).envs(environment(place, address, process.directory()));
    let output = psql.output().context("cannot run psql")?;
    anyhow::ensure!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// libpq takes a folder for a host that is a unix socket, and the port is part of the socket's name.
pub(super) fn environment(place: Place, address: &Address, folder: &Path) -> Vec<(&'static str, String)> {
    let host = if place.socket.is_some() { folder.display().to_string() } else { HOST.to_owned() };
    let mut variables = vec![("PGHOST", host), ("PGPORT", address.port().to_string())];
    variables
        .extend([("PGUSER", USER), ("PGPASSWORD", PASSWORD), ("PGDATABASE", NAME)].map(|(k, v)| (k, v.to_owned())));
    if let Some(authority) = place.authority {
        variables.extend([("PGSSLMODE", "verify-full".to_owned()), ("PGSSLROOTCERT", authority)]);
    }
    variables
}

/// A program of the server, which Debian keeps off the search path.
pub fn program(name: &str) -> Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").context("no PostgreSQL: run `cargo xtask setup`")?;
    let programs = versions.flatten().map(|version| version.path().join("bin").join(name));
    programs.filter(|path| path.exists()).max().with_context(|| format!("no {name}: run `cargo xtask setup`"))
}
