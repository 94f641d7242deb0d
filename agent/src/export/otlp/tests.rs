//! The OTLP sink against a receiver that follows a script. What the bytes say is for the end-to-end tests, which decode
//! them with other code than ours.

use super::*;
use crate::export::testing::{DEADLINE, exporter, resource, server_span};
use crate::export::{Exporter, SinkConfig};
use crate::process::Resource;
use autospan_core::span::Attribute;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What the receiver does with a request.
#[derive(Clone, Debug)]
enum Reply {
    Status(&'static str),
    /// Success with this message as body.
    Body(&'static [u8]),
    /// Keeps the connection open and says nothing.
    Silence,
}

/// A receiver that answers as told, then 200 for ever.
#[derive(Clone, Debug)]
struct Receiver {
    address: String,
    script: Arc<Mutex<VecDeque<Reply>>>,
    requests: Arc<AtomicUsize>,
}

impl Receiver {
    async fn start(script: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start_on(listener, script)
    }

    fn start_on(listener: TcpListener, script: impl IntoIterator<Item = Reply>) -> Self {
        let receiver = Self {
            address: listener.local_addr().unwrap().to_string(),
            script: Arc::new(Mutex::new(script.into_iter().collect())),
            requests: Arc::default(),
        };
        tokio::spawn(receiver.clone().accept(listener));
        receiver
    }

    async fn accept(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(self.clone().serve(stream));
        }
    }

    async fn serve(self, stream: TcpStream) -> Option<()> {
        let mut stream = BufReader::new(stream);
        loop {
            read_request(&mut stream).await?;
            self.requests.fetch_add(1, Ordering::SeqCst);
            let reply = self.script.lock().unwrap().pop_front().unwrap_or(Reply::Status("200 OK"));
            let (status, body) = match reply {
                Reply::Status(status) => (status, &[][..]),
                Reply::Body(body) => ("200 OK", body),
                Reply::Silence => std::future::pending().await,
            };
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(&[head.as_bytes(), body].concat()).await.ok()?;
        }
    }

    fn config(&self) -> OtlpConfig {
        config(Protocol::HttpProtobuf, &self.address)
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<()> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    stream.read_exact(&mut vec![0; length]).await.ok()?;
    Some(())
}

fn config(protocol: Protocol, address: &str) -> OtlpConfig {
    OtlpConfig {
        endpoint: format!("http://{address}/v1/traces"),
        protocol,
        headers: Headers::default(),
        gzip: false,
        timeout: Duration::from_millis(200),
        retry_for: Duration::from_millis(600),
        tls: TlsFiles::default(),
    }
}

/// An address where nothing listens.
async fn refusing() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

fn push(exporter: &Exporter, spans: u8) {
    let resource = resource("shop");
    (1..=spans).for_each(|id| exporter.push(server_span(&resource, id, "/")));
}

/// Exports `spans` and returns [exported, retries, dropped.export_failed, dropped.shutdown].
async fn export(config: OtlpConfig, spans: u8) -> [u64; 4] {
    let exporter = exporter(SinkConfig::Otlp(config), 64);
    push(&exporter, spans);
    let counters = exporter.shutdown(DEADLINE).await;
    [Counter::Exported, Counter::Retries, Counter::DroppedExportFailed, Counter::DroppedShutdown]
        .map(|counter| counters.get(counter))
}

#[tokio::test]
async fn a_receiver_that_takes_spans() {
    let receiver = Receiver::start([]).await;
    assert_eq!(export(receiver.config(), 3).await, [3, 0, 0, 0]);
    assert_eq!(receiver.requests(), 1, "one resource and one batch are one request");
}

#[tokio::test]
async fn each_resource_is_a_request() {
    let receiver = Receiver::start([]).await;
    let exporter = exporter(SinkConfig::Otlp(receiver.config()), 64);
    let (shop, stock) = (resource("shop"), resource("stock"));
    for (id, resource) in [&shop, &stock, &shop, &stock].into_iter().enumerate() {
        exporter.push(server_span(resource, id as u8 + 1, "/"));
    }
    let counters = exporter.shutdown(DEADLINE).await;
    assert_eq!(counters.get(Counter::Exported), 4);
    assert_eq!(receiver.requests(), 2);
}

#[tokio::test]
async fn rejected_spans_are_counted() {
    // partial_success { rejected_spans: 2 }
    let receiver = Receiver::start([Reply::Body(&[0x0a, 0x02, 0x08, 0x02])]).await;
    let exporter = exporter(SinkConfig::Otlp(receiver.config()), 64);
    push(&exporter, 3);
    let counters = exporter.shutdown(DEADLINE).await;
    let spans = [Counter::Exported, Counter::DroppedExportRejected, Counter::DroppedShutdown];
    assert_eq!(spans.map(|counter| counters.get(counter)), [1, 2, 0]);
}

#[tokio::test]
async fn a_busy_receiver_gets_the_batch_again() {
    let receiver = Receiver::start([Reply::Status("503 Service Unavailable")]).await;
    assert_eq!(export(receiver.config(), 3).await, [3, 1, 0, 0]);
    assert_eq!(receiver.requests(), 2);
}

#[tokio::test]
async fn a_refusal_is_final() {
    let receiver = Receiver::start([Reply::Status("401 Unauthorized")]).await;
    assert_eq!(export(receiver.config(), 3).await, [0, 0, 3, 0]);
    assert_eq!(receiver.requests(), 1);
}

#[tokio::test]
async fn a_receiver_that_never_answers_costs_the_batch_after_retries() {
    let receiver = Receiver::start(std::iter::repeat_n(Reply::Silence, 100)).await;
    let [exported, retries, failed, shutdown] = export(receiver.config(), 3).await;
    assert_eq!([exported, failed, shutdown], [0, 3, 0]);
    assert!(retries >= 1);
}

#[tokio::test]
async fn a_receiver_that_is_not_there_costs_the_batch_after_retries() {
    for protocol in [Protocol::HttpProtobuf, Protocol::Grpc] {
        let config = config(protocol, &refusing().await);
        let [exported, retries, failed, shutdown] = export(config, 3).await;
        assert_eq!([exported, failed, shutdown], [0, 3, 0], "{protocol:?}");
        assert!(retries >= 1, "{protocol:?}: a refused connection is tried again");
    }
}

#[tokio::test]
async fn a_receiver_that_comes_back_gets_everything() {
    let address = refusing().await;
    let mut config = config(Protocol::HttpProtobuf, &address);
    config.retry_for = DEADLINE;
    let exporter = exporter(SinkConfig::Otlp(config), 64);
    push(&exporter, 9);
    while exporter.counters().get(Counter::Retries) == 0 {
        tokio::task::yield_now().await;
    }
    Receiver::start_on(TcpListener::bind(&address).await.unwrap(), []);
    let counters = exporter.shutdown(DEADLINE).await;
    assert_eq!(counters.get(Counter::Exported), 9);
}

#[tokio::test]
async fn grpc_to_something_else_is_a_final_failure() {
    let receiver = Receiver::start([]).await;
    let [exported, _, failed, shutdown] = export(config(Protocol::Grpc, &receiver.address), 3).await;
    assert_eq!([exported, failed, shutdown], [0, 3, 0]);
}

#[tokio::test]
async fn every_span_is_accounted_for() {
    let receiver = Receiver::start([Reply::Silence]).await;
    let mut config = receiver.config();
    (config.timeout, config.retry_for) = (DEADLINE, DEADLINE);
    let exporter = exporter(SinkConfig::Otlp(config), 8);
    // Until the task is stuck in its first request, what it holds is not in the queue.
    push(&exporter, 1);
    while receiver.requests() == 0 {
        tokio::task::yield_now().await;
    }
    push(&exporter, 100);
    assert_eq!(exporter.counters().get(Counter::DroppedQueueFull), 92);
    let counters = exporter.shutdown(Duration::from_millis(1)).await;
    assert_eq!(counters.get(Counter::Exported), 0);
    assert_eq!(counters.get(Counter::DroppedShutdown), 9, "one in flight, eight in the queue");
}

/// Takes requests and keeps their size.
#[derive(Clone, Debug, Default)]
struct Sizes(Arc<AtomicUsize>);

#[async_trait::async_trait]
impl HttpClient for Sizes {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.0.fetch_add(request.body().len(), Ordering::Relaxed);
        Ok(Response::new(Bytes::new()))
    }
}

/// What a span costs from ours to the bytes of a request. Worth reading with
/// `cargo test --release --package autospan --lib encode_cost -- --nocapture`.
#[tokio::test]
async fn encode_cost() {
    const SPANS: usize = 2_048;
    let sizes = Sizes::default();
    let builder = SpanExporter::builder().with_http().with_http_client(sizes.clone());
    let exporter = builder.with_endpoint("http://localhost/").build().unwrap();
    let (resource, scope) = (resource("shop"), span_data::scope());
    let spans: Vec<_> = (0..SPANS).map(|i| typical_span(&resource, i as u8)).collect();
    let mut best = Duration::MAX;
    for _ in 0..10 {
        let start = std::time::Instant::now();
        let batch = spans.iter().map(|span| span_data::span_data(&span.span, &scope)).collect();
        exporter.export(batch).await.unwrap();
        best = best.min(start.elapsed());
    }
    let bytes = sizes.0.load(Ordering::Relaxed) / 10 / SPANS;
    println!("{} ns and {bytes} bytes per span of {} attributes", best.as_nanos() / SPANS as u128, 15);
    assert!((400..800).contains(&bytes), "{bytes} bytes per span");
}

/// The attributes of a server span as they come from a real service.
fn typical_span(resource: &Arc<Resource>, id: u8) -> ExportSpan {
    let mut span = server_span(resource, id, "/api/v1/orders/42");
    let mut text = |key: &'static str, value: &str| span.span.attributes.push(Attribute::new(key, value.to_owned()));
    text("server.address", "orders.example");
    text("client.address", "10.1.2.3");
    text("network.peer.address", "10.1.2.3");
    text("user_agent.original", "python-requests/2.31.0");
    let attributes = [
        Attribute::new("url.scheme", "http"),
        Attribute::new("network.protocol.version", "1.1"),
        Attribute::new("autospan.parent.reason", "thread"),
        Attribute::new("server.port", 8_080_u16),
        Attribute::new("client.port", 51_234_u16),
        Attribute::new("network.peer.port", 51_234_u16),
        Attribute::new("http.request.body.size", 0_u64),
        Attribute::new("http.response.body.size", 1_234_u64),
    ];
    span.span.attributes.extend(attributes);
    span
}
