//! What the agent takes: memory, map bytes, disk, and time until it is useful.

use super::Bench;
use super::report::{Budget, Table};
use crate::program::target;
use anyhow::{Context, Result};
use rig::agent::Options;
use rig::{App, Client, Receiver, Service, wait};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

const MIB: f64 = 1_048_576.0;
const RSS_MIB: f64 = 40.0;
const MAPS_MIB: f64 = 24.0;
const BINARY_MIB: f64 = 25.0;
const FIRST_SPAN_MS: f64 = 1_000.0;
const SERVICES: usize = 10;
const REQUESTS_PER_SECOND: u32 = 1_000;

pub(super) fn measure(bench: &Bench, table: &mut Table) -> Result<()> {
    let services = [App::Go, App::NodeHttp, App::FlaskGthread, App::HttpServer, App::Express].into_iter().cycle();
    let services: Vec<_> = services.take(SERVICES).map(Service::start).collect::<Result<_>>()?;
    let agent = bench.agent()?;
    let rate = steady(&services, Duration::from_secs(bench.seconds.into()))?;
    let what = format!("agent RSS, {SERVICES} services, {rate:.0} requests/s");
    table.number(&what, agent.resident_bytes()? as f64 / MIB, "MiB", Budget::AtMost(RSS_MIB));
    table.number("BPF maps and ring", map_bytes(agent.pid())? / MIB, "MiB", Budget::AtMost(MAPS_MIB));
    agent.stop()?;
    let binary = fs::metadata(target().join("release/autospan"))?.len() as f64;
    table.number("release binary", binary / MIB, "MiB", Budget::AtMost(BINARY_MIB));
    table.number("start to first span", first_span()?, "ms", Budget::AtMost(FIRST_SPAN_MS));
    Ok(())
}

/// Requests at a fixed rate, evenly over the services; returns the rate that came about.
fn steady(services: &[Service], time: Duration) -> Result<f64> {
    let mut clients: Vec<_> =
        services.iter().map(|service| Client::connect(&service.address)).collect::<Result<_>>()?;
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < time {
        let due = start + Duration::from_secs(1) * sent / REQUESTS_PER_SECOND;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let count = clients.len();
        clients[sent as usize % count].get("/hello")?;
        sent += 1;
    }
    Ok(f64::from(sent) / start.elapsed().as_secs_f64())
}

/// Memory of all maps that a process holds, as the kernel accounts for it.
fn map_bytes(pid: u32) -> Result<f64> {
    let mut maps = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A descriptor may be closed between the listing and the reading.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        let field = |name: &str| -> Option<u64> {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
        };
        if let (Some(id), Some(bytes)) = (field("map_id"), field("memlock")) {
            maps.insert(id, bytes);
        }
    }
    anyhow::ensure!(!maps.is_empty(), "the agent holds no maps");
    Ok(maps.values().sum::<u64>() as f64)
}

/// ms from the start of the agent's process to a span of a running service in the collector.
fn first_span() -> Result<f64> {
    let receiver = Receiver::start()?;
    let service = Service::start(App::Go)?;
    let mut client = Client::connect(&service.address)?;
    let start = Instant::now();
    let mut agent = Options::new().grpc(&receiver).launch()?;
    let time = wait::until("the first span", || {
        client.get("/hello").ok()?;
        (!receiver.spans(|span| span.serves(&[service.pid()])).is_empty()).then(|| start.elapsed())
    });
    agent.process().terminate()?;
    Ok(time.context("no span")?.as_secs_f64() * 1e3)
}
