//! Worlds from seeds: services of every way to work, the records that the kernel programs would write of them, faults,
//! and what must hold of the spans whatever happens. `cargo xtask simulate` runs many of them.

mod agent;
mod blocking;
mod clock;
mod event_loop;
mod events;
mod faults;
mod golden;
mod kernel;
mod message;
mod network;
mod oracle;
mod plan;
mod random;
mod shrink;
mod truth;
mod words;
mod world;

use crate::agent::{Entry, Session};
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
            Err(failure) => {
                failed += 1;
                println!("seed {seed}: {}", failure.why);
                let (least, failure) = shrink::shrink(Plan::new(seed), failure, |plan| simulate(plan).err());
                println!("  at its smallest, {}: {}", golden::keep(&least, &failure), failure.why);
            }
        }
    }
    let Tally { right, none, by_only_request, damaged } = tally;
    println!(
        "{count} seeds: {right} calls with their parent ({by_only_request} as the only request in flight), {none} without, {damaged} damaged, {failed} seeds failed"
    );
    assert_eq!(failed, 0, "seeds failed");
}

/// An oracle that failed.
struct Failure {
    why: String,
    /// What the agent was told, and the truth about it.
    entries: Vec<Entry>,
    truth: Truth,
}

fn simulate(plan: Plan) -> Result<Tally, Failure> {
    let sessions = world::run(plan.clone());
    let mut tally = Tally::default();
    for session in &sessions {
        tally += judge_session(&plan, session)?;
    }
    Ok(tally)
}

fn judge_session(plan: &Plan, session: &Session) -> Result<Tally, Failure> {
    let (truth, all) = (Truth::new(plan, session), &session.entries);
    let judge = |entries: &[Entry], input, how: &dyn Fn() -> String| {
        oracle::judge(entries.iter(), &truth, input).map_err(|why| Failure {
            why: format!("{}: {why}", how()),
            entries: entries.to_vec(),
            truth: truth.clone(),
        })
    };
    let tally = judge(all, if plan.is_calm() { Input::Whole } else { Input::Faulty }, &|| "as it was".into())?;
    let random = &mut Random::new(plan.seed ^ 0xfa17);
    is_deterministic(session, random).map_err(|why| Failure { why, entries: all.clone(), truth: truth.clone() })?;
    let removed = faults::lose(all, random);
    judge(&faults::without(all, &removed), Input::Faulty, &|| format!("without records {removed:?}"))?;
    judge(&faults::blank(all, random), Input::Faulty, &|| "without payload".into())?;
    let records: Vec<usize> = (0..all.len()).filter(|index| all[*index].is_record()).collect();
    for _ in 0..REMOVALS.min(records.len()) {
        let removed = [random.pick(&records)];
        judge(&faults::without(all, &removed), Input::Faulty, &|| format!("without record {removed:?}"))?;
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
        println!("{}", words::write(&session.entries));
    }
}
