//! HTTP/1: method and target, status.

use super::golden::Golden;
use super::tshark::Message;
use super::{Dissector, Exchanges};

pub(super) const DISSECTOR: Dissector =
    Dissector { name: "http1", layer: "http", port: 80, preferences: &["http.decompress_body:FALSE"], theirs, ours };

fn theirs(_: &Golden, messages: &[Message]) -> Exchanges {
    let mut seen = Exchanges::default();
    for message in messages {
        let line = |names: [&str; 3]| names.map(|name| message.first(name).unwrap_or_default()).join(" ");
        if message.first("http.request.method").is_some() {
            seen.requests.push(line(["http.request.method", "http.request.uri", "http.request.version"]));
        } else if let Some(status) = message.first("http.response.code") {
            // Interim responses do not answer.
            if !status.starts_with('1') || status == "101" {
                seen.responses.push(format!("{status} {}", message.first("http.response.version").unwrap_or_default()));
            }
        }
    }
    seen
}

fn ours(golden: &Golden) -> Exchanges {
    let words = |line: &str, count| line.split(' ').take(count).collect::<Vec<_>>().join(" ");
    let is_status = |line: &&str| line.starts_with(|first: char| first.is_ascii_digit());
    let is_request = |line: &&str| line.contains(" HTTP/");
    Exchanges {
        requests: golden.expected('>').filter(is_request).map(|line| words(line, 3)).collect(),
        responses: golden.expected('<').filter(is_status).map(|line| words(line, 2)).collect(),
    }
}
