//! CPython as people get it elsewhere than from Debian: what its TLS says is the same.

use super::chain::three_services_by;
use super::clients::library_by;
use crate::need::needs_root;
use anyhow::Result;
use rig::caller::Library;
use rig::service::Settings;
use rig::{App, Authority, Interpreter, Service};
use std::fs;

/// requests, httpx on asyncio; servers on sockets and on memory.
const SERVICES: [App; 3] = [App::HttpServer, App::FastApi, App::Aiohttp];

/// The interpreter is what the tests take it for: it has its own OpenSSL, or maps a shared one.
fn maps_libssl(interpreter: Interpreter) -> Result<bool> {
    let authority = Authority::new()?;
    let settings = Settings { interpreter, tls: Some(&authority), ..Settings::default() };
    let service = Service::start_with(App::HttpServer, &settings)?;
    Ok(fs::read_to_string(format!("/proc/{}/maps", service.pid()))?.contains("/libssl"))
}

#[test]
fn services_by_one_with_symbols() -> Result<()> {
    needs_root!();
    assert!(maps_libssl(Interpreter::Built)?);
    three_services_by(Interpreter::Built, SERVICES)
}

#[test]
fn requests_by_one_with_symbols() -> Result<()> {
    needs_root!();
    library_by(Interpreter::Built, Library::Requests)
}

#[test]
fn aiohttp_by_one_with_symbols() -> Result<()> {
    needs_root!();
    library_by(Interpreter::Built, Library::Aiohttp)
}

#[test]
fn services_by_a_standalone_one() -> Result<()> {
    needs_root!();
    assert!(!maps_libssl(Interpreter::Standalone)?);
    three_services_by(Interpreter::Standalone, SERVICES)
}

#[test]
fn requests_by_a_standalone_one() -> Result<()> {
    needs_root!();
    library_by(Interpreter::Standalone, Library::Requests)
}

#[test]
fn aiohttp_by_a_standalone_one() -> Result<()> {
    needs_root!();
    library_by(Interpreter::Standalone, Library::Aiohttp)
}
