//! The rig itself: the services answer as the other tests expect, with nobody watching.

use anyhow::Result;
use rig::{App, Client, Service, wrk};

#[test]
fn every_service_answers() -> Result<()> {
    for app in App::ALL {
        let service = Service::start(app)?;
        let mut client = Client::connect(&service.address)?;
        let mut get = |path: &str| -> Result<rig::Response> {
            if !app.keeps_alive() {
                client = Client::connect(&service.address)?;
            }
            client.get(path)
        };
        assert_eq!(get("/hello")?.text(), "hello", "{app:?}");
        assert_eq!(get("/size/100000")?.body.len(), 100_000, "{app:?}");
        assert_eq!(get("/status/404")?.status, 404, "{app:?}");
        assert_eq!(get("/slow?ms=5")?.text(), "slow", "{app:?}");
        assert!(get("/chain")?.text().starts_with('{'), "{app:?}");
        assert_eq!(Client::connect(&service.address)?.post("/upload", &[b'x'; 100_000])?.text(), "100000", "{app:?}");
    }
    Ok(())
}

#[test]
fn wrk_sends_exactly_as_many_requests_as_asked() -> Result<()> {
    let service = Service::start(App::Go)?;
    let load = wrk::exactly(&service.address, "/hello", 5_000, 16)?;
    assert_eq!((load.requests, load.failures), (5_000, 0));
    Ok(())
}
