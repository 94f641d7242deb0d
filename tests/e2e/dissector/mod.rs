//! The goldens as Wireshark reads them: its requests and responses must be those that our parsers see. `cargo xtask golden
//! --dissect [NAME…]` runs it for some protocols.
//!
//! All dialogs of a protocol are connections of one capture, which tshark reads once. What it cannot judge says so in a line of its own,
//! `# dissector: REASON`, up to another colon the same for all that have it in common; where it can judge one side, the line is
//! `# dissector of requests: REASON` or `# dissector of responses: REASON`. Such a line may hold for one version of Wireshark only (Debian 12
//! has 4.0): those that agree nevertheless are named.

mod capture;
mod database;
mod golden;
mod http1;
mod mysql;
mod postgres;
mod redis;
mod tshark;

use crate::need::needs_tshark;
use anyhow::{Context, Result, bail};
use autospan_core::protocol::Side;
use golden::{Excuse, Golden};
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::fs;
use tshark::Message;

/// Names of protocols, separated by blanks, where not all are meant.
const CHOICE: &str = "AUTOSPAN_DISSECT";

/// How Wireshark reads a protocol, and how what it says compares with an expectation.
struct Dissector {
    /// The folder of goldens.
    name: &'static str,
    /// Wireshark's name of the protocol, and what its fields start with.
    layer: &'static str,
    /// On which it expects the protocol.
    port: u16,
    preferences: &'static [&'static str],
    /// What matters of the messages of a connection.
    theirs: fn(&Golden, &[Message]) -> Exchanges,
    /// What matters of the lines of an expectation.
    ours: fn(&Golden) -> Exchanges,
}

const DISSECTORS: &[&Dissector] = &[&http1::DISSECTOR, &mysql::DISSECTOR, &postgres::DISSECTOR, &redis::DISSECTOR];

/// Requests and responses of a connection, each in order, one line each.
#[derive(Debug, Default, PartialEq, Eq)]
struct Exchanges {
    requests: Vec<String>,
    responses: Vec<String>,
}

impl Exchanges {
    fn side(&self, mark: char) -> String {
        let lines = if mark == '>' { &self.requests } else { &self.responses };
        let mut text = String::new();
        for same in lines.chunk_by(|line, next| line == next) {
            let times = if same.len() > 1 { format!(" ({} times)", same.len()) } else { String::new() };
            let _ = writeln!(text, "    {mark} {}{times}", same[0]);
        }
        text
    }
}

#[test]
fn agrees_on_every_golden() -> Result<()> {
    needs_tshark!();
    let choice = std::env::var(CHOICE).unwrap_or_default();
    let choice: Vec<_> = choice.split_whitespace().collect();
    let protocols = golden::protocols()?;
    if let Some(unknown) = choice.iter().find(|name| !protocols.iter().any(|protocol| protocol == *name)) {
        bail!("no goldens of {unknown}; there are {}", protocols.join(", "));
    }
    let mut findings = Vec::new();
    for protocol in protocols.iter().filter(|name| choice.is_empty() || choice.contains(&name.as_str())) {
        let dissector = DISSECTORS.iter().find(|dissector| dissector.name == protocol);
        let dissector =
            dissector.with_context(|| format!("how does Wireshark read {protocol}? Add it to DISSECTORS"))?;
        findings.extend(judge(dissector)?);
    }
    assert!(findings.is_empty(), "{} findings\n{}", findings.len(), findings.join("\n"));
    Ok(())
}

/// Prints how many agree; returns those that do not.
fn judge(dissector: &Dissector) -> Result<Vec<String>> {
    let goldens = golden::of(dissector.name)?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("dialogs.pcap");
    fs::write(&file, capture::of(&goldens, dissector.port)?)?;
    let connections = tshark::read(&file, dissector)?;
    let mut verdict = Verdict::default();
    for (i, golden) in goldens.iter().enumerate() {
        let messages = connections.get(&capture::client_port(i)).map(Vec::as_slice).unwrap_or_default();
        let (ours, theirs) = ((dissector.ours)(golden), (dissector.theirs)(golden, messages));
        verdict.add(dissector, golden, &ours, &theirs);
    }
    println!("{}: {verdict}", dissector.name);
    Ok(verdict.findings)
}

#[derive(Default)]
struct Verdict<'a> {
    agree: u32,
    /// By reason, why the other side could not be judged.
    agree_on_one_side: BTreeMap<&'a str, u32>,
    not_judged: BTreeMap<&'a str, u32>,
    findings: Vec<String>,
}

impl<'a> Verdict<'a> {
    fn add(&mut self, dissector: &Dissector, golden: &'a Golden, ours: &Exchanges, theirs: &Exchanges) {
        let name = format!("{}/{}", dissector.name, golden.name);
        let requests_agree = ours.requests == theirs.requests;
        let responses_agree = ours.responses == theirs.responses;
        match &golden.excuse {
            excuse if requests_agree && responses_agree => {
                self.agree += 1;
                if excuse.as_ref().is_some_and(|excuse| excuse.is_written) {
                    println!("{name} agrees: its line `# dissector` may go");
                }
            }
            Some(Excuse { reason, of: None, .. }) => *self.not_judged.entry(reason).or_default() += 1,
            Some(Excuse { reason, of: Some(Side::Response), .. }) if requests_agree => {
                *self.agree_on_one_side.entry(reason).or_default() += 1;
            }
            Some(Excuse { reason, of: Some(Side::Request), .. }) if responses_agree => {
                *self.agree_on_one_side.entry(reason).or_default() += 1;
            }
            _ => self.findings.push(difference(&name, ours, theirs)),
        }
    }
}

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} agree", self.agree)?;
        for (dialogs, what) in [(&self.agree_on_one_side, "on one side"), (&self.not_judged, "not judged")] {
            let reasons: Vec<_> = dialogs.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            if !reasons.is_empty() {
                write!(f, ", {} {what} ({})", dialogs.values().sum::<u32>(), reasons.join(", "))?;
            }
        }
        Ok(())
    }
}

fn difference(name: &str, ours: &Exchanges, theirs: &Exchanges) -> String {
    let mut text = format!("{name}\n");
    for mark in ['>', '<'] {
        let (ours, theirs) = (ours.side(mark), theirs.side(mark));
        let _ = if ours == theirs {
            write!(text, "  both\n{ours}")
        } else {
            write!(text, "  ours\n{ours}  Wireshark's\n{theirs}")
        };
    }
    text
}
