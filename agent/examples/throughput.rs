//! How fast one core turns records into encoded OTLP: `cargo run --release --example throughput [EXCHANGES]`.
//! Prints one JSON object. `cargo xtask bench` reads it.

use autospan::export::{scope, span_data};
use autospan_abi::{Direction, Role};
use autospan_core::engine::{Engine, EngineConfig, Output};
use autospan_core::event::{Data, Ends, Event, EventKind, Opened};
use autospan_core::fact::Fact;
use autospan_core::span::Span;
use opentelemetry::InstrumentationScope;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Connections that take turns.
const CONNECTIONS: u64 = 64;
/// Spans per OTLP request.
const BATCH_SPANS: usize = 512;
/// Time between two records: 10,000 exchanges a second.
const RECORD_NS: u64 = 50_000;

const REQUEST: &[u8] = b"GET /api/v1/orders/42?currency=EUR HTTP/1.1\r\nHost: orders.example:8080\r\n\
    User-Agent: python-requests/2.32.3\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n";
const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: Sat, 21 Nov 2026 11:30:00 GMT\r\nConnection: keep-alive\r\n\
    Content-Type: application/json\r\nContent-Length: 27\r\n\r\n{\"id\":42,\"state\":\"shipped\"}";

/// Without and with the encoding; the fastest of three rounds counts.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let exchanges = std::env::args().nth(1).map_or(Ok(100_000), |n| n.parse())?;
    let records = records(exchanges);
    let mut encoder = Encoder::new()?;
    let (mut engine_time, mut encoded_time) = (Duration::MAX, Duration::MAX);
    for _ in 0..3 {
        engine_time = engine_time.min(engine_only(&records, exchanges)?);
        encoded_time = encoded_time.min(encoded(&records, exchanges, &mut encoder).await?);
    }
    let per_second = |time: Duration| (exchanges as f64 / time.as_secs_f64()) as u64;
    println!(
        r#"{{"exchanges":{exchanges},"engine_per_second":{},"encoded_per_second":{},"encoded_bytes_per_span":{}}}"#,
        per_second(engine_time),
        per_second(encoded_time),
        encoder.sizes.0.load(Ordering::Relaxed) / (3 * exchanges),
    );
    Ok(())
}

/// The exporter of the agent, with a receiver that throws everything away.
struct Encoder {
    exporter: SpanExporter,
    scope: InstrumentationScope,
    sizes: Sizes,
}

/// Takes requests and adds up their sizes.
#[derive(Clone, Debug, Default)]
struct Sizes(Arc<AtomicU64>);

#[async_trait::async_trait]
impl HttpClient for Sizes {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.0.fetch_add(request.body().len() as u64, Ordering::Relaxed);
        Ok(Response::new(Bytes::new()))
    }
}

impl Encoder {
    fn new() -> anyhow::Result<Self> {
        let sizes = Sizes::default();
        let exporter = SpanExporter::builder().with_http().with_http_client(sizes.clone());
        Ok(Self { exporter: exporter.with_endpoint("http://localhost/").build()?, scope: scope(), sizes })
    }

    async fn encode(&mut self, batch: &mut Vec<Span>) -> anyhow::Result<()> {
        let spans: Vec<SpanData> = batch.drain(..).map(|span| span_data(&span, &self.scope)).collect();
        Ok(self.exporter.export(spans).await?)
    }
}

fn engine_only(records: &[Vec<u8>], exchanges: u64) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let mut engine = engine();
    let mut spans = 0;
    for chunk in records {
        engine.feed(chunk);
        while let Some(output) = engine.poll() {
            spans += u64::from(matches!(output, Output::Span(_)));
        }
    }
    spans += drain(&mut engine).count() as u64;
    anyhow::ensure!(spans == exchanges, "{spans} spans of {exchanges} exchanges");
    Ok(start.elapsed())
}

async fn encoded(records: &[Vec<u8>], exchanges: u64, encoder: &mut Encoder) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let mut engine = engine();
    let mut batch = Vec::with_capacity(BATCH_SPANS);
    let mut spans = 0;
    for chunk in records {
        engine.feed(chunk);
        while let Some(output) = engine.poll() {
            let Output::Span(span) = output else { continue };
            batch.push(*span);
        }
        if batch.len() >= BATCH_SPANS {
            spans += batch.len() as u64;
            encoder.encode(&mut batch).await?;
        }
    }
    batch.extend(drain(&mut engine));
    spans += batch.len() as u64;
    encoder.encode(&mut batch).await?;
    anyhow::ensure!(spans == exchanges, "{spans} spans of {exchanges} exchanges");
    Ok(start.elapsed())
}

fn engine() -> Engine {
    let mut engine = Engine::new(EngineConfig::default());
    engine.fact(Fact::Session { secret: [7; 16] });
    engine
}

fn drain(engine: &mut Engine) -> impl Iterator<Item = Span> {
    engine.tick(u64::MAX / 2);
    std::iter::from_fn(|| engine.poll()).filter_map(|output| match output {
        Output::Span(span) => Some(*span),
        Output::Policy { .. } | Output::WatchJobs { .. } => None,
    })
}

/// Chunks of records, as drains of the ring buffer would give them.
fn records(exchanges: u64) -> Vec<Vec<u8>> {
    let mut at = 1_000_000;
    let mut opening = Vec::new();
    for connection in 1..=CONNECTIONS {
        event(&mut opening, at, connection, EventKind::Opened(opened(connection)));
    }
    let mut chunks = vec![opening];
    for n in 0..exchanges {
        let (connection, round) = (n % CONNECTIONS + 1, n / CONNECTIONS);
        if n % 64 == 0 {
            chunks.push(Vec::with_capacity(64 * 700));
        }
        let chunk = chunks.last_mut().unwrap_or_else(|| unreachable!("never empty"));
        for (direction, bytes) in [(Direction::Inbound, REQUEST), (Direction::Outbound, RESPONSE)] {
            at += RECORD_NS;
            let position = round * bytes.len() as u64;
            let token = if direction == Direction::Inbound { n + 1 } else { 0 };
            event(chunk, at, connection, EventKind::Data(data(connection, direction, position, token, bytes)));
        }
    }
    chunks
}

fn event(out: &mut Vec<u8>, at: u64, connection: u64, kind: EventKind<'_>) {
    Event { at, tgid: 1, tid: connection as u32, kind }.encode(out);
}

fn opened(connection: u64) -> Opened<'static> {
    let ip = |last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
    let ends = Ends::Inet { local: (ip(1), 8080), remote: (ip(2), 40_000 + connection as u16) };
    let role = Role::Server;
    Opened {
        connection,
        sock: connection,
        peer_sock: 0,
        inode: connection,
        netns: 1,
        role,
        connect_seen: true,
        tls: None,
        ends,
    }
}

fn data(connection: u64, direction: Direction, position: u64, token: u64, bytes: &'static [u8]) -> Data<'static> {
    let (total, sequence) = (bytes.len() as u32, Some(position as u32));
    Data {
        connection,
        direction,
        turn: 0,
        position,
        entered: 0,
        token,
        cause: 0,
        trail: autospan_abi::Trail::Thread,
        sequence,
        total,
        head: bytes,
        tail: &[],
    }
}
