//! The engine alone: records of exchanges to encoded OTLP, on one core.

use super::report::{Budget, Table};
use crate::program::{cargo, read};
use anyhow::{Context, Result};
use serde_json::Value;

const EXCHANGES_PER_SECOND: f64 = 300_000.0;

pub(super) fn measure(table: &mut Table) -> Result<()> {
    let example = ["run", "--quiet", "--release", "--locked", "--package", "autospan", "--example", "throughput"];
    let printed = read(cargo().args(example))?;
    let figures: Value = serde_json::from_str(&printed).with_context(|| printed.clone())?;
    let figure = |name: &str| figures[name].as_f64().with_context(|| format!("no {name} in {printed}"));
    table.number("engine, records to spans", figure("engine_per_second")?, "exchanges/s", Budget::None);
    let budget = Budget::AtLeast(EXCHANGES_PER_SECOND);
    table.number("engine, records to encoded OTLP", figure("encoded_per_second")?, "exchanges/s", budget);
    table.number("engine, records of HTTP/2 to spans", figure("streams_per_second")?, "streams/s", Budget::None);
    let encoded = figure("encoded_streams_per_second")?;
    table.number("engine, records of HTTP/2 to encoded OTLP", encoded, "streams/s", Budget::None);
    Ok(())
}
