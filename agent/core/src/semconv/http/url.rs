//! The URL of a request, from its target and its `Host` (RFC 9112 section 3.3), without what is private in it.

use crate::limits::cut_attribute;
use crate::protocol::http2::UNKNOWN;
use alloc::format;
use alloc::string::String;

const REDACTED: &str = "REDACTED";

/// Parts of a URL, as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Url<'a> {
    pub(super) scheme: &'static str,
    /// Name or address that the request gives the server, without brackets; `None` where it gives none.
    pub(super) host: Option<&'a str>,
    pub(super) port: Option<u16>,
    /// `None` in the target of a CONNECT.
    pub(super) path: Option<&'a str>,
    pub(super) query: Option<&'a str>,
    has_credentials: bool,
}

impl<'a> Url<'a> {
    /// `scheme`: what a target without one is reached by.
    pub(super) fn parse(target: &'a str, host: &'a str, scheme: &'static str) -> Self {
        let target = target.split('#').next().unwrap_or(target);
        if let Some((scheme, rest)) = absolute(target) {
            let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, rest) = rest.split_at(authority_end);
            let url = Self::with_path(authority, rest, scheme);
            return Self { path: url.path.filter(|path| !path.is_empty()).or(Some("/")), ..url };
        }
        match target.starts_with('/') || target == "*" || target == UNKNOWN {
            true => Self::with_path(host, target, scheme),
            false => Self { path: None, query: None, ..Self::with_path(target, "", scheme) },
        }
    }

    fn with_path(authority: &'a str, target: &'a str, scheme: &'static str) -> Self {
        let (has_credentials, authority) = match authority.rsplit_once('@') {
            Some((_, rest)) => (true, rest),
            None => (false, authority),
        };
        let (host, port) = host_and_port(authority.trim());
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let host = Some(host).filter(|host| !host.is_empty());
        Self { scheme, host, port, path: Some(path), query, has_credentials }
    }

    pub(super) fn default_port(&self) -> u16 {
        if self.scheme == "https" { 443 } else { 80 }
    }

    /// The whole URL; `server` is asked where the request does not name one.
    pub(super) fn full(&self, server: impl FnOnce() -> (Option<String>, Option<u16>)) -> String {
        let mut url = format!("{}://", self.scheme);
        if self.has_credentials {
            url.push_str("REDACTED:REDACTED@");
        }
        match self.host {
            Some(host) => push_authority(&mut url, host, self.port),
            None => {
                let (address, port) = server();
                push_authority(&mut url, address.as_deref().unwrap_or("localhost"), port);
            }
        }
        if self.path == Some(UNKNOWN) {
            url.push('/');
        }
        url.push_str(self.path.filter(|path| *path != "*").unwrap_or(""));
        if let Some(query) = self.query {
            url.push('?');
            url.push_str(&redacted(query));
        }
        cut_attribute(&mut url);
        url
    }
}

/// A query with its values left out. What has no name is a value.
pub(super) fn redacted(query: &str) -> String {
    let mut out = String::with_capacity(query.len());
    for (i, field) in query.split('&').enumerate() {
        if i > 0 {
            out.push('&');
        }
        match field.split_once('=') {
            Some((name, "")) => out.extend([name, "="]),
            Some((name, _)) => out.extend([name, "=", REDACTED]),
            None if field.is_empty() => {}
            None => out.push_str(REDACTED),
        }
    }
    cut_attribute(&mut out);
    out
}

fn absolute(target: &str) -> Option<(&'static str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => Some(("http", rest)),
        _ if scheme.eq_ignore_ascii_case("https") => Some(("https", rest)),
        _ => None,
    }
}

/// `host [ ":" port ]`, with an IPv6 address in brackets.
fn host_and_port(authority: &str) -> (&str, Option<u16>) {
    if let Some((address, rest)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, rest.strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, port.parse().ok()),
        _ => (authority, None),
    }
}

fn push_authority(url: &mut String, host: &str, port: Option<u16>) {
    match host.contains(':') {
        true => url.extend(["[", host, "]"]),
        false => url.push_str(host),
    }
    if let Some(port) = port {
        url.push_str(&format!(":{port}"));
    }
}
