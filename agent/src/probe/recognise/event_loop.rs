//! Event loops that run many requests on one thread: where what a thread does stops belonging to what it read last.
//!
//! - Node: callbacks of reads run in libuv's poll phase; `node::Environment::CheckImmediate` begins what comes for other
//!   reasons (immediates, then timers). Work that libuv gives to its threads comes back in a later turn: linked by its pointer.
//! - Node's HTTP/2: nghttp2 calls back for each frame, by stream.
//! - nginx: timers run after the events of a turn.

use super::entry_offset;
use crate::elf::{Elf, Function, Machine, Source};
use crate::probe::plan::{Probe, ProbeProgram, Recognised};
use ProbeProgram::{
    Nghttp2Data, Nghttp2Frame, Nghttp2Received, Nghttp2ReceivedReturn, Nghttp2StreamClosed, Nghttp2Submit,
    Nghttp2SubmitReturn, NodeChecks, TurnEnded, WorkDone, WorkQueued, WorkSubmitted,
};

/// Nothing but a Node has it.
const NODE: [(&str, ProbeProgram); 1] = [("_ZN4node11Environment14CheckImmediateEP10uv_check_s", NodeChecks)];
/// Local to the file, unlike that one: they may be named in another table.
const LIBUV: [(&str, ProbeProgram); 5] = [
    ("uv__work_submit", WorkSubmitted),
    ("uv__fs_done", WorkDone),
    ("uv__getaddrinfo_done", WorkDone),
    ("uv__getnameinfo_done", WorkDone),
    ("uv__queue_done", WorkDone),
];
/// What Node and its addons give to threads (cryptography, compression), where `uv__work_submit` is a part of this function.
const LIBUV_QUEUE: [(&str, ProbeProgram); 1] = [("uv_queue_work", WorkQueued)];
/// Of a jump, behind what may mark its target.
const JUMP_BYTES: u64 = 9;
/// The library, by the names of both its ABIs, and the callbacks of `node::http2::Http2Session`.
const NGHTTP2: [(&str, ProbeProgram); 7] = [
    ("nghttp2_session_mem_recv", Nghttp2Received),
    ("nghttp2_session_mem_recv2", Nghttp2Received),
    ("nghttp2_submit_request", Nghttp2Submit),
    ("nghttp2_submit_request2", Nghttp2Submit),
    ("_ZN4node5http212Http2Session14OnFrameReceiveEP15nghttp2_sessionPK13nghttp2_framePv", Nghttp2Frame),
    ("_ZN4node5http212Http2Session19OnDataChunkReceivedEP15nghttp2_sessionhiPKhmPv", Nghttp2Data),
    ("_ZN4node5http212Http2Session13OnStreamCloseEP15nghttp2_sessionijPv", Nghttp2StreamClosed),
];
const NGINX: [(&str, ProbeProgram); 1] = [("ngx_event_expire_timers", TurnEnded)];

/// Adds what an executable has of them.
pub(super) fn recognise<S: Source + ?Sized>(elf: &Elf<'_, S>, recognised: &mut Recognised) {
    if elf.machine == Machine::Other {
        return;
    }
    let turns = entries(elf, &NODE);
    if turns.is_empty() {
        recognised.probes.extend(entries(elf, &NGINX));
        return;
    }
    // Where turns are not seen to end, streams say nothing, nor does work in other threads.
    recognised
        .probes
        .extend(turns.into_iter().chain(entries(elf, &LIBUV)).chain(entries(elf, &LIBUV_QUEUE)).chain(streams(elf)));
}

/// Of HTTP/2: all, or none where it would not be seen which connection a stream is on, or that its callback is over.
fn streams<S: Source + ?Sized>(elf: &Elf<'_, S>) -> Vec<Probe> {
    let mut probes = entries(elf, &NGHTTP2);
    let needed = [Nghttp2Received, Nghttp2Submit, Nghttp2Frame, Nghttp2Data, Nghttp2StreamClosed];
    if !needed.iter().all(|program| probes.iter().any(|probe| probe.program == *program)) {
        return Vec::new();
    }
    let returns = probes.iter().filter_map(|probe| match probe.program {
        Nghttp2Received => Some(Probe { program: Nghttp2ReceivedReturn, ..*probe }),
        Nghttp2Submit => Some(Probe { program: Nghttp2SubmitReturn, ..*probe }),
        _ => None,
    });
    let returns: Vec<Probe> = returns.collect();
    probes.extend(returns);
    probes
}

fn entries<S: Source + ?Sized>(elf: &Elf<'_, S>, wanted: &[(&str, ProbeProgram)]) -> Vec<Probe> {
    let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
    // One that only jumps to another is no function of its own.
    let functions = elf.functions(&names).into_iter().filter(|function| function.size > JUMP_BYTES);
    let probe =
        |function: Function| Some(Probe { offset: entry_offset(elf, &function)?, program: wanted[function.name].1 });
    functions.filter_map(probe).collect()
}
