//! Full speed: 100 streams at once on each of eight connections.

use crate::load::full_speed_by;
use crate::need::needs_root;
use anyhow::Result;
use rig::{Address, App, Authority, Nginx, Service, h2load, nginx};

const CONNECTIONS: u32 = 8;
const REQUESTS: u64 = 40_000;
/// Of those that take their time.
const REQUESTS_SLOW: u64 = 8_000;

fn to_nginx(authority: Option<&Authority>) -> Result<()> {
    let settings = nginx::Settings { http2: true, tls: authority, ..Default::default() };
    let nginx = Nginx::start_with(&Address::loopback()?, settings)?;
    let url = if authority.is_some() { nginx.address.https("/hello") } else { nginx.address.url("/hello") };
    let load = || h2load::exactly(&url, REQUESTS, CONNECTIONS);
    full_speed_by(load, nginx.port(), &nginx.pids()?, REQUESTS)
}

fn to_service(app: App, requests: u64) -> Result<()> {
    let service = Service::start(app)?;
    let load = || h2load::exactly(&service.url("/hello"), requests, CONNECTIONS);
    full_speed_by(load, service.port(), &service.pids()?, requests)
}

#[test]
fn to_nginx_every_request_is_a_span_or_a_counted_drop() -> Result<()> {
    needs_root!();
    to_nginx(None)
}

#[test]
fn to_nginx_over_tls_every_request_is_a_span_or_a_counted_drop() -> Result<()> {
    needs_root!();
    to_nginx(Some(&Authority::new()?))
}

#[test]
fn to_go_every_request_is_a_span_or_a_counted_drop() -> Result<()> {
    needs_root!();
    to_service(App::GoHttp2, REQUESTS)
}

#[test]
fn to_node_every_request_is_a_span_or_a_counted_drop() -> Result<()> {
    needs_root!();
    to_service(App::NodeHttp2, REQUESTS_SLOW)
}

#[test]
fn to_hypercorn_every_request_is_a_span_or_a_counted_drop() -> Result<()> {
    needs_root!();
    to_service(App::Hypercorn, REQUESTS_SLOW / 4)
}
