//! Database servers, which the tests start by themselves, and services with the drivers for Python, Node and Go. Valkey comes
//! with none of the suites that bookworm enables by default, nor does version 5 of Go's pgx.

use super::{Package, Part, debian_packages, go_build_in, node, python, python3};
use crate::program::{find, run};
use crate::root;
use anyhow::Result;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// PostgreSQL's brings pgbench, Redis's tools bring redis-benchmark.
const PACKAGES: &[Package] = &[
    Package { name: "mariadb-server", present: || find("mariadbd").is_some() },
    Package { name: "postgresql", present: has_postgresql },
    Package { name: "redis-server", present: || find("redis-server").is_some() },
    Package { name: "redis-tools", present: || find("redis-benchmark").is_some() },
    Package { name: "tshark", present: || find("tshark").is_some() },
];

/// In whatever version; Debian keeps its programs off the search path.
fn has_postgresql() -> bool {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions
        .map(|version| version.path().join("bin"))
        .any(|bin| bin.join("initdb").exists() && bin.join("pgbench").exists())
}

pub(super) fn install() -> Result<()> {
    debian_packages(PACKAGES)?;
    python("db-venv", &python3(), "tests/apps/db/requirements.txt")?;
    node("db-node", "tests/apps/db/node", &NODE_SOURCES)?;
    go()
}

const NODE_SOURCES: [&str; 4] = [
    "tests/apps/db/node/behind.js",
    "tests/apps/db/node/express_shop.js",
    "tests/apps/db/node/node_drivers.js",
    "tests/apps/db/node/places.js",
];

const GO_SOURCES: [&str; 3] = ["main.go", "redis.go", "statements.go"];

/// Drivers as Debian has their sources, and what these are built with. Not installed: as packages they need fifty others.
const GO_PACKAGES: &[&str] = &[
    "golang-github-go-sql-driver-mysql-dev",
    "golang-github-gomodule-redigo-dev",
    "golang-github-jackc-chunkreader-v2-dev",
    "golang-github-jackc-pgconn-dev",
    "golang-github-jackc-pgio-dev",
    "golang-github-jackc-pgpassfile-dev",
    "golang-github-jackc-pgproto3-v2-dev",
    "golang-github-jackc-pgservicefile-dev",
    "golang-github-jackc-pgtype-dev",
    "golang-github-jackc-pgx-v4-dev",
    "golang-github-jackc-puddle-dev",
    "golang-github-lib-pq-dev",
    "golang-golang-x-crypto-dev",
    "golang-golang-x-text-dev",
];

fn go() -> Result<()> {
    let path = go_path()?;
    let folder = root().join("tests/apps/db/go");
    let sources = GO_SOURCES.iter().map(|file| fs::read_to_string(folder.join(file)));
    let pins = format!("{GO_PACKAGES:?} {}", sources.collect::<Result<String, _>>()?);
    Part::new("db-go").install(&pins, |directory| go_build_in(&path, &folder, &directory.join("go_drivers")))
}

/// Unpacks the packages; returns what is laid out as GOPATH.
fn go_path() -> Result<PathBuf> {
    let part = Part::new("db-go-path");
    let path = part.directory.join("usr/share/gocode");
    part.install(&format!("{GO_PACKAGES:?}"), |directory| {
        run(Command::new("apt-get").args(["update", "-qq"]))?;
        let mut download = Command::new("apt-get");
        // Its own user may not write here.
        download.args(["download", "-qq", "-o", "APT::Sandbox::User=root"]).args(GO_PACKAGES).current_dir(directory);
        run(&mut download)?;
        let packages: Vec<_> = fs::read_dir(directory)?.collect::<Result<_, _>>()?;
        packages.iter().try_for_each(|package| unpack(&package.path(), directory))
    })?;
    Ok(path)
}

fn unpack(package: &Path, directory: &Path) -> Result<()> {
    run(Command::new("dpkg").arg("-x").arg(package).arg(directory))?;
    Ok(fs::remove_file(package)?)
}
