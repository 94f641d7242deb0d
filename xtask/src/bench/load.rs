//! Requests per second of real servers under full load, without and with the agent.

use super::Bench;
use super::report::Table;
use anyhow::{Result, ensure};
use rig::{Address, App, Nginx, Service, h2load, nginx, wrk};

const CONNECTIONS: u32 = 16;
/// Of HTTP/2, with [`h2load::STREAMS`] at once on each.
const CONNECTIONS_HTTP2: u32 = 8;

pub(super) fn measure(bench: &Bench, table: &mut Table) -> Result<()> {
    // Nobody listens behind it: `/hello` is its own.
    let nginx = Nginx::before(&Address::loopback()?)?;
    compare(bench, table, "requests/s, nginx", &nginx.address)?;
    let services = [("Go", App::Go), ("gunicorn", App::FlaskGthread), ("Node", App::NodeHttp)];
    for (name, app) in services {
        let service = Service::start(app)?;
        compare(bench, table, &format!("requests/s, {name}"), &service.address)?;
    }
    let settings = nginx::Settings { http2: true, ..Default::default() };
    let nginx = Nginx::start_with(&Address::loopback()?, settings)?;
    streams(bench, table, "streams/s, nginx over HTTP/2", &nginx.address)?;
    let service = Service::start(App::GoHttp2)?;
    streams(bench, table, "streams/s, Go over HTTP/2", &service.address)
}

fn streams(bench: &Bench, table: &mut Table, what: &str, address: &Address) -> Result<()> {
    let rate = |seconds| {
        let load = h2load::for_seconds(&address.url("/hello"), seconds, CONNECTIONS_HTTP2)?;
        ensure!(load.requests > 0 && load.failures == 0, "{load:?}");
        Ok(load.requests_per_second)
    };
    rate(1)?;
    let rates = bench.off_on(|| rate(bench.seconds))?;
    table.rate(what, &rates);
    Ok(())
}

fn compare(bench: &Bench, table: &mut Table, what: &str, address: &Address) -> Result<()> {
    // The first seconds of a service are not its speed.
    rate(address, 1, CONNECTIONS)?;
    let rates = bench.off_on(|| rate(address, bench.seconds, CONNECTIONS))?;
    table.rate(what, &rates);
    Ok(())
}

/// Requests per second of `/hello`.
pub(super) fn rate(address: &Address, seconds: u32, connections: u32) -> Result<f64> {
    let load = wrk::for_seconds(&address.url("/hello"), seconds, connections)?;
    ensure!(load.failures == 0, "{load:?}");
    Ok(load.requests_per_second)
}
