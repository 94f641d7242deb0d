//! What a user would pick instead: the OpenTelemetry zero-code agents, on the same services, in the same run.

use super::report::Table;
use super::{Bench, OffOn, ROUNDS, load};
use anyhow::Result;
use rig::service::Settings;
use rig::{App, Service};

/// Connections of the load generator.
const CONNECTIONS: [u32; 2] = [1, 32];
const SERVICES: [(&str, App); 3] = [("FastAPI", App::FastApi), ("Flask", App::FlaskGthread), ("Express", App::Express)];

pub(super) fn measure(bench: &Bench, table: &mut Table) -> Result<()> {
    for (name, app) in SERVICES {
        for connections in CONNECTIONS {
            let (autospan, zero_code) = compare(bench, app, connections)?;
            let suffix = if connections == 1 { "1 connection" } else { "32 connections" };
            table.rate(&format!("{name}, {suffix}, autospan"), &autospan);
            table.rate(&format!("{name}, {suffix}, OTel zero-code"), &zero_code);
        }
    }
    Ok(())
}

/// Rates without anything, with autospan, without anything, under the zero-code agent, and again.
fn compare(bench: &Bench, app: App, connections: u32) -> Result<(OffOn, OffOn)> {
    let mut results = (OffOn::default(), OffOn::default());
    let plain = Service::start(app)?;
    let settings = Settings { environment: environment(bench), zero_code: true, ..Settings::default() };
    let instrumented = Service::start_with(app, &settings)?;
    let rate = |service: &Service| load::rate(&service.address, bench.seconds, connections);
    load::rate(&plain.address, 1, connections)?;
    load::rate(&instrumented.address, 1, connections)?;
    for _ in 0..ROUNDS {
        results.0.off.push(rate(&plain)?);
        let agent = bench.agent()?;
        results.0.on.push(rate(&plain)?);
        agent.stop()?;
        results.1.off.push(rate(&plain)?);
        results.1.on.push(rate(&instrumented)?);
    }
    Ok(results)
}

/// Traces only, to the same collector.
fn environment(bench: &Bench) -> Vec<(&'static str, String)> {
    vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", bench.collector.url()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned()),
        ("OTEL_TRACES_EXPORTER", "otlp".to_owned()),
        ("OTEL_METRICS_EXPORTER", "none".to_owned()),
        ("OTEL_LOGS_EXPORTER", "none".to_owned()),
    ]
}
