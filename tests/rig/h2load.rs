//! h2load, the load generator for HTTP/2.

use crate::process::output;
use crate::wrk::Load;
use anyhow::{Context, Result};

/// Streams at once on each connection.
pub const STREAMS: u32 = 100;

/// Full speed until exactly so many requests are answered.
pub fn exactly(url: &str, requests: u64, connections: u32) -> Result<Load> {
    let (requests, connections) = (format!("-n{requests}"), format!("-c{connections}"));
    parse(&output("h2load", [&requests, &connections, &format!("-m{STREAMS}"), url])?)
}

/// Full speed for some seconds.
pub fn for_seconds(url: &str, seconds: u32, connections: u32) -> Result<Load> {
    let (seconds, connections) = (format!("-D{seconds}"), format!("-c{connections}"));
    parse(&output("h2load", [&seconds, &connections, &format!("-m{STREAMS}"), url])?)
}

fn parse(report: &str) -> Result<Load> {
    let number_before = |text: &str| -> Option<&str> { report.split_once(text)?.0.split_whitespace().last() };
    let rate = number_before(" req/s").and_then(|rate| rate.parse().ok());
    let done = number_before(" done,").and_then(|done| done.parse().ok());
    let bad: Option<u64> = [" failed,", " errored,", " timeout", " 3xx,", " 4xx,", " 5xx"]
        .map(|name| number_before(name).and_then(|count| count.parse::<u64>().ok()))
        .into_iter()
        .sum();
    Ok(Load {
        requests: done.with_context(|| format!("h2load: {report}"))?,
        requests_per_second: rate.with_context(|| format!("h2load: {report}"))?,
        failures: bad.with_context(|| format!("h2load: {report}"))?,
    })
}
