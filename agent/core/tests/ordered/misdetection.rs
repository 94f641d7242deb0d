//! What each protocol takes for its own: of the first bytes of every golden, and of other protocols. The matrix is a snapshot
//! (`tests/golden/misdetection.txt`, `UPDATE=1` rewrites it).

use crate::foreign::FOREIGN;
use crate::goldens::all;
use autospan_core::protocol::http2::Http2;
use autospan_core::protocol::{PROTOCOLS, Side, Sniff};
use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

/// Bytes that no sniffer looks behind.
const SNIFFED_BYTES: usize = 64;

/// Which protocol takes some prefix of these bytes for its own, and as which side.
fn takers(bytes: &[u8]) -> String {
    let mut takers = Vec::new();
    let prefixes = || (0..=bytes.len().min(SNIFFED_BYTES)).map(|len| &bytes[..len]);
    for protocol in PROTOCOLS {
        for (side, name) in [(Side::Request, "request"), (Side::Response, "response")] {
            if prefixes().any(|prefix| (protocol.sniff)(side, prefix) == Sniff::Yes) {
                takers.push(format!("{} {name}", protocol.name));
            }
        }
    }
    if prefixes().any(|prefix| Http2::sniff(prefix) == Sniff::Yes) {
        takers.push("http2".to_owned());
    }
    if takers.is_empty() { "nobody".to_owned() } else { takers.join(", ") }
}

#[test]
fn the_matrix_is_as_it_was() {
    let mut samples = BTreeMap::new();
    for golden in all() {
        for (side, name) in [(Side::Request, "request"), (Side::Response, "response")] {
            let bytes = golden.dialog.start_of(side);
            if !bytes.is_empty() {
                samples.insert(format!("{}/{} {name}", golden.protocol.name, golden.name()), takers(&bytes));
            }
        }
    }
    samples.extend(FOREIGN.iter().map(|(name, bytes)| (format!("{name} (literal)"), takers(bytes))));
    let matrix: String = samples.iter().map(|(name, takers)| format!("{name}: {takers}\n")).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/misdetection.txt");
    if env::var_os("UPDATE").is_some() {
        return fs::write(path, matrix).expect("write the matrix");
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    let differing: Vec<_> = matrix.lines().filter(|line| !expected.lines().any(|other| other == *line)).collect();
    assert!(expected == matrix, "changed or new:\n{}\n(UPDATE=1 rewrites it)", differing.join("\n"));
}

/// More bytes never make a sniffer undecided again, nor change its mind.
#[test]
fn verdicts_are_final() {
    for golden in all() {
        for of in [Side::Request, Side::Response] {
            let bytes = golden.dialog.start_of(of);
            for (protocol, side) in PROTOCOLS.iter().flat_map(|p| [(p, Side::Request), (p, Side::Response)]) {
                let mut verdict = Sniff::Undecided;
                for len in 0..=bytes.len().min(2 * SNIFFED_BYTES) {
                    let next = (protocol.sniff)(side, &bytes[..len]);
                    let what = || format!("{side:?} of {} at {len} bytes of {}", protocol.name, golden.path.display());
                    assert!(verdict == Sniff::Undecided || next == verdict, "{} was {verdict:?}", what());
                    verdict = next;
                }
            }
        }
    }
}
