//! Several services on one host that reach each other by TLS: one trace, without a header on the wire.

use super::{check_pair, check_tls, connect};
use crate::chain::{Chain, check_all};
use crate::need::needs_root;
use anyhow::Result;
use rig::service::Settings;
use rig::{Agent, App, Authority, Connector, Interpreter, Nginx, Receiver, Service, Span, nginx};

/// Server, client, server, client, …: all of them over TLS, the ends of each connection joined.
fn check_paths(paths: &[Vec<Span>]) {
    for path in paths {
        check_tls(&path[0]);
        path[1..].chunks(2).for_each(|pair| check_pair(&pair[0], &pair[1]));
    }
}

fn tls_service(app: App, next: Option<String>, authority: &Authority) -> Result<Service> {
    Service::start_with(app, &Settings { next, tls: Some(authority), ..Settings::default() })
}

fn three_services(apps: [App; 3]) -> Result<()> {
    three_services_by(Interpreter::Debian, apps)
}

/// Those in Python by this interpreter.
pub(super) fn three_services_by(interpreter: Interpreter, apps: [App; 3]) -> Result<()> {
    let (receiver, authority) = (Receiver::start()?, Authority::new()?);
    let settings = Settings { interpreter, tls: Some(&authority), ..Settings::default() };
    let before = |called: &Service| Settings { next: Some(called.url("/chain")), ..settings.clone() };
    let last = Service::start_with(apps[2], &settings)?;
    let middle = Service::start_with(apps[1], &before(&last))?;
    let mut agent = Agent::start(&receiver)?;
    // The first is younger than the agent, the others are older.
    let first = Service::start_with(apps[0], &before(&middle))?;
    agent.wait_for(first.pid())?;
    let chain = [&first, &middle, &last].map(Service::pids).into_iter().collect::<Result<Chain>>()?;
    check_paths(&check_all(&receiver, &|| first.connect(), &chain)?);
    agent.stop().map(drop)
}

/// requests, https.Agent, crypto/tls.
#[test]
fn flask_node_go() -> Result<()> {
    needs_root!();
    three_services([App::FlaskGthread, App::NodeHttp, App::Go])
}

#[test]
fn go_http_server_aiohttp() -> Result<()> {
    needs_root!();
    three_services([App::Go, App::HttpServer, App::Aiohttp])
}

#[test]
fn flask_node_fastapi() -> Result<()> {
    needs_root!();
    three_services([App::FlaskGthread, App::NodeHttp, App::FastApi])
}

/// httpx on asyncio, httpx on uvloop, aiohttp.
#[test]
fn fastapi_uvloop_aiohttp() -> Result<()> {
    needs_root!();
    three_services([App::FastApi, App::FastApiUvloop, App::AiohttpUvloop])
}

#[test]
fn aiohttp_uvloop_aiohttp_flask() -> Result<()> {
    needs_root!();
    three_services([App::AiohttpUvloop, App::Aiohttp, App::FlaskSync])
}

/// TLS ends at nginx and begins there anew.
#[test]
fn nginx_to_gunicorn_by_tls() -> Result<()> {
    needs_root!();
    let (receiver, authority) = (Receiver::start()?, Authority::new()?);
    let service = tls_service(App::FlaskGthread, None, &authority)?;
    let nginx = Nginx::start_with(
        &service.address,
        nginx::Settings { tls: Some(&authority), upstream_tls: true, ..Default::default() },
    )?;
    let agent = Agent::start(&receiver)?;
    let connector = Connector::new(&authority)?;
    let chain = vec![nginx.pids()?, service.pids()?];
    check_paths(&check_all(&receiver, &|| connect(&nginx, &connector), &chain)?);
    agent.stop().map(drop)
}

/// A server span says https, and the call that nginx makes for it says http.
#[test]
fn nginx_takes_tls_off() -> Result<()> {
    needs_root!();
    let (receiver, authority) = (Receiver::start()?, Authority::new()?);
    let service = Service::start(App::NodeHttp)?;
    let nginx = Nginx::start_with(&service.address, nginx::Settings { tls: Some(&authority), ..Default::default() })?;
    let agent = Agent::start(&receiver)?;
    let connector = Connector::new(&authority)?;
    let chain = vec![nginx.pids()?, service.pids()?];
    for path in check_all(&receiver, &|| connect(&nginx, &connector), &chain)? {
        check_tls(&path[0]);
        for plain in &path[1..] {
            assert!(!plain.text("url.full").starts_with("https") && plain.text("url.scheme") != "https", "{plain:#?}");
            assert_eq!((plain.text("tls.protocol.version"), plain.text("tls.cipher")), ("", ""), "{plain:#?}");
        }
    }
    agent.stop().map(drop)
}
