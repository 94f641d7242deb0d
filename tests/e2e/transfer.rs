//! Large bodies: one span each, the right sizes, and next to nothing copied.

use crate::need::needs_root;
use anyhow::{Context, Result};
use rig::agent::Options;
use rig::{Address, App, Client, Nginx, Receiver, Service};

const GIB: u64 = 1 << 30;
const BLOCK_BYTES: usize = 1 << 18;
/// Bodies are not copied: of 1 GiB in calls of 64 KiB, heads and the edges of calls are a few MiB.
const COPIED_BYTES_MAX: u64 = 16 << 20;

/// One transfer between the test and the service at `address`; then its span.
fn transfer(
    address: &Address,
    pids: &[u32],
    attribute: &str,
    go: impl FnOnce(&mut Client) -> Result<()>,
) -> Result<()> {
    let receiver = Receiver::start()?;
    let port = address.port().to_string();
    let agent = Options::new().arguments(&["--stats", "--port", &port]).grpc(&receiver).start()?;
    let mut client = Client::connect(address)?;
    go(&mut client)?;
    let spans = receiver.wait_spans(1, |span| span.serves(pids))?;
    let counters = agent.stop()?.counters();
    assert_eq!(receiver.spans(|span| span.serves(pids)).len(), 1, "{spans:#?}");
    assert_eq!(spans[0].number(attribute), Some(i64::try_from(GIB)?), "{:#?}", spans[0]);
    let counter = |name: &str| counters.get(name).copied().with_context(|| format!("no counter {name}: {counters:?}"));
    assert!(counter("data.bytes_seen")? >= GIB, "{counters:?}");
    assert!(counter("data.bytes_copied")? < COPIED_BYTES_MAX, "{counters:?}");
    Ok(())
}

fn download(address: &Address, pids: &[u32], path: &str) -> Result<()> {
    transfer(address, pids, "http.response.body.size", |client| {
        client.send(&client.request("GET", path, &[]))?;
        assert_eq!(client.drain()?, GIB);
        Ok(())
    })
}

fn upload(address: &Address, pids: &[u32]) -> Result<()> {
    transfer(address, pids, "http.request.body.size", |client| {
        let block = vec![b'x'; BLOCK_BYTES];
        let response = client.post_stream("/upload", GIB, |stream| {
            (0..GIB / BLOCK_BYTES as u64).try_for_each(|_| Ok(stream.write_all(&block)?))
        })?;
        assert_eq!(response.text(), GIB.to_string());
        Ok(())
    })
}

#[test]
fn one_gib_from_go() -> Result<()> {
    needs_root!();
    let service = Service::start(App::Go)?;
    download(&service.address, &service.pids()?, "/size/1073741824")
}

#[test]
fn one_gib_to_go() -> Result<()> {
    needs_root!();
    let service = Service::start(App::Go)?;
    upload(&service.address, &service.pids()?)
}

#[test]
fn one_gib_from_flask() -> Result<()> {
    needs_root!();
    let service = Service::start(App::FlaskGthread)?;
    download(&service.address, &service.pids()?, "/size/1073741824")
}

#[test]
fn one_gib_to_flask() -> Result<()> {
    needs_root!();
    let service = Service::start(App::FlaskGthread)?;
    upload(&service.address, &service.pids()?)
}

/// nginx sends files with sendfile(2): the body never is in its memory.
#[test]
fn one_gib_from_a_file_of_nginx() -> Result<()> {
    needs_root!();
    let nginx = Nginx::before(&Address::loopback()?)?;
    std::fs::File::create(nginx.files().join("large"))?.set_len(GIB)?;
    download(&nginx.address, &nginx.pids()?, "/files/large")
}

#[test]
fn one_gib_to_node() -> Result<()> {
    needs_root!();
    let service = Service::start(App::NodeHttp)?;
    upload(&service.address, &service.pids()?)
}
