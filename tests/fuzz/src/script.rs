//! A dialog as bytes that a fuzzer can bend: `op · u16 length · payload` for bytes, `op · u16` for gaps, `op` alone else.

use crate::dialog::{Dialog, Turn};
use autospan_core::protocol::{ProtocolConfig, Side};

const CALL_END: u8 = 8;

pub fn decode(mut script: &[u8]) -> Dialog {
    let config = ProtocolConfig { capture_headers: vec!["x-request-id".to_owned()], ..ProtocolConfig::default() };
    let mut dialog = Dialog { turns: Vec::new(), config };
    while let [op, rest @ ..] = script {
        let side = if op & 1 == 0 { Side::Request } else { Side::Response };
        script = rest;
        let turn = match (op >> 1) & 3 {
            0 => Turn::Bytes { side, bytes: payload(&mut script), call_end: op & CALL_END != 0 },
            1 => Turn::Gap { side, len: u64::from(number(&mut script)) + 1 },
            2 => Turn::Close { side },
            _ => Turn::Assume,
        };
        dialog.turns.push(turn);
    }
    dialog
}

pub fn encode(dialog: &Dialog) -> Vec<u8> {
    let mut out = Vec::new();
    for turn in &dialog.turns {
        let side = u8::from(turn.side() == Some(Side::Response));
        match turn {
            Turn::Bytes { bytes, call_end, .. } => {
                for (i, piece) in bytes.chunks(60_000).enumerate() {
                    let last = (i + 1) * 60_000 >= bytes.len();
                    out.push(side | if *call_end && last { CALL_END } else { 0 });
                    out.extend_from_slice(&(piece.len() as u16).to_le_bytes());
                    out.extend_from_slice(piece);
                }
            }
            Turn::Gap { len, .. } => {
                out.push(side | 2);
                out.extend_from_slice(&((len - 1).min(65_535) as u16).to_le_bytes());
            }
            Turn::Close { .. } => out.push(side | 4),
            Turn::Assume => out.push(6),
        }
    }
    out
}

fn number(script: &mut &[u8]) -> u16 {
    let Some((number, rest)) = script.split_first_chunk::<2>() else {
        *script = &[];
        return 0;
    };
    *script = rest;
    u16::from_le_bytes(*number)
}

fn payload(script: &mut &[u8]) -> Vec<u8> {
    let len = usize::from(number(script)).min(script.len());
    let (payload, rest) = script.split_at(len);
    *script = rest;
    payload.to_vec()
}
