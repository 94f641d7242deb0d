//! What a traced server pays for one request and its response: one read, one write. The client is no target.

use super::report::{Budget, Table};
use super::server::{Serve, Server};
use super::{Bench, OffOn, ROUNDS};
use anyhow::{Context, Result, ensure};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

const PAIRS: u32 = 50_000;
/// The fastest of these shares of the pairs counts: the rest had company on their CPU.
const SHARES: u32 = 10;
/// Both ends, so that a round trip is two switches and never a wake-up of another CPU, which takes anything.
const CPU: usize = 0;
const BUDGET_NS: f64 = 3_000.0;
const REQUEST: &[u8] = b"GET /hello?n=1 HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello";
const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// One connection after the other.
pub(super) fn answer(listener: &TcpListener) -> Result<()> {
    let _pinned = Pinned::to(CPU)?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        stream.set_nodelay(true)?;
        let mut buffer = [0; 1024];
        // Each request fits one read, each response one write. The client may leave with a reset.
        while stream.read(&mut buffer).is_ok_and(|bytes| bytes > 0) {
            stream.write_all(RESPONSE)?;
        }
    }
    Ok(())
}

/// ns per round trip on one connection.
fn round_trips(port: u16) -> Result<f64> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    let _pinned = Pinned::to(CPU)?;
    let mut best = f64::INFINITY;
    for _ in 0..SHARES {
        let start = Instant::now();
        (0..PAIRS / SHARES).try_for_each(|_| round_trip(&mut stream))?;
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(PAIRS / SHARES));
    }
    Ok(best)
}

fn round_trip(stream: &mut TcpStream) -> Result<()> {
    let mut buffer = [0; 1024];
    stream.write_all(REQUEST)?;
    ensure!(stream.read(&mut buffer)? == RESPONSE.len(), "a short response");
    Ok(())
}

/// This thread on one CPU, until dropped.
struct Pinned {
    before: CpuSet,
}

impl Pinned {
    fn to(cpu: usize) -> Result<Self> {
        let before = sched_getaffinity(Pid::from_raw(0))?;
        let mut one = CpuSet::new();
        one.set(cpu)?;
        sched_setaffinity(Pid::from_raw(0), &one)?;
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // The set was this thread's a moment ago.
        let _ = sched_setaffinity(Pid::from_raw(0), &self.before);
    }
}

pub(super) fn measure(bench: &Bench, table: &mut Table) -> Result<()> {
    let server = Server::start(Serve::Pair)?;
    let mut times = OffOn::default();
    for _ in 0..ROUNDS {
        times.off.push(round_trips(server.port)?);
        let agent = bench.options().arguments(&["--port", &server.port.to_string()]).start()?;
        times.on.push(round_trips(server.port)?);
        agent.stop()?;
    }
    table.added_ns("target: HTTP pair, wall clock", &times, Budget::AtMost(BUDGET_NS));
    in_the_programs(bench, &server, table)
}

/// The kernel's own account of the time in our programs, per pair.
fn in_the_programs(bench: &Bench, server: &Server, table: &mut Table) -> Result<()> {
    let before = fs::read_to_string(STATS).context("bpf_stats")?;
    let agent = bench.options().arguments(&["--port", &server.port.to_string()]).start()?;
    fs::write(STATS, "1")?;
    let measured = run_time(agent.pid()).and_then(|start| {
        round_trips(server.port)?;
        Ok((start, run_time(agent.pid())?))
    });
    fs::write(STATS, before.trim())?;
    let (start, end) = measured?;
    agent.stop()?;
    let per_pair = |of: fn(&RunTime) -> u64| of(&end).saturating_sub(of(&start)) as f64 / f64::from(PAIRS);
    let (ns, runs) = (per_pair(|time| time.ns), per_pair(|time| time.runs));
    table.push("target: HTTP pair, all our programs", format!("{ns:.0} ns in {runs:.1} runs (bpf_stats)"), "");
    Ok(())
}

#[derive(Default)]
struct RunTime {
    ns: u64,
    runs: u64,
}

/// Run time of all programs that a process holds.
fn run_time(pid: u32) -> Result<RunTime> {
    let mut total = RunTime::default();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        // A descriptor may be closed between the listing and the reading.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        let field = |name: &str| -> Option<u64> {
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
        };
        if field("prog_id").is_some() && field("map_id").is_none() && field("link_id").is_none() {
            total.ns += field("run_time_ns").unwrap_or(0);
            total.runs += field("run_cnt").unwrap_or(0);
        }
    }
    Ok(total)
}
