//! Every recording: as it is, split at every byte, in random pieces, and with ranges lost.

use crate::calls::{Call, Recording, recordings};
use crate::driver::{Driver, Seen, size};
use autospan_core::protocol::{HttpRequest, RequestHead, ResponseHead, Side, StreamStep};
use proptest::prelude::*;
use std::fmt::Write;
use std::{env, fs};

/// Calls of a recording that are split everywhere: long ones go on as they began.
const SPLIT_CALLS_MAX: usize = 40;

/// One line per step, in the order in which they were known.
fn transcript(driver: &Driver) -> String {
    let mut out = String::new();
    for (side, seen) in driver.seen.iter().filter(|(_, seen)| !matches!(seen, Seen::Stream(_, StreamStep::Data))) {
        let mark = if *side == Side::Request { '>' } else { '<' };
        let line = match seen {
            Seen::Stream(stream, step) => format!("{stream} {}", step_line(step)),
            other => format!("{other:?}").to_lowercase(),
        };
        let _ = writeln!(out, "{mark} {line}");
    }
    if driver.awaits() {
        out.push_str("< awaits a request\n");
    }
    out
}

fn step_line(step: &StreamStep) -> String {
    match step {
        StreamStep::Request(head) => match &**head {
            RequestHead::Http(request) => request_line(request),
            RequestHead::Database(_) => panic!("of another protocol"),
        },
        StreamStep::Response(head) => match &**head {
            ResponseHead::Http(response) => {
                let grpc = response.grpc_status.map(|status| format!(", gRPC {status}"));
                let grpc = grpc.unwrap_or_else(|| if response.grpc { ", gRPC".to_owned() } else { String::new() });
                format!("{} HTTP/{}{grpc}", response.status, response.version)
            }
            ResponseHead::Database(_) => panic!("of another protocol"),
        },
        StreamStep::End(side, end) => {
            let side = if *side == Side::Request { "request" } else { "response" };
            format!("{side} ends, body {}{}", size(end.body_bytes), if end.truncated { ", truncated" } else { "" })
        }
        other => format!("{other:?}").to_lowercase(),
    }
}

fn request_line(request: &HttpRequest) -> String {
    let HttpRequest { method, target, version, host, user_agent, trace, captured, grpc, grpc_timeout } = request;
    let mut line = format!("{method} {target} HTTP/{version} host={host:?} agent={user_agent:?}");
    if *grpc {
        line.push_str(" gRPC");
    }
    if let Some(timeout) = grpc_timeout {
        let _ = write!(line, " timeout={timeout}ns");
    }
    for (name, value) in [("traceparent", trace.traceparent.as_deref()), ("tracestate", Some(&*trace.tracestate))] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let _ = write!(line, " {name}={value:?}");
        }
    }
    for (name, values) in captured {
        let _ = write!(line, " {name}={values:?}");
    }
    line
}

fn per_side(driver: &Driver) -> [Vec<&Seen>; 2] {
    [Side::Request, Side::Response]
        .map(|side| driver.seen.iter().filter(|(of, _)| *of == side).map(|(_, seen)| seen).collect())
}

#[track_caller]
fn check_pieces(recording: &Recording, whole: &Driver, pieces: &[Call], how: &str) {
    let split = Driver::play(recording.middle, pieces);
    assert_eq!(per_side(whole), per_side(&split), "{} {how}", recording.name());
}

#[test]
fn recordings_are_as_expected() {
    let recordings = recordings();
    assert!(recordings.len() >= 12, "only {} recordings", recordings.len());
    let mut differing = Vec::new();
    for recording in &recordings {
        let actual = transcript(&Driver::play(recording.middle, &recording.calls));
        let path = recording.path.with_extension("expect");
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, &actual).expect("write the expectation");
        } else if expected != actual {
            differing.push(format!("{}\n--- expected\n{expected}--- actual\n{actual}", recording.name()));
        }
    }
    assert!(differing.is_empty(), "{}\n(UPDATE=1 rewrites the expectations)", differing.join("\n"));
}

#[test]
fn recordings_hold_split_at_every_byte() {
    for recording in recordings() {
        let whole = Driver::play(recording.middle, &recording.calls);
        for (i, call) in recording.calls.iter().enumerate().take(SPLIT_CALLS_MAX) {
            // Long payloads are all alike: their edges and some of their middle will do.
            let step = (call.len() / 32).max(1);
            let edges = (1..call.len().min(96)).chain(call.len().saturating_sub(32).max(1)..call.len());
            for at in edges.chain((1..call.len()).step_by(step)) {
                let mut pieces = recording.calls.clone();
                pieces.splice(i..=i, call.split_at(at));
                check_pieces(&recording, &whole, &pieces, &format!("call {i} split at {at}"));
            }
        }
    }
}

#[test]
fn recordings_hold_byte_by_byte() {
    for recording in
        recordings().iter().filter(|recording| recording.calls.iter().map(Call::len).sum::<usize>() < 8_000)
    {
        let whole = Driver::play(recording.middle, &recording.calls);
        let single = |call: &Call| match call {
            Call::Bytes { side, bytes, start, end } => (0..bytes.len())
                .map(|i| Call::Bytes {
                    side: *side,
                    bytes: vec![bytes[i]],
                    start: *start && i == 0,
                    end: *end && i + 1 == bytes.len(),
                })
                .collect(),
            other => vec![other.clone()],
        };
        let pieces: Vec<_> = recording.calls.iter().flat_map(single).collect();
        check_pieces(recording, &whole, &pieces, "byte by byte");
    }
}

