//! The other commands, the other sinks, and bad input.

use crate::need::needs_root;
use anyhow::{Context, Result};
use rig::agent::Options;
use rig::{App, Client, Receiver, Service, paths, wait};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::{Command, Output};

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// JSON lines: one object per span.
fn json_lines(text: &str) -> Result<Vec<Value>> {
    text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

#[test]
fn json_lines_on_standard_output() -> Result<()> {
    needs_root!();
    let service = Service::start(App::Go)?;
    let mut agent = Options::new().arguments(&["--output", "json", "--port", &service.port().to_string()]).start()?;
    Client::connect(&service.address)?.get("/hello")?;
    agent.process().wait_until("to print a span", |process| process.stdout().ends_with('\n'))?;
    let spans = json_lines(&agent.stop()?.stdout)?;
    assert_eq!(spans.len(), 1, "{spans:?}");
    assert!(spans[0].to_string().contains("/hello"), "{spans:?}");
    Ok(())
}

/// Without an endpoint the traces are shown, without colour where nobody looks.
#[test]
fn live_traces_on_standard_output() -> Result<()> {
    needs_root!();
    let service = Service::start(App::Go)?;
    let mut agent = Options::new().arguments(&["--port", &service.port().to_string()]).start()?;
    Client::connect(&service.address)?.get("/hello")?;
    agent.process().wait_until("to show the trace", |process| process.stdout().contains("/hello"))?;
    let shown = agent.stop()?.stdout;
    assert!(shown.contains("go_app") && shown.contains("200"), "{shown}");
    assert!(!shown.contains('\x1b'), "{shown:?}");
    Ok(())
}

/// What was recorded comes out of a replay as it came out live.
#[test]
fn a_replay_gives_the_spans_of_the_recording() -> Result<()> {
    needs_root!();
    let last = Service::start(App::Go)?;
    let first = Service::before(App::HttpServer, &last.address)?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("session.evlog").display().to_string();
    let recording = Options::new().arguments(&["record", &file]).start()?;
    for _ in 0..3 {
        Client::connect(&first.address)?.get("/chain")?;
    }
    recording.stop()?;
    let replay = || -> Result<BTreeSet<String>> {
        let output = Options::new().arguments(&["replay", &file, "--output", "json"]).run()?;
        assert!(output.status.success(), "{}", text(&output));
        let spans = json_lines(&String::from_utf8(output.stdout)?)?;
        Ok(spans.iter().map(ToString::to_string).filter(|span| span.contains("/chain")).collect())
    };
    let spans = replay()?;
    // Three requests, each a server span, a client span and the next server span.
    assert_eq!(spans.len(), 9, "{spans:#?}");
    assert_eq!(spans, replay()?, "a replay gives the same every time");
    Ok(())
}

/// The same session, exported live and replayed into a receiver.
#[test]
fn a_replay_needs_no_root() -> Result<()> {
    needs_root!();
    let service = Service::start(App::Go)?;
    // A place that others may read.
    let directory =
        tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).tempdir()?;
    let file = directory.path().join("session.evlog");
    let recording = Options::new().arguments(&["record", &file.display().to_string()]).start()?;
    Client::connect(&service.address)?.get("/hello")?;
    recording.stop()?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&file, readable)?;
    let output = as_nobody(&["replay", &file.display().to_string(), "--output", "json"])?;
    assert!(output.status.success() && text(&output).contains("/hello"), "{}", text(&output));
    Ok(())
}

#[test]
fn files_that_are_not_recordings_are_refused_with_a_reason() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let cases: [(&str, &[u8]); 3] = [("empty", b""), ("foreign", b"GIF89a, and more of it"), ("cut", b"autospan")];
    for (name, content) in cases {
        let path = directory.path().join(name);
        std::fs::write(&path, content)?;
        let output = Options::new().arguments(&["replay", &path.display().to_string()]).run()?;
        let said = text(&output);
        assert!(!output.status.success(), "{name}: {said}");
        assert!(!said.contains("panicked") && !said.trim().is_empty(), "{name}: {said}");
    }
    let output = Options::new().arguments(&["replay", "/nonexistent/session.evlog"]).run()?;
    assert!(!output.status.success() && text(&output).contains("/nonexistent/session.evlog"), "{}", text(&output));
    Ok(())
}

#[test]
fn an_unknown_flag_value_is_refused() -> Result<()> {
    for arguments in [["--output", "xml"], ["--port", "99999"], ["--pid", "me"], ["--no-such-flag", "x"]] {
        let output = Options::new().arguments(&arguments).run()?;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output));
        assert!(text(&output).contains(arguments[0]), "{arguments:?}: {}", text(&output));
    }
    Ok(())
}

/// The agent as a user without rights; a copy, since nobody may enter a home folder.
fn as_nobody(arguments: &[&str]) -> Result<Output> {
    let directory =
        tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).tempdir()?;
    let binary = directory.path().join("autospan");
    std::fs::copy(paths::agent()?, &binary)?;
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--inh-caps=-all"]);
    Ok(command.arg("--").arg(&binary).args(arguments).stdin(std::process::Stdio::null()).output()?)
}

#[test]
fn without_root_it_says_what_to_do() -> Result<()> {
    needs_root!();
    let output = as_nobody(&[])?;
    let said = text(&output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("root") && said.contains("sudo"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    Ok(())
}

#[test]
fn the_doctor_says_whether_tracing_can_work() -> Result<()> {
    needs_root!();
    let service = Service::start(App::NodeHttp)?;
    let healthy = Options::new().arguments(&["doctor"]).run()?;
    assert!(healthy.status.success(), "{}", text(&healthy));
    assert!(text(&healthy).contains(&service.pid().to_string()), "{}", text(&healthy));
    let unprivileged = as_nobody(&["doctor"])?;
    assert!(!unprivileged.status.success(), "{}", text(&unprivileged));
    Ok(())
}

#[test]
fn the_first_span_comes_within_a_second_of_the_start() -> Result<()> {
    needs_root!();
    let receiver = Receiver::start()?;
    let service = Service::start(App::Go)?;
    let mut client = Client::connect(&service.address)?;
    let start = std::time::Instant::now();
    let agent = Options::new().grpc(&receiver).start()?;
    let seen = wait::until("the first span", || {
        client.get("/hello").ok()?;
        (!receiver.spans(|span| span.serves(&[service.pid()])).is_empty()).then(|| start.elapsed())
    })?;
    println!("first span after {seen:?}");
    assert!(seen.as_millis() < 1_500, "{seen:?}");
    agent.stop().map(drop)
}
