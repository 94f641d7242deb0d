use super::*;
use crate::span::Value;
use core::net::{IpAddr, Ipv4Addr};
use std::collections::BTreeMap;

const SERVER: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 8080);
const CLIENT: (IpAddr, u16) = (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 40000);

fn end(body_bytes: u64, truncated: bool) -> MessageEnd {
    MessageEnd { body_bytes: Some(body_bytes), truncated }
}

fn request(target: &str, host: &str) -> HttpRequest {
    let (target, host) = (target.to_string(), host.to_string());
    HttpRequest { method: "GET".into(), target, version: "1.1", host, ..HttpRequest::default() }
}

fn exchange(kind: SpanKind, request: HttpRequest, status: u16) -> Exchange<'static> {
    let ends = match kind {
        SpanKind::Server => Ends::Inet { local: SERVER, remote: CLIENT },
        SpanKind::Client => Ends::Inet { local: CLIENT, remote: SERVER },
    };
    let response = Some((HttpResponse { status, version: "1.1", ..HttpResponse::default() }, end(20, false)));
    Exchange { kind, request, request_end: end(10, false), response, reset: None, duration_ns: 0, tls: None, ends }
}

fn server(target: &str, host: &str) -> BTreeMap<String, String> {
    attributes(exchange(SpanKind::Server, request(target, host), 200))
}

fn client(target: &str, host: &str) -> BTreeMap<String, String> {
    attributes(exchange(SpanKind::Client, request(target, host), 200))
}

/// Attributes as text; no key may come twice.
fn attributes(exchange: Exchange<'_>) -> BTreeMap<String, String> {
    let attributes = exchange.attributes();
    let count = attributes.len();
    let text = |value| match value {
        Value::String(text) => text.into_owned(),
        Value::Int(n) => n.to_string(),
        other => format!("{other:?}"),
    };
    let map: BTreeMap<_, _> = attributes.into_iter().map(|a| (a.key.into_owned(), text(a.value))).collect();
    assert_eq!(map.len(), count, "a key came twice");
    map
}

#[track_caller]
fn check(actual: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    let expected: BTreeMap<_, _> = expected.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    assert_eq!(*actual, expected);
}

#[test]
fn all_attributes_of_a_server() {
    let mut request = request("/items/1?limit=3&token=secret&flag", "shop.example:8000");
    request.user_agent = "curl/8.1".to_string();
    request.captured = Vec::from([("x-request-id".to_string(), Vec::from(["42".to_string()]))]);
    check(
        &attributes(exchange(SpanKind::Server, request, 200)),
        &[
            ("client.address", "10.0.0.1"),
            ("client.port", "40000"),
            ("http.request.body.size", "10"),
            ("http.request.header.x-request-id", "Strings([\"42\"])"),
            ("http.request.method", "GET"),
            ("http.response.body.size", "20"),
            ("http.response.status_code", "200"),
            ("network.peer.address", "10.0.0.1"),
            ("network.peer.port", "40000"),
            ("network.protocol.version", "1.1"),
            ("network.transport", "tcp"),
            ("server.address", "shop.example"),
            ("server.port", "8000"),
            ("url.path", "/items/1"),
            ("url.query", "limit=REDACTED&token=REDACTED&REDACTED"),
            ("url.scheme", "http"),
            ("user_agent.original", "curl/8.1"),
        ],
    );
}

#[test]
fn all_attributes_of_a_client() {
    check(
        &client("/items?id=1", "shop.example"),
        &[
            ("http.request.body.size", "10"),
            ("http.request.method", "GET"),
            ("http.response.body.size", "20"),
            ("http.response.status_code", "200"),
            ("network.peer.address", "10.0.0.2"),
            ("network.peer.port", "8080"),
            ("network.protocol.version", "1.1"),
            ("network.transport", "tcp"),
            ("server.address", "shop.example"),
            ("server.port", "80"),
            ("url.full", "http://shop.example/items?id=REDACTED"),
        ],
    );
}

#[test]
fn urls_of_clients() {
    let full = |target, host| client(target, host)["url.full"].clone();
    assert_eq!(full("/", "shop.example:8080"), "http://shop.example:8080/");
    assert_eq!(full("/", "[::1]:8080"), "http://[::1]:8080/");
    assert_eq!(full("/", ""), "http://10.0.0.2:8080/");
    assert_eq!(full("/?a=&b=1", "a"), "http://a/?a=&b=REDACTED");
    assert_eq!(full("/a#fragment", "a"), "http://a/a");
    assert_eq!(
        full("http://user:secret@shop.example/a?b=c", "proxy"),
        "http://REDACTED:REDACTED@shop.example/a?b=REDACTED"
    );
    assert_eq!(full("HTTPS://shop.example", "proxy"), "https://shop.example/");
    assert_eq!(full("http://shop.example?a=1", "proxy"), "http://shop.example/?a=REDACTED");
    assert_eq!(full("*", "shop.example"), "http://shop.example");
    assert_eq!(full("shop.example:443", "shop.example:443"), "http://shop.example:443");
    assert!(full(&format!("/{}", "x".repeat(5_000)), "a").len() <= crate::limits::ATTRIBUTE_BYTES_MAX);
}

