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

/// Frames of HTTP/2: the client's preface, the server's SETTINGS, and, for what comes first on a connection, fields that
/// become entries of the header table.
mod http2 {
    pub(crate) const BEGIN: [&[u8]; 2] =
        [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", b"\0\0\0\x04\0\0\0\0\0"];
    /// `GET http` and the path, which nobody indexes.
    const REQUEST: &[u8] = b"\x82\x86\x04\x22/api/v1/orders/42?currency=EUR&n=1";
    const REQUEST_FIRST: &[u8] = b"\x41\x13orders.example:8080\x7a\x16python-requests/2.32.3\x53\x03*/*";
    const REQUEST_NEXT: &[u8] = b"\xc0\xbf\xbe";
    /// `200` and the length.
    const RESPONSE: &[u8] = b"\x88\x0f\x0d\x0227";
    const RESPONSE_FIRST: &[u8] = b"\x5f\x10application/json\x61\x1dSat, 21 Nov 2026 11:30:00 GMT";
    const RESPONSE_NEXT: &[u8] = b"\xbf\xbe";
    const BODY: &[u8] = b"{\"id\":42,\"state\":\"shipped\"}";

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[&[u8]]) -> Vec<u8> {
        let payload = payload.concat();
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), &payload].concat()
    }

    /// Request and response number `round` of a connection.
    pub(crate) fn exchange(round: u64) -> [Vec<u8>; 2] {
        let stream = 2 * round as u32 + 1;
        let (asked, answered) =
            if round == 0 { (REQUEST_FIRST, RESPONSE_FIRST) } else { (REQUEST_NEXT, RESPONSE_NEXT) };
        let head = frame(1, 0x4, stream, &[RESPONSE, answered]);
        [frame(1, 0x5, stream, &[REQUEST, asked]), [head, frame(0, 0x1, stream, &[BODY])].concat()]
    }
}

/// Request and response number `round` of a connection.
type Exchange = fn(round: u64) -> [Vec<u8>; 2];

/// Without and with the encoding; the fastest of three rounds counts.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let exchanges = std::env::args().nth(1).map_or(Ok(100_000), |n| n.parse())?;
    let http1 = records(exchanges, [b"", b""], |_| [REQUEST.to_vec(), RESPONSE.to_vec()]);
    let http2 = records(exchanges, http2::BEGIN, http2::exchange);
    let mut encoder = Encoder::new()?;
    let [mut engine_time, mut encoded_time, mut streams_time, mut encoded_streams_time] = [Duration::MAX; 4];
    for _ in 0..3 {
        engine_time = engine_time.min(engine_only(&http1, exchanges)?);
        encoded_time = encoded_time.min(encoded(&http1, exchanges, &mut encoder).await?);
        streams_time = streams_time.min(engine_only(&http2, exchanges)?);
    }
    let bytes_per_span = encoder.sizes.0.load(Ordering::Relaxed) / (3 * exchanges);
    for _ in 0..3 {
        encoded_streams_time = encoded_streams_time.min(encoded(&http2, exchanges, &mut encoder).await?);
    }
    let per_second = |time: Duration| (exchanges as f64 / time.as_secs_f64()) as u64;
    println!(
        r#"{{"exchanges":{exchanges},"engine_per_second":{},"encoded_per_second":{},"streams_per_second":{},"encoded_streams_per_second":{},"encoded_bytes_per_span":{bytes_per_span}}}"#,
        per_second(engine_time),
        per_second(encoded_time),
        per_second(streams_time),
        per_second(encoded_streams_time),
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

/// Chunks of records, as drains of the ring buffer would give them. `begin`: what both ends say before the first exchange.
fn records(exchanges: u64, begin: [&[u8]; 2], exchange: Exchange) -> Vec<Vec<u8>> {
    const DIRECTIONS: [Direction; 2] = [Direction::Inbound, Direction::Outbound];
    let mut at = 1_000_000;
    let mut opening = Vec::new();
    let mut positions = [[0; 2]; CONNECTIONS as usize];
    for connection in 1..=CONNECTIONS {
        event(&mut opening, at, connection, EventKind::Opened(opened(connection)));
        for (side, bytes) in begin.into_iter().enumerate().filter(|(_, bytes)| !bytes.is_empty()) {
            event(&mut opening, at, connection, EventKind::Data(data(connection, DIRECTIONS[side], 0, 0, bytes)));
            positions[connection as usize - 1][side] = bytes.len() as u64;
        }
    }
    let mut chunks = vec![opening];
    for n in 0..exchanges {
        let (connection, round) = (n % CONNECTIONS + 1, n / CONNECTIONS);
        if n % 64 == 0 {
            chunks.push(Vec::with_capacity(64 * 700));
        }
        let chunk = chunks.last_mut().unwrap_or_else(|| unreachable!("never empty"));
        for (side, bytes) in exchange(round).iter().enumerate() {
            at += RECORD_NS;
            let position = &mut positions[connection as usize - 1][side];
            let token = if side == 0 { n + 1 } else { 0 };
            event(chunk, at, connection, EventKind::Data(data(connection, DIRECTIONS[side], *position, token, bytes)));
            *position += bytes.len() as u64;
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

fn data(connection: u64, direction: Direction, position: u64, token: u64, bytes: &[u8]) -> Data<'_> {
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
