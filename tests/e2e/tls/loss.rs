//! TLS that cannot be read: a process loses its TLS spans and nothing else, and somebody says so.

use crate::need::needs_root;
use anyhow::{Context, Result, ensure};
use rig::agent::Options;
use rig::service::Settings;
use rig::{Agent, App, Authority, Receiver, Service, Span};
use std::fs;
use std::path::{Path, PathBuf};

/// The lines by which the agent says that it cannot read the TLS of one of these processes.
fn warnings(stderr: &str, pids: &[u32]) -> Vec<String> {
    let names = |line: &str, pid: u32| line.split(|c: char| !c.is_ascii_digit()).any(|word| word == pid.to_string());
    let lines = stderr.lines().filter(|line| line.contains("WARN") && line.contains("TLS"));
    lines.filter(|line| pids.iter().any(|pid| names(line, *pid))).map(str::to_owned).collect()
}

/// `autospan doctor` says of the service that its TLS cannot be read.
fn doctor_tells(service: &Service) -> Result<()> {
    let output = Options::new().arguments(&["doctor"]).run()?;
    let text = String::from_utf8(output.stdout)?;
    let pids = service.pids()?;
    let is_ours =
        |line: &str| line.split_whitespace().next().is_some_and(|pid| pids.iter().any(|p| p.to_string() == pid));
    // A line for each process, and what is and is not traced of it in the lines below.
    let told = text.lines().skip_while(|line| !is_ours(line)).skip(1).take_while(|line| line.starts_with("     "));
    ensure!(told.into_iter().any(|line| line.contains("not traced: TLS")), "doctor says nothing of {pids:?}\n{text}");
    Ok(())
}

/// A service with TLS in front of one without: its calls are seen, whatever becomes of its own TLS.
struct Pair {
    last: Service,
    first: Service,
}

impl Pair {
    fn start(app: App, authority: &Authority, environment: Vec<(&str, String)>) -> Result<Self> {
        let last = Service::start(App::Go)?;
        let next = Some(last.url("/chain"));
        let settings = Settings { next, tls: Some(authority), environment, ..Settings::default() };
        Ok(Self { first: Service::start_with(app, &settings)?, last })
    }

    /// Three requests, and the calls that were made for them: alone among the spans that the receiver has then.
    fn requests(&self, receiver: &Receiver) -> Result<()> {
        receiver.clear();
        for _ in 0..3 {
            assert_eq!(self.first.connect()?.get("/chain")?.status, 200);
        }
        let pids = self.first.pids()?;
        for call in receiver.wait_spans(3, |span| span.calls(&pids))? {
            assert!(call.text("url.full").starts_with("http://"), "{call:#?}");
            receiver.wait_spans(1, |span| span.serves(&[self.last.pid()]) && span.is_child_of(&call))?;
        }
        Ok(())
    }

    /// The same, of which TLS hides nothing.
    fn requests_seen(&self, receiver: &Receiver) -> Result<()> {
        self.requests(receiver)?;
        let pids = self.first.pids()?;
        let is_seen = |span: &Span| span.serves(&pids) && span.text("url.scheme") == "https";
        receiver.wait_spans(3, is_seen).map(drop)
    }
}

/// rustls, linked into a library without symbols.
#[test]
fn a_stripped_library_with_tls_inside() -> Result<()> {
    needs_root!();
    let (mut receiver, authority) = (Receiver::start()?, Authority::new()?);
    let pair = Pair::start(App::FastApiGranian, &authority, Vec::new())?;
    let agent = Agent::start(&receiver)?;
    pair.requests(&receiver)?;
    let pids = pair.first.pids()?;
    let warned = warnings(&agent.stderr(), &pids);
    doctor_tells(&pair.first)?;
    agent.stop()?;
    receiver.catch_up()?;
    let served = receiver.spans(|span| span.serves(&pids));
    assert!(served.is_empty(), "is it readable after all? Then the test needs another library: {served:#?}");
    assert_eq!(warned.len(), 1, "{warned:#?}");
    Ok(())
}

