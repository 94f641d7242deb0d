//! wrk, the load generator.

use crate::paths;
use crate::process::output;
use anyhow::{Context, Result};

/// What wrk saw.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    pub requests: u64,
    pub requests_per_second: f64,
    /// Socket errors, timeouts, and answers other than 2xx and 3xx.
    pub failures: u64,
}

/// Full speed for some seconds on so many connections.
pub fn for_seconds(url: &str, seconds: u32, connections: u32) -> Result<Load> {
    parse(&output("wrk", ["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), url])?)
}

/// Full speed until exactly so many requests are answered. A write that fails is no failure here: the script ends with empty
/// requests, which TLS takes for errors, and a request that was not sent is not answered either.
pub fn exactly(url: &str, requests: u64, connections: u32) -> Result<Load> {
    let script = paths::repository().join("tests/rig/wrk.lua").display().to_string();
    let (requests, count) = (requests.to_string(), connections.to_string());
    let connections = format!("-c{connections}");
    let report = output("wrk", ["-t1", &connections, "-d120s", "-s", &script, url, "--", &requests, &count])?;
    parse(&without_writes(&report))
}

/// The report with the number of failed writes left out.
fn without_writes(report: &str) -> String {
    let is_number = |c: char| c.is_ascii_digit();
    match report.split_once(", write ") {
        Some((before, after)) => format!("{before}{}", after.trim_start_matches(is_number)),
        None => report.to_owned(),
    }
}

fn parse(report: &str) -> Result<Load> {
    let after = |text: &str| report.split_once(text).map(|(_, rest)| rest);
    let before_requests = report.split_once(" requests in ").map(|(before, _)| before);
    let requests = before_requests.and_then(|text| text.split_whitespace().last()?.parse().ok());
    let rate = after("Requests/sec:").and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    let line = |text: &str| after(text).and_then(|rest| rest.lines().next()).unwrap_or_default().to_owned();
    let numbers = |text: String| -> u64 { text.split([' ', ',']).filter_map(|word| word.parse::<u64>().ok()).sum() };
    Ok(Load {
        requests: requests.with_context(|| format!("wrk: {report}"))?,
        requests_per_second: rate.with_context(|| format!("wrk: {report}"))?,
        failures: numbers(line("Socket errors:")) + numbers(line("Non-2xx or 3xx responses:")),
    })
}
