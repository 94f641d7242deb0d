//! Every golden: as recorded, split at every byte, in random pieces, and with ranges dropped.

use crate::dialog::{Dialog, Turn};
use crate::driver::{Driver, Seen};
use crate::goldens::{Golden, all, recovery};
use crate::transcript::{play, transcript};
use autospan_core::protocol::{Definition, PROTOCOLS, RequestHead, Side};
use proptest::prelude::*;
use std::{env, fs};

/// Of each protocol.
const GOLDENS_MIN: usize = 30;

fn per_side(driver: &Driver) -> [Vec<&Seen>; 2] {
    [Side::Request, Side::Response]
        .map(|side| driver.seen.iter().filter(|(of, _)| *of == side).map(|(_, seen)| seen).collect())
}

#[track_caller]
fn check_pieces(golden: &Golden, whole: &Driver, pieces: &[Turn], how: &str) {
    let split = play(golden.protocol, &golden.dialog, pieces);
    assert_eq!(per_side(whole), per_side(&split), "{} of {} {how}", golden.name(), golden.protocol.name);
}

#[test]
fn goldens_are_as_expected() {
    let goldens = all();
    for protocol in PROTOCOLS {
        let count = goldens.iter().filter(|golden| golden.protocol.name == protocol.name).count();
        assert!(count >= GOLDENS_MIN, "only {count} goldens of {}", protocol.name);
    }
    let mut differing = Vec::new();
    for golden in &goldens {
        let actual = transcript(&play(golden.protocol, &golden.dialog, &golden.dialog.turns));
        let path = golden.path.with_extension("expect");
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, &actual).expect("write the expectation");
        } else if expected != actual {
            differing.push(format!(
                "{} of {}\n--- expected\n{expected}--- actual\n{actual}",
                golden.name(),
                golden.protocol.name
            ));
        }
    }
    assert!(differing.is_empty(), "{}\n(UPDATE=1 rewrites the expectations)", differing.join("\n"));
}

#[test]
fn goldens_hold_split_at_every_byte() {
    for golden in all() {
        let whole = play(golden.protocol, &golden.dialog, &golden.dialog.turns);
        for (i, turn) in golden.dialog.turns.iter().enumerate() {
            // Long fillers are all alike: their edges and some of their middle will do.
            let step = (turn.places() / 4_096).max(1);
            let edges = (1..turn.places().min(256)).chain(turn.places().saturating_sub(256).max(1)..turn.places());
            for at in edges.chain((1..turn.places()).step_by(step)) {
                let mut pieces = golden.dialog.turns.clone();
                pieces.splice(i..=i, turn.split_at(at));
                check_pieces(&golden, &whole, &pieces, &format!("turn {i} split at {at}"));
            }
        }
    }
}

#[test]
fn goldens_hold_byte_by_byte() {
    for golden in all() {
        let whole = play(golden.protocol, &golden.dialog, &golden.dialog.turns);
        let single = |turn: &Turn| match turn {
            Turn::Bytes { side, bytes, call_end } => (0..bytes.len())
                .map(|i| Turn::Bytes {
                    side: *side,
                    bytes: vec![bytes[i]],
                    call_end: *call_end && i + 1 == bytes.len(),
                })
                .collect(),
            other => vec![other.clone()],
        };
        let pieces: Vec<_> = golden.dialog.turns.iter().flat_map(single).collect();
        check_pieces(&golden, &whole, &pieces, "byte by byte");
    }
}

/// Replaces `len` bytes from `at` of one side's bytes by a gap.
fn drop_range(turns: &[Turn], of: Side, at: usize, len: usize) -> Vec<Turn> {
    let (mut position, mut out) = (0, Vec::new());
    for turn in turns {
        let (Turn::Bytes { side, bytes, call_end }, true) = (turn, turn.side() == Some(of)) else {
            out.push(turn.clone());
            continue;
        };
        let from = at.saturating_sub(position).min(bytes.len());
        let to = (at + len).saturating_sub(position).clamp(from, bytes.len());
        let mut piece = |bytes: &[u8], call_end| {
            if !bytes.is_empty() {
                out.push(Turn::Bytes { side: *side, bytes: bytes.to_vec(), call_end });
            }
        };
        piece(&bytes[..from], *call_end && from == bytes.len());
        if to > from {
            out.push(Turn::Gap { side: of, len: (to - from) as u64 });
        }
        if to > from || from < bytes.len() {
            let piece_end = *call_end;
            if to < bytes.len() {
                out.push(Turn::Bytes { side: *side, bytes: bytes[to..].to_vec(), call_end: piece_end });
            }
        }
        position += bytes.len();
    }
    out
}

/// The request of the probe is seen behind these turns.
fn recovers(golden: &Golden, probe: &[Turn], mut turns: Vec<Turn>) -> bool {
    let expected = requests(golden.protocol, &golden.dialog, probe).into_iter().next().expect("a request in the probe");
    turns.extend_from_slice(probe);
    requests(golden.protocol, &golden.dialog, &turns).contains(&expected)
}

fn requests(protocol: &Definition, dialog: &Dialog, turns: &[Turn]) -> Vec<String> {
    let seen = play(protocol, dialog, turns).seen;
    let request = |seen: Seen| match seen {
        Seen::Request(head) => Some(match *head {
            // The rest of it is the session's, which is another one behind a golden.
            RequestHead::Database(request) => format!("{:?}", request.statement),
            head => format!("{head:?}"),
        }),
        _ => None,
    };
    seen.into_iter().filter_map(|(_, seen)| request(seen)).collect()
}

/// A request that follows is found again, whatever was lost, unless it was announced as part of a body.
fn check_recovery(golden: &Golden, turns: Vec<Turn>) -> Result<(), TestCaseError> {
    let closed = turns.iter().any(|turn| matches!(turn, Turn::Close { side: Side::Request }));
    let gone = play(golden.protocol, &golden.dialog, &turns).seen.iter().any(|(_, seen)| *seen == Seen::Upgraded);
    let probe = recovery(golden.protocol).turns;
    let unfinished = !recovers(golden, &probe, golden.dialog.turns.clone());
    let twice = [probe.clone(), probe.clone()].concat();
    let recovers = closed || gone || unfinished || recovers(golden, &twice, turns);
    prop_assert!(recovers, "{} of {} does not recover", golden.name(), golden.protocol.name);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn goldens_hold_in_random_pieces(cuts in prop::collection::vec(any::<prop::sample::Index>(), 2..8)) {
        for golden in all() {
            let whole = play(golden.protocol, &golden.dialog, &golden.dialog.turns);
            let mut pieces = golden.dialog.turns.clone();
            for cut in &cuts {
                let i = cut.index(pieces.len());
                let at = cut.index(pieces[i].places().max(1));
                let split = pieces[i].split_at(at);
                pieces.splice(i..=i, split);
            }
            check_pieces(&golden, &whole, &pieces, "in random pieces");
        }
    }

    #[test]
    fn goldens_survive_loss(at in any::<prop::sample::Index>(), len in 1usize..200, response in any::<bool>()) {
        for golden in all() {
            let side = if response { Side::Response } else { Side::Request };
            let bytes = golden.dialog.turns.iter().filter(|turn| turn.side() == Some(side)).map(Turn::places).sum::<usize>();
            let damaged = drop_range(&golden.dialog.turns, side, at.index(bytes.max(1)), len);
            check_recovery(&golden, damaged)?;
        }
    }
}
