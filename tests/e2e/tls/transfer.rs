//! Large bodies inside TLS: one span each, the right sizes, and next to nothing copied.

use super::check_tls;
use crate::need::needs_root;
use anyhow::{Context, Result};
use rig::agent::Options;
use rig::process::output;
use rig::{Address, App, Authority, Nginx, Receiver, Service, nginx};

const GIB: u64 = 1 << 30;
/// Of 1 GiB in TLS records of 16 KiB, heads and the edges of calls are a few MiB; ciphertext is none of it.
const COPIED_BYTES_MAX: u64 = 16 << 20;

/// curl takes 1 GiB from `url`; then the span of it, by processes `pids` that listen on `port`.
fn download(authority: &Authority, url: &str, port: u16, pids: &[u32]) -> Result<()> {
    let receiver = Receiver::start()?;
    let agent = Options::new().arguments(&["--stats", "--port", &port.to_string()]).grpc(&receiver).start()?;
    let authority = authority.file("ca.pem").display().to_string();
    let report = ["--output", "/dev/null", "--write-out", "%{size_download} %{local_port}"];
    let said =
        output("curl", ["--silent", "--show-error", "--fail", "--cacert", &authority, url].iter().chain(&report))?;
    let (bytes, client_port) = said.split_once(' ').context("curl says two numbers")?;
    assert_eq!(bytes, GIB.to_string());
    let spans = receiver.wait_spans(1, |span| span.serves(pids))?;
    let counters = agent.stop()?.counters();
    assert_eq!(receiver.spans(|span| span.serves(pids)).len(), 1, "{spans:#?}");
    check_tls(&spans[0]);
    assert_eq!(spans[0].number("http.response.body.size"), Some(i64::try_from(GIB)?), "{:#?}", spans[0]);
    assert_eq!(spans[0].number("client.port"), Some(client_port.parse()?), "{:#?}", spans[0]);
    let counter = |name: &str| counters.get(name).copied().with_context(|| format!("no counter {name}: {counters:?}"));
    assert!(counter("data.bytes_seen")? >= GIB, "{counters:#?}");
    assert!(counter("data.bytes_copied")? < COPIED_BYTES_MAX, "{counters:#?}");
    Ok(())
}

fn from_service(app: App) -> Result<()> {
    let authority = Authority::new()?;
    let service = Service::start_tls(app, &authority)?;
    download(&authority, &service.url("/size/1073741824"), service.port(), &service.pids()?)
}

#[test]
fn one_gib_from_a_file_of_nginx() -> Result<()> {
    needs_root!();
    let authority = Authority::new()?;
    let settings = nginx::Settings { tls: Some(&authority), ..Default::default() };
    let nginx = Nginx::start_with(&Address::loopback()?, settings)?;
    std::fs::File::create(nginx.files().join("large"))?.set_len(GIB)?;
    download(&authority, &nginx.address.https("/files/large"), nginx.port(), &nginx.pids()?)
}

#[test]
fn one_gib_from_node() -> Result<()> {
    needs_root!();
    from_service(App::NodeHttp)
}

#[test]
fn one_gib_from_go() -> Result<()> {
    needs_root!();
    from_service(App::Go)
}
