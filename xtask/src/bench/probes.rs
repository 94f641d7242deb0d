//! What probes on user code cost: how many fire per request, and what that leaves of the requests per second. Inside TLS,
//! where they read the plaintext, and in the clear, where some runtimes need them to tell requests apart.

use super::Bench;
use super::report::{Budget, Table};
use anyhow::{Context, Result, ensure};
use rig::nginx::Settings;
use rig::{Address, App, Authority, Nginx, Service, wrk};
use std::fs;

const CONNECTIONS: u32 = 16;
const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";
/// How the programs on user code are called.
const PROGRAMS: [&str; 5] = ["tls_", "go_", "python_", "turn_", "work_"];

pub(super) fn measure(bench: &Bench, table: &mut Table) -> Result<()> {
    let authority = Authority::new()?;
    let settings = Settings { tls: Some(&authority), ..Settings::default() };
    let nginx = Nginx::start_with(&Address::loopback()?, settings)?;
    compare(bench, table, "nginx, TLS", &nginx.address.https("/hello"))?;
    let apps = [
        ("Node", App::NodeHttp),
        ("Go", App::Go),
        ("uvicorn asyncio", App::FastApi),
        ("uvicorn uvloop", App::FastApiUvloop),
        ("aiohttp uvloop", App::AiohttpUvloop),
    ];
    for (name, app) in apps {
        let service = Service::start_tls(app, &authority)?;
        compare(bench, table, &format!("{name}, TLS"), &service.url("/hello"))?;
        let service = Service::start(app)?;
        compare(bench, table, &format!("{name}, in the clear"), &service.url("/hello"))?;
    }
    Ok(())
}

fn compare(bench: &Bench, table: &mut Table, what: &str, url: &str) -> Result<()> {
    let rate = |seconds| -> Result<f64> {
        let load = wrk::for_seconds(url, seconds, CONNECTIONS)?;
        ensure!(load.failures == 0, "{load:?}");
        Ok(load.requests_per_second)
    };
    rate(1)?;
    let rates = bench.off_on(|| rate(bench.seconds))?;
    table.rate(&format!("requests/s, {what}"), &rates);
    let hits = hits_per_request(bench, url)?;
    table.number(&format!("probe hits per request, {what}"), hits, "", Budget::None);
    Ok(())
}

/// By the kernel's own count of the programs' runs.
fn hits_per_request(bench: &Bench, url: &str) -> Result<f64> {
    let before = fs::read_to_string(STATS).context("bpf_stats")?;
    let agent = bench.options().arguments(&["--stats"]).start()?;
    fs::write(STATS, "1")?;
    let load = wrk::for_seconds(url, bench.seconds, CONNECTIONS);
    let stopped = agent.stop();
    fs::write(STATS, before.trim())?;
    let (load, counters) = (load?, stopped?.counters());
    let is_hit = |name: &str| {
        let program = name.strip_prefix("program.").and_then(|name| name.strip_suffix(".runs"));
        program.is_some_and(|program| PROGRAMS.iter().any(|prefix| program.starts_with(prefix)))
    };
    let hits: u64 = counters.iter().filter(|(name, _)| is_hit(name)).map(|(_, runs)| runs).sum();
    Ok(hits as f64 / load.requests.max(1) as f64)
}