/// A service that uses copies of OpenSSL's libraries, which the test does something to.
fn with_own_libssl(authority: &Authority, folder: &Path) -> Result<Pair> {
    let system = Service::start_tls(App::HttpServer, authority)?;
    for library in ["libssl", "libcrypto"] {
        let path = mapped(system.pid(), library)?;
        fs::copy(&path, folder.join(path.file_name().context("a file has a name")?))?;
    }
    let folder = folder.display().to_string();
    let pair = Pair::start(App::HttpServer, authority, vec![("LD_LIBRARY_PATH", folder.clone())])?;
    assert!(mapped(pair.first.pid(), "libssl")?.starts_with(folder), "the test wants its own copy");
    Ok(pair)
}

/// The file of a library that a process has mapped.
fn mapped(pid: u32, library: &str) -> Result<PathBuf> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let mut paths =
        maps.lines().filter_map(|line| line.split_whitespace().nth(5)).filter(|path| path.contains(library));
    Ok(paths.next().with_context(|| format!("{library} is not mapped"))?.into())
}

/// The agent starts when the file has gone already. Either it reads the TLS all the same, or it says that it does not.
fn gone_before(change: impl Fn(&Path) -> Result<()>) -> Result<()> {
    let (mut receiver, authority) = (Receiver::start()?, Authority::new()?);
    let folder = tempfile::tempdir()?;
    let pair = with_own_libssl(&authority, folder.path())?;
    change(&mapped(pair.first.pid(), "libssl")?)?;
    let mut agent = Agent::start(&receiver)?;
    let untouched = Service::start_tls(App::HttpServer, &authority)?;
    agent.wait_for(untouched.pid())?;
    pair.requests(&receiver)?;
    untouched.connect()?.get("/hello")?;
    receiver.wait_spans(1, |span| span.serves(&[untouched.pid()]) && span.text("url.scheme") == "https")?;
    let warned = warnings(&agent.stderr(), &[pair.first.pid()]);
    let doctor = doctor_tells(&pair.first);
    agent.stop()?;
    receiver.catch_up()?;
    let served = receiver.spans(|span| span.serves(&[pair.first.pid()]));
    if served.is_empty() {
        assert_eq!(warned.len(), 1, "{warned:#?}");
        return doctor;
    }
    assert_eq!((served.len(), warned.len()), (3, 0), "{served:#?} {warned:#?}");
    Ok(())
}

#[test]
fn a_library_whose_file_is_deleted() -> Result<()> {
    needs_root!();
    gone_before(|library| Ok(fs::remove_file(library)?))
}

/// As a package manager does: another file takes the name.
#[test]
fn a_library_whose_file_is_another_by_now() -> Result<()> {
    needs_root!();
    gone_before(|library| {
        let other = library.with_extension("new");
        fs::write(&other, b"\x7fELF, and nothing of what that promises")?;
        Ok(fs::rename(other, library)?)
    })
}

/// The file changes under a running agent, and the service starts anew with the new one: probes follow the file.
#[test]
fn a_library_that_is_updated_under_the_agent() -> Result<()> {
    needs_root!();
    let (receiver, authority) = (Receiver::start()?, Authority::new()?);
    let folder = tempfile::tempdir()?;
    let old = with_own_libssl(&authority, folder.path())?;
    let mut agent = Agent::start(&receiver)?;
    old.requests_seen(&receiver)?;
    let library = mapped(old.first.pid(), "libssl")?;
    let update = library.with_extension("new");
    fs::copy(&library, &update)?;
    fs::rename(update, &library)?;
    old.requests_seen(&receiver)?;
    let environment = vec![("LD_LIBRARY_PATH", folder.path().display().to_string())];
    let new = Pair::start(App::HttpServer, &authority, environment)?;
    agent.wait_for(new.first.pid())?;
    new.requests_seen(&receiver)?;
    agent.stop().map(drop)
}
