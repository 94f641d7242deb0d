//! Worlds from seeds: services of every way to work, the records that the kernel programs would write of them, faults,
//! and what must hold of the spans whatever happens. `cargo xtask simulate` runs many of them.

mod agent;
mod blocking;
mod clock;
mod event_loop;
mod events;
mod faults;
mod kernel;
mod message;
mod network;
mod oracle;
mod plan;
mod random;
mod shrink;
mod truth;
mod world;

use crate::agent::Session;
use crate::oracle::{Input, Tally};
use crate::plan::Plan;
use crate::random::Random;
use crate::truth::Truth;
use autospan_core::engine::{Engine, EngineConfig};

/// Seeds of the unit tests; `cargo xtask simulate` sets how many and from where.
const SEEDS: u64 = 60;

/// Single records whose loss is tried, per run of the agent.
const REMOVALS: usize = 4;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn seeds() {
    let (from, count) = (number("AUTOSPAN_SIM_FROM").unwrap_or(0), number("AUTOSPAN_SIM_SEEDS").unwrap_or(SEEDS));
    let (mut tally, mut failed) = (Tally::default(), 0);
    for seed in from..from + count {
        match simulate(Plan::new(seed)) {
            Ok(more) => tally += more,
            Err(why) => {
                failed += 1;
                println!("seed {seed}: {why}");
                let (least, why) = shrink::shrink(Plan::new(seed), why, |plan| simulate(plan).err());
                let asked: Vec<_> = least.clients.iter().map(|client| &client.requests).collect();
                println!("  still so where clients ask {asked:?}: {why}");
            }
        }
    }
    let Tally { right, none, by_only_request, damaged } = tally;
    println!(
        "{count} seeds: {right} calls with their parent ({by_only_request} as the only request in flight), {none} without, {damaged} damaged, {failed} seeds failed"
    );
    assert_eq!(failed, 0, "seeds failed");
}

fn simulate(plan: Plan) -> Result<Tally, String> {
    let sessions = world::run(plan.clone());
    let mut tally = Tally::default();
    for session in &sessions {
        tally += judge_session(&plan, session)?;
    }
    Ok(tally)
}

fn judge_session(plan: &Plan, session: &Session) -> Result<Tally, String> {
    let truth = Truth::new(plan, session);
    let input = if plan.is_calm() { Input::Whole } else { Input::Faulty };
    let tally = oracle::judge(session.entries.iter(), &truth, input).map_err(|why| format!("as it was: {why}"))?;
    let random = &mut Random::new(plan.seed ^ 0xfa17);
    is_deterministic(session, random)?;
    let removed = faults::lose(&session.entries, random);
    oracle::judge(faults::without(&session.entries, &removed), &truth, Input::Faulty)
        .map_err(|why| format!("without records {removed:?}: {why}"))?;
    let blanked = faults::blank(&session.entries, random);
    oracle::judge(blanked.iter(), &truth, Input::Faulty).map_err(|why| format!("without payload: {why}"))?;
    let records: Vec<usize> = (0..session.entries.len()).filter(|index| session.entries[*index].is_record()).collect();
    for _ in 0..REMOVALS.min(records.len()) {
        let removed = [random.pick(&records)];
        oracle::judge(faults::without(&session.entries, &removed), &truth, Input::Faulty)
            .map_err(|why| format!("without record {removed:?}: {why}"))?;
    }
    Ok(tally)
}

/// The same records give the same outputs, however they are cut.
fn is_deterministic(session: &Session, random: &mut Random) -> Result<(), String> {
    let mut engine = Engine::new(EngineConfig::default());
    let mut outputs = Vec::new();
    let mut records = Vec::new();
    for entry in &session.entries {
        match entry {
            agent::Entry::Record(bytes) => records.extend_from_slice(bytes),
            other => {
                let mut rest = &std::mem::take(&mut records)[..];
                while !rest.is_empty() {
                    let (chunk, more) = rest.split_at(rest.len().min(random.between(1, 5_000) as usize));
                    engine.feed(chunk);
                    rest = more;
                }
                other.tell(&mut engine);
                outputs.extend(oracle::outputs(&mut engine));
            }
        }
    }
    if outputs == session.outputs { Ok(()) } else { Err("other outputs when cut elsewhere".into()) }
}

/// `AUTOSPAN_SIM_SHOW=seed`: the records of a world, in words.
#[test]
fn show() {
    let Some(seed) = number("AUTOSPAN_SIM_SHOW") else { return };
    let plan = Plan::new(seed);
    for service in &plan.services {
        println!("{service:?}");
    }
    println!("{:?} {:?} split {} stall {:?}", plan.attach_at, plan.kill, plan.split_percent, plan.stall);
    for (id, request) in plan.requests.iter().enumerate() {
        println!("r{id}: {request:?}");
    }
    for session in world::run(plan) {
        let removed = faults::lose(&session.entries, &mut Random::new(0));
        println!("for instance without {removed:?}");
        for (index, entry) in session.entries.iter().enumerate() {
            match entry {
                agent::Entry::Record(bytes) => {
                    let event = autospan_core::event::Event::parse(bytes).expect("a record");
                    println!("{index} {}", word(&event));
                }
                agent::Entry::Tick(now) => println!("{index} tick {now}"),
                agent::Entry::Fact(fact) => println!("{index} {fact:?}"),
            }
        }
    }
}

fn word(event: &autospan_core::event::Event<'_>) -> String {
    use autospan_core::event::EventKind;
    let what = match &event.kind {
        EventKind::Data(d) => {
            let text = String::from_utf8_lossy(&d.head[..d.head.len().min(24)]).replace("\r\n", " ");
            format!(
                "{} {:?} at {} of {} token {} cause {} {:?} turn {} {text:?}",
                d.connection, d.direction, d.position, d.total, d.token, d.cause, d.trail, d.turn
            )
        }
        EventKind::Opened(o) => format!("{} opened {:?} seen {} {:?}", o.connection, o.role, o.connect_seen, o.ends),
        other => format!("{other:?}"),
    };
    format!("{} {}/{} {what}", event.at, event.tgid, event.tid)
}
