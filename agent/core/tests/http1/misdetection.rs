//! What is HTTP/1 is recognised from every prefix on; what is not never is.

use crate::golden::goldens;
use autospan_core::protocol::http1::Http1;
use autospan_core::protocol::{Side, Sniff};

/// First bytes of other protocols, from their clients and their servers.
const FOREIGN: [(&str, &[u8]); 34] = [
    ("TLS ClientHello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    ("TLS alert", b"\x15\x03\x03\x00\x02\x02\x28"),
    ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("HTTP/2 settings", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64"),
    ("HTTP/0.9", b"GET /index.html\r\n"),
    ("HTTP/2 status line", b"HTTP/2 200 OK\r\n"),
    ("RTSP request", b"DESCRIBE rtsp://example.com/stream RTSP/1.0\r\n"),
    ("RTSP options", b"OPTIONS * RTSP/1.0\r\n"),
    ("RTSP response", b"RTSP/1.0 200 OK\r\n"),
    ("SIP request", b"INVITE sip:bob@example.com SIP/2.0\r\n"),
    ("SIP options", b"OPTIONS sip:carol@example.com SIP/2.0\r\n"),
    ("ICY", b"ICY 200 OK\r\n"),
    ("PostgreSQL startup", b"\x00\x00\x00\x29\x00\x03\x00\x00user\0postgres\0"),
    ("PostgreSQL SSLRequest", b"\x00\x00\x00\x08\x04\xd2\x16\x2f"),
    ("PostgreSQL query", b"Q\x00\x00\x00\x0dSELECT 1\0"),
    ("PostgreSQL ready", b"R\x00\x00\x00\x08\x00\x00\x00\x00"),
    ("MySQL handshake", b"\x4a\x00\x00\x00\x0a8.0.36\0"),
    ("MySQL query", b"\x09\x00\x00\x00\x03SELECT 1"),
    ("Redis command", b"*2\r\n$3\r\nGET\r\n$4\r\n/key\r\n"),
    ("Redis inline", b"GET /key\r\n"),
    ("Redis inline key", b"GET key HTTP/1.1\r\n"),
    ("Redis reply", b"+OK\r\n"),
    ("memcached get", b"get /key\r\n"),
    ("memcached set", b"set /key 0 0 5\r\nhello\r\n"),
    ("memcached value", b"VALUE /key 0 5\r\nhello\r\nEND\r\n"),
    ("SMTP greeting", b"220 mail.example.com ESMTP\r\n"),
    ("SMTP client", b"EHLO client.example.com\r\n"),
    ("FTP", b"RETR /file HTTP\r\n"),
    ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n"),
    ("NATS info", b"INFO {\"server_id\":\"x\"} \r\n"),
    ("NATS publish", b"PUB /subject 5\r\nhello\r\n"),
    ("AMQP", b"AMQP\x00\x00\x09\x01"),
    ("MQTT connect", b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00"),
    ("Kafka", b"\x00\x00\x00\x1c\x00\x12\x00\x03\x00\x00\x00\x01\x00\x06client"),
];

#[test]
fn foreign_bytes_are_not_http1() {
    for (name, bytes) in FOREIGN {
        for side in [Side::Request, Side::Response] {
            let verdicts: Vec<_> = (0..=bytes.len()).map(|len| Http1::sniff(side, &bytes[..len])).collect();
            assert!(!verdicts.contains(&Sniff::Yes), "{name} as {side:?}: {verdicts:?}");
            let with_more = [bytes, &[b'\n'; 64]].concat();
            assert_eq!(Http1::sniff(side, &with_more), Sniff::No, "{name} as {side:?}");
        }
    }
}

#[test]
fn goldens_are_recognised_on_their_side_only() {
    let foreign = ["http2", "tls"];
    for golden in goldens().iter().filter(|golden| !foreign.contains(&golden.name())) {
        for (side, other) in [(Side::Request, Side::Response), (Side::Response, Side::Request)] {
            let bytes = golden.dialog.start_of(side);
            if bytes.is_empty() {
                continue;
            }
            let name = golden.name();
            let mut decided = false;
            for len in 0..=bytes.len().min(100) {
                let verdict = Http1::sniff(side, &bytes[..len]);
                assert_ne!(verdict, Sniff::No, "{name}: {side:?} of {len} bytes");
                assert!(!decided || verdict == Sniff::Yes, "{name}: {side:?} of {len} bytes is undecided again");
                decided = verdict == Sniff::Yes;
                assert_ne!(Http1::sniff(other, &bytes[..len]), Sniff::Yes, "{name}: {other:?} of {len} bytes");
            }
        }
    }
}

#[test]
fn a_long_target_needs_a_known_method() {
    let line = |method: &str| format!("{method} /{} HTTP/1.1\r\n", "a".repeat(100)).into_bytes();
    assert_eq!(Http1::sniff(Side::Request, &line("PATCH")), Sniff::Yes);
    assert_eq!(Http1::sniff(Side::Request, &line("FROB")), Sniff::No);
    assert_eq!(Http1::sniff(Side::Request, b"FROB /short HTTP/1.1\r\n"), Sniff::Yes);
}

#[test]
fn a_boundary_is_found_at_the_start_of_a_line() {
    let find = |side, bytes: &str| Http1::resync(side, bytes.as_bytes());
    assert_eq!(find(Side::Request, "GET / HTTP/1.1\r\n"), Some(0));
    assert_eq!(find(Side::Request, "tail of a body\r\nGET / HTTP/1.1\r\n"), Some(16));
    assert_eq!(find(Side::Request, "body GET / HTTP/1.1\r\n"), None);
    assert_eq!(find(Side::Request, "abc\nPOST"), Some(4));
    assert_eq!(find(Side::Request, "abc\nP"), None);
    assert_eq!(find(Side::Response, "abc\r\n\r\nHTTP/1.1 200 OK\r\n"), Some(7));
    assert_eq!(find(Side::Response, "GET / HTTP/1.1\r\n"), None);
    assert_eq!(find(Side::Response, ""), None);
}
