//! What a process pays that nobody traces: write + read on a pipe.

use super::Bench;
use super::report::{Budget, Table};
use anyhow::Result;
use std::io::{Read, Write, pipe};
use std::time::Instant;

const PAIRS: u32 = 300_000;
const BUDGET_NS: f64 = 300.0;

pub(super) fn measure(bench: &Bench, table: &mut Table) -> Result<()> {
    let times = bench.off_on(write_read)?;
    table.added_ns("no target: pipe write+read", &times, Budget::AtMost(BUDGET_NS));
    Ok(())
}

/// ns per pair.
fn write_read() -> Result<f64> {
    let (mut reader, mut writer) = pipe()?;
    let mut byte = [0];
    let start = Instant::now();
    for _ in 0..PAIRS {
        writer.write_all(&byte)?;
        reader.read_exact(&mut byte)?;
    }
    Ok(start.elapsed().as_nanos() as f64 / f64::from(PAIRS))
}
