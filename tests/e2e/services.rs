//! The rig itself: the services answer as the other tests expect, with nobody watching.

use anyhow::Result;
use rig::caller::Library;
use rig::service::{GoBuild, GoForm, Settings};
use rig::{App, Authority, Caller, Connector, Interpreter, Service, tls, wrk};

fn answers(app: App, authority: Option<&Authority>) -> Result<()> {
    let service = Service::start_with(app, &Settings { tls: authority, ..Settings::default() })?;
    let mut client = service.connect()?;
    let mut get = |path: &str| -> Result<rig::Response> {
        if !app.keeps_alive() {
            client = service.connect()?;
        }
        client.get(path)
    };
    assert_eq!(get("/hello")?.text(), "hello", "{app:?}");
    assert_eq!(get("/size/100000")?.body.len(), 100_000, "{app:?}");
    assert_eq!(get("/status/404")?.status, 404, "{app:?}");
    assert_eq!(get("/slow?ms=5")?.text(), "slow", "{app:?}");
    assert!(get("/chain")?.text().starts_with('{'), "{app:?}");
    assert_eq!(service.connect()?.post("/upload", &[b'x'; 100_000])?.text(), "100000", "{app:?}");
    Ok(())
}

#[test]
fn every_service_answers() -> Result<()> {
    App::ALL.into_iter().try_for_each(|app| answers(app, None))
}

#[test]
fn every_service_answers_behind_tls() -> Result<()> {
    let authority = Authority::new()?;
    let with_tls = App::ALL.into_iter().filter(|app| *app != App::Express);
    let go = App::GoBuild(GoBuild { version: "1.21", form: GoForm::StrippedPie });
    with_tls.chain([go]).try_for_each(|app| answers(app, Some(&authority)))
}

#[test]
fn clients_reach_services_behind_tls() -> Result<()> {
    let authority = Authority::new()?;
    let last = Service::start_tls(App::HttpServer, &authority)?;
    for library in [Library::Pycurl, Library::Requests, Library::Httpx, Library::Aiohttp] {
        let answer = Caller::start(library, Interpreter::Debian, &authority)?.get(&last.url("/size/300"))?;
        assert_eq!((answer.status, answer.bytes), (200, 300), "{library:?}");
    }
    for app in [App::FastApi, App::AiohttpUvloop, App::NodeHttp] {
        let next = Some(last.url("/size/"));
        let first = Service::start_with(app, &Settings { next, trust: Some(&authority), ..Settings::default() })?;
        assert_eq!(first.connect()?.get("/fan/3")?.text().replace(' ', ""), "[1,2,3]", "{app:?}");
    }
    Ok(())
}

#[test]
fn the_client_says_what_its_handshake_agreed_on() -> Result<()> {
    let authority = Authority::new()?;
    let service = Service::start_tls(App::NodeHttp, &authority)?;
    for (version, name) in [(&tls::TLS12, "1.2"), (&tls::TLS13, "1.3")] {
        let connector = Connector::with(&authority, &[version])?;
        for resumed in [false, true] {
            let mut client = connector.connect(&service.address)?;
            // The tickets come with the first answer.
            client.get("/hello")?;
            let session = client.tls().expect("a handshake");
            assert_eq!((session.version, session.resumed), (name, resumed));
            assert!(session.cipher.starts_with("TLS_"), "{session:?}");
        }
    }
    Ok(())
}

#[test]
fn wrk_sends_exactly_as_many_requests_as_asked() -> Result<()> {
    let service = Service::start(App::Go)?;
    let load = wrk::exactly(&service.url("/hello"), 5_000, 16)?;
    assert_eq!((load.requests, load.failures), (5_000, 0));
    Ok(())
}
