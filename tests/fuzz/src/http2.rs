//! Recorded connections of HTTP/2 as bytes that a fuzzer can bend: `op · u16 length · payload`, `op · u16` for gaps.

#[path = "../../../agent/core/tests/http2/calls.rs"]
pub mod calls;
#[path = "../../../agent/core/tests/http2/driver.rs"]
pub mod driver;

use autospan_core::protocol::Side;
use calls::Call;

const RESPONSE: u8 = 1;
const GAP: u8 = 2;
/// Not from the call's first byte on, or not to its last one.
const NO_START: u8 = 4;
const NO_END: u8 = 8;

pub fn decode(mut script: &[u8]) -> Vec<Call> {
    let mut calls = Vec::new();
    while let [op, l0, l1, rest @ ..] = script {
        let side = if op & RESPONSE == 0 { Side::Request } else { Side::Response };
        let len = u16::from_le_bytes([*l0, *l1]);
        if op & GAP != 0 {
            script = rest;
            calls.push(Call::Gap { side, len: u64::from(len) + 1 });
            continue;
        }
        let (bytes, rest) = rest.split_at(usize::from(len).min(rest.len()));
        script = rest;
        let (start, end) = (op & NO_START == 0, op & NO_END == 0);
        calls.push(Call::Bytes { side, bytes: bytes.to_vec(), start, end });
    }
    calls
}

pub fn encode(calls: &[Call]) -> Vec<u8> {
    let mut out = Vec::new();
    for call in calls {
        let side = if call.side() == Side::Request { 0 } else { RESPONSE };
        match call {
            Call::Bytes { bytes, start, end, .. } => {
                out.push(side | if *start { 0 } else { NO_START } | if *end { 0 } else { NO_END });
                out.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Call::Gap { len, .. } => {
                out.push(side | GAP);
                out.extend_from_slice(&((len - 1).min(65_535) as u16).to_le_bytes());
            }
        }
    }
    out
}
