//! JSON lines through the whole exporter: queue, batch, sink.

use super::*;
use crate::export::testing::{DEADLINE, With, resource, server_span};
use crate::export::worker::Sink;
use crate::export::{BatchConfig, Exporter};
use std::io::{self, Write};
use std::sync::Mutex;
use std::time::Duration;
use tokio::runtime::Handle;

/// Takes everything, or nothing.
#[derive(Clone, Debug, Default)]
struct Pipe(Arc<Mutex<Vec<u8>>>);

struct BrokenPipe;

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for BrokenPipe {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn exporter(write: impl Write + Send + 'static) -> Exporter {
    let counters = Arc::<Counters>::default();
    let sink = Sink::Json(JsonLines::new(Output::new(write), Arc::clone(&counters)));
    let batch = BatchConfig { delay: Duration::from_millis(1), ..BatchConfig::default() };
    Exporter::spawn(&Handle::current(), sink, batch, counters)
}

#[tokio::test]
async fn a_line_is_an_object_with_every_field() {
    let pipe = Pipe::default();
    let exporter = exporter(pipe.clone());
    let mut span = server_span(&resource("shop"), 2, "/\"quoted\"\n\u{1b}/é").parent(1).error(500);
    span.span.attributes.push(Attribute::new("http.request.header.x", Value::Strings(vec!["a".into(), "b".into()])));
    exporter.push(span);
    let counters = exporter.shutdown(DEADLINE).await;

    let text = String::from_utf8(pipe.0.lock().unwrap().clone()).unwrap();
    assert_eq!(counters.get(Counter::Exported), 1);
    assert_eq!(counters.get(Counter::Bytes), text.len() as u64);
    assert!(text.ends_with('\n') && text.lines().count() == 1, "{text}");
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    let expected = serde_json::json!({
        "trace_id": "01010101010101010101010101010101",
        "span_id": "0202020202020202",
        "parent_span_id": "0101010101010101",
        "parent_is_remote": false,
        "trace_state": "",
        "name": "GET",
        "kind": "server",
        "start_time": "2026-01-02T03:04:05.000000000Z",
        "end_time": "2026-01-02T03:04:05.003000000Z",
        "start_unix_ns": 1_767_323_045_000_000_000_u64,
        "end_unix_ns": 1_767_323_045_003_000_000_u64,
        "duration_ns": 3_000_000,
        "status": "error",
        "status_message": "",
        "process_id": 4242,
        "thread_id": 4243,
        "attributes": {
            "http.request.method": "GET",
            "url.path": "/\"quoted\"\n\u{1b}/é",
            "http.response.status_code": 500,
            "error.type": "500",
            "http.request.header.x": ["a", "b"],
        },
        "resource": { "process.pid": 4242, "service.name": "shop" },
    });
    assert_eq!(line, expected);
}

#[tokio::test]
async fn a_root_has_no_parent() {
    let pipe = Pipe::default();
    let exporter = exporter(pipe.clone());
    exporter.push(server_span(&resource("shop"), 2, "/"));
    exporter.shutdown(DEADLINE).await;
    let line: serde_json::Value = serde_json::from_slice(&pipe.0.lock().unwrap()).unwrap();
    assert_eq!(line["parent_span_id"], serde_json::Value::Null);
    assert_eq!(line["status"], "unset");
}

#[tokio::test]
async fn a_reader_that_is_gone_closes_the_exporter() {
    let exporter = exporter(BrokenPipe);
    exporter.push(server_span(&resource("shop"), 1, "/"));
    tokio::time::timeout(DEADLINE, exporter.closed()).await.expect("closed by the broken pipe");
    exporter.push(server_span(&resource("shop"), 2, "/"));
    let counters = exporter.shutdown(DEADLINE).await;
    assert_eq!(counters.get(Counter::Exported), 0);
    assert_eq!(counters.get(Counter::DroppedShutdown), 2, "the one in flight, and the one after");
}

#[tokio::test]
async fn an_open_sink_is_not_closed() {
    let exporter = exporter(Pipe::default());
    let closed = exporter.closed();
    assert!(tokio::time::timeout(Duration::from_millis(20), closed).await.is_err());
}
