//! Full speed over TLS, and with the agent coming and going.

use crate::load::{full_speed, restarts};
use crate::need::needs_root;
use anyhow::Result;
use rig::{Address, App, Authority, Nginx, Service, nginx};

const REQUESTS: u64 = 20_000;

fn nginx_alone(authority: &Authority) -> Result<Nginx> {
    let settings = nginx::Settings { tls: Some(authority), ..Default::default() };
    Nginx::start_with(&Address::loopback()?, settings)
}

#[test]
fn full_speed_to_nginx_every_request_is_a_span_or_a_counted_drop() -> Result<()> {
    needs_root!();
    let nginx = nginx_alone(&Authority::new()?)?;
    full_speed(&nginx.address.https("/hello"), nginx.port(), &nginx.pids()?, REQUESTS)
}

#[test]
fn full_speed_to_node_every_request_is_a_span_or_a_counted_drop() -> Result<()> {
    needs_root!();
    let authority = Authority::new()?;
    let service = Service::start_tls(App::NodeHttp, &authority)?;
    full_speed(&service.url("/hello"), service.port(), &service.pids()?, REQUESTS)
}

#[test]
fn restarts_of_the_agent_harm_no_request_of_nginx() -> Result<()> {
    needs_root!();
    let nginx = nginx_alone(&Authority::new()?)?;
    restarts(&nginx.address.https("/hello"), nginx.port(), &nginx.pids()?)
}

#[test]
fn restarts_of_the_agent_harm_no_request_of_node() -> Result<()> {
    needs_root!();
    let authority = Authority::new()?;
    let service = Service::start_tls(App::NodeHttp, &authority)?;
    restarts(&service.url("/hello"), service.port(), &service.pids()?)
}

/// Go's stacks move: a probe at the wrong place would crash it.
#[test]
fn restarts_of_the_agent_harm_no_request_of_go() -> Result<()> {
    needs_root!();
    let authority = Authority::new()?;
    let service = Service::start_tls(App::Go, &authority)?;
    restarts(&service.url("/hello"), service.port(), &service.pids()?)
}
