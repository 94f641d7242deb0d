//! Requests per second of real servers under full load, without and with the agent.

use super::Bench;
use super::report::Table;
use anyhow::{Result, ensure};
use rig::{Address, App, Nginx, Service, wrk};

const CONNECTIONS: u32 = 16;

pub(super) fn measure(bench: &Bench, table: &mut Table) -> Result<()> {
    // Nobody listens behind it: `/hello` is its own.
    let nginx = Nginx::before(&Address::loopback()?)?;
    compare(bench, table, "requests/s, nginx", &nginx.address)?;
    let services = [("Go", App::Go), ("gunicorn", App::FlaskGthread), ("Node", App::NodeHttp)];
    for (name, app) in services {
        let service = Service::start(app)?;
        compare(bench, table, &format!("requests/s, {name}"), &service.address)?;
    }
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