#[test]
fn tls_makes_it_https() {
    let tls = Some(Tls { version: 0x0303, cipher: 0x1301 });
    let server = attributes(Exchange { tls, ..exchange(SpanKind::Server, request("/a", "shop"), 200) });
    assert_eq!(server["url.scheme"], "https");
    assert_eq!((&*server["tls.protocol.version"], &*server["tls.cipher"]), ("1.3", "TLS_AES_128_GCM_SHA256"));
    let client = attributes(Exchange { tls, ..exchange(SpanKind::Client, request("/a", "shop"), 200) });
    assert_eq!((&*client["url.full"], &*client["server.port"]), ("https://shop/a", "443"));
}

#[test]
fn names_of_the_server() {
    let name = |map: BTreeMap<String, String>| {
        let text = |key: &str| map.get(key).cloned().unwrap_or_default();
        format!("{} {}", text("server.address"), text("server.port"))
    };
    assert_eq!(name(server("/", "shop.example")), "shop.example 8080");
    assert_eq!(name(server("/", "[fd00::1]:81")), "fd00::1 81");
    assert_eq!(name(server("/", "")), "10.0.0.2 8080");
    assert_eq!(name(server("http://shop.example:82/", "other")), "shop.example 82");
    assert_eq!(name(client("/", "")), "10.0.0.2 8080");
    assert_eq!(name(client("https://shop.example/", "")), "shop.example 443");
    assert_eq!(name(client("shop.example:443", "")), "shop.example 443");
    assert_eq!(name(client("/", "shop.example:not-a-port")), "shop.example 80");
}

#[test]
fn paths_of_servers() {
    let path = |target| server(target, "a").get("url.path").cloned();
    assert_eq!(path("/a/b"), Some("/a/b".to_string()));
    assert_eq!(path("http://b"), Some("/".to_string()));
    assert_eq!(path("*"), Some("*".to_string()));
    assert_eq!(path("shop.example:443"), None);
    assert_eq!(server("/a?", "a").get("url.query"), Some(&String::new()));
}

#[test]
fn unix_sockets() {
    let on = |kind, path| {
        let ends = Ends::Unix { path };
        attributes(Exchange { ends, ..exchange(kind, request("/v1/info", ""), 200) })
    };
    let client = on(SpanKind::Client, b"/run/app.sock");
    assert_eq!(client["url.full"], "http://localhost/v1/info");
    assert_eq!(client["server.address"], "/run/app.sock");
    assert_eq!(client["network.peer.address"], "/run/app.sock");
    assert_eq!(client["network.transport"], "unix");
    assert_eq!(client.get("server.port"), None);
    let server = on(SpanKind::Server, b"\0abstract");
    assert_eq!(server["server.address"], "@abstract");
    assert_eq!(server.get("network.peer.address"), None);
    assert_eq!(server.get("client.address"), None);
}

/// Status and `error.type`.
fn outcome(exchange: Exchange<'_>) -> (Status, Option<String>) {
    (exchange.status(), attributes(exchange).get("error.type").cloned())
}

#[test]
fn a_server_is_to_blame_for_5xx_and_a_client_has_no_use_for_4xx() {
    let of = |kind, status| outcome(exchange(kind, request("/", "a"), status));
    let error = |code: &str| (Status::Error("".into()), Some(code.to_string()));
    for status in [101, 200, 304, 399] {
        assert_eq!(of(SpanKind::Server, status), (Status::Unset, None));
        assert_eq!(of(SpanKind::Client, status), (Status::Unset, None));
    }
    assert_eq!(of(SpanKind::Server, 404), (Status::Unset, None));
    assert_eq!(of(SpanKind::Client, 404), error("404"));
    assert_eq!(of(SpanKind::Server, 500), error("500"));
    assert_eq!(of(SpanKind::Client, 503), error("503"));
}

#[test]
fn a_connection_closed_too_early_is_an_error() {
    for kind in [SpanKind::Server, SpanKind::Client] {
        let whole = exchange(kind, request("/", "a"), 200);
        let (status, error) = outcome(Exchange { response: None, ..whole.clone() });
        assert!(matches!(status, Status::Error(text) if text.contains("closed")));
        assert_eq!(error.as_deref(), Some("connection_closed"));
        let cut = whole.response.clone().map(|(response, _)| (response, end(5, true)));
        assert_eq!(outcome(Exchange { response: cut, ..whole.clone() }).1.as_deref(), Some("connection_closed"));
        let refused_early = Exchange { request_end: end(5, true), ..whole };
        assert_eq!(outcome(refused_early), (Status::Unset, None));
    }
}

#[test]
fn unknown_methods_do_not_name_spans() {
    let known = request("/", "a");
    assert_eq!(name(&known), "GET");
    let unknown = HttpRequest { method: "get".into(), ..known };
    assert_eq!(name(&unknown), "HTTP");
    let attributes = attributes(exchange(SpanKind::Server, unknown, 200));
    assert_eq!(attributes["http.request.method"], "_OTHER");
    assert_eq!(attributes["http.request.method_original"], "get");
}