/// Method and target of a request, or status of a response, by stream.
fn names(driver: &Driver) -> Vec<(u32, String)> {
    let name = |seen: &Seen| match seen {
        Seen::Stream(stream, StreamStep::Request(head)) => {
            let RequestHead::Http(request) = &**head else { panic!("of another protocol") };
            Some((*stream, format!("{} {}", request.method, request.target)))
        }
        Seen::Stream(stream, StreamStep::Response(head)) => {
            let ResponseHead::Http(response) = &**head else { panic!("of another protocol") };
            Some((*stream, response.status.to_string()))
        }
        _ => None,
    };
    driver.seen.iter().filter_map(|(_, seen)| name(seen)).collect()
}

/// Each word is the same, or not known.
fn agrees(seen: &str, said: &str) -> bool {
    let mut words = seen.split(' ').zip(said.split(' '));
    words.all(|(seen, said)| seen == said || seen == "<unknown>" || seen == "0")
}

/// Nothing that is named after a loss, or from the middle on, has another name than without.
#[track_caller]
fn check_names(recording: &Recording, whole: &Driver, damaged: &Driver, how: &str) -> usize {
    let truth = names(whole);
    let names = names(damaged);
    for (stream, seen) in &names {
        let right = truth.iter().any(|(of, said)| of == stream && agrees(seen, said));
        assert!(right, "{} {how}: stream {stream} is {seen}", recording.name());
    }
    names.len()
}

#[test]
fn joined_at_any_call_recordings_have_no_wrong_name() {
    let mut named = 0;
    for recording in recordings().iter().filter(|recording| !recording.middle) {
        let whole = Driver::play(false, &recording.calls);
        for from in 1..recording.calls.len() {
            let joined = Driver::play(true, &recording.calls[from..]);
            named += check_names(recording, &whole, &joined, &format!("from call {from}"));
        }
    }
    assert!(named > 100, "only {named} heads were found again");
}

/// What an agent that comes late sees of a busy connection: printed, since nobody can know it beforehand.
#[test]
fn joined_after_a_thousand_requests_names_are_right_or_unknown() {
    let recordings = recordings();
    let recording = recordings.iter().find(|recording| recording.name() == "middle-long").expect("the recording");
    let driver = Driver::play(true, &recording.calls);
    let names = names(&driver);
    let (mut known, mut unknown) = (0, 0);
    for (stream, said) in &recording.truth {
        let mut of_stream = names.iter().filter(|(of, _)| of == stream).map(|(_, name)| name);
        let (request, status) = (of_stream.next().expect("a request"), of_stream.next().expect("a response"));
        assert!(agrees(request, said), "stream {stream}: {request} is {said}");
        assert!(["200", "503", "0"].contains(&&**status), "stream {stream}: {status}");
        *if request == said { &mut known } else { &mut unknown } += 1;
    }
    println!("of {} requests {known} named, {unknown} unknown", recording.truth.len());
    assert_eq!((known + unknown, recording.truth.len()), (100, 100));
    assert!(known > 50, "only {known} are named");
}

/// Replaces `len` bytes from `at` of one side's bytes by a gap.
fn drop_range(calls: &[Call], of: Side, at: usize, len: usize) -> Vec<Call> {
    let (mut position, mut out) = (0, Vec::new());
    for call in calls {
        let Call::Bytes { side, bytes, start, end } = call else {
            out.push(call.clone());
            continue;
        };
        if *side != of {
            out.push(call.clone());
            continue;
        }
        let from = at.saturating_sub(position).min(bytes.len());
        let to = (at + len).saturating_sub(position).clamp(from, bytes.len());
        position += bytes.len();
        let mut piece = |bytes: &[u8], start, end| {
            if !bytes.is_empty() {
                out.push(Call::Bytes { side: of, bytes: bytes.to_vec(), start, end });
            }
        };
        piece(&bytes[..from], *start, *end && from == bytes.len());
        if to > from {
            out.push(Call::Gap { side: of, len: (to - from) as u64 });
        }
        if to < bytes.len() && to > from {
            out.push(Call::Bytes { side: of, bytes: bytes[to..].to_vec(), start: false, end: *end });
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn recordings_hold_in_random_pieces(cuts in prop::collection::vec(any::<prop::sample::Index>(), 2..8)) {
        for recording in recordings() {
            let whole = Driver::play(recording.middle, &recording.calls);
            let mut pieces = recording.calls.clone();
            for cut in &cuts {
                let i = cut.index(pieces.len());
                let split = pieces[i].split_at(cut.index(pieces[i].len().max(1)));
                pieces.splice(i..=i, split);
            }
            check_pieces(&recording, &whole, &pieces, "in random pieces");
        }
    }

    #[test]
    fn recordings_with_losses_have_no_wrong_name(
        at in any::<prop::sample::Index>(), len in 1usize..400, response in any::<bool>(),
    ) {
        for recording in recordings() {
            let side = if response { Side::Response } else { Side::Request };
            let bytes = recording.calls.iter().filter(|call| call.side() == side).map(Call::len).sum::<usize>();
            let damaged = drop_range(&recording.calls, side, at.index(bytes.max(1)), len);
            let whole = Driver::play(recording.middle, &recording.calls);
            check_names(&recording, &whole, &Driver::play(recording.middle, &damaged), "with a loss");
        }
    }
}
