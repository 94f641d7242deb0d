//! Public stories of header lists, by many encoders: see tests/golden/hpack.

use crate::calls::unhex;
use crate::hpack::{Fields, decode};
use autospan_core::protocol::http2::hpack::Decoder;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// A header block and what it says.
struct Case {
    block: Vec<u8>,
    fields: Fields,
}

fn stories() -> Vec<(PathBuf, Vec<Case>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/hpack");
    let entries = |path: &Path| {
        let mut paths: Vec<_> =
            fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        paths
    };
    let files = entries(&folder).into_iter().filter(|path| path.is_dir()).flat_map(|path| entries(&path));
    files.map(|path| (path.clone(), cases(&path))).collect()
}

fn cases(path: &Path) -> Vec<Case> {
    let story: Value = serde_json::from_slice(&fs::read(path).expect("a story")).expect("JSON");
    let case = |case: &Value| Case {
        block: unhex(case["wire"].as_str().expect("wire")),
        fields: case["headers"].as_array().expect("headers").iter().map(field).collect(),
    };
    story["cases"].as_array().expect("cases").iter().map(case).collect()
}

fn field(field: &Value) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let (name, value) = field.as_object().and_then(|field| field.iter().next()).expect("one field");
    (Some(name.clone().into_bytes()), Some(value.as_str().expect("a text").to_owned().into_bytes()))
}

#[test]
fn stories_are_decoded() {
    let stories = stories();
    assert!(stories.len() >= 17, "only {} stories", stories.len());
    for (path, cases) in &stories {
        let mut decoder = Decoder::default();
        for (i, case) in cases.iter().enumerate() {
            let (fields, list) = decode(&mut decoder, &case.block).unwrap_or_else(|e| panic!("{path:?} {i}: {e:?}"));
            assert_eq!((list.unknown, list.too_long), (0, false), "{path:?} {i}");
            assert_eq!(fields, case.fields, "{path:?} {i}");
        }
    }
}

/// From every middle on, with the losses of another header block on the way: each field is what it was, or unknown.
#[test]
fn stories_joined_in_the_middle_are_right_or_unknown() {
    let (mut known, mut unknown) = (0, 0);
    for (path, cases) in &stories() {
        for start in 1..cases.len() {
            let mut decoder = Decoder::in_the_middle();
            let lost = start + (cases.len() - start) / 2;
            for (i, case) in cases.iter().enumerate().skip(start) {
                if i == lost {
                    decoder.forget();
                    continue;
                }
                let (fields, _) = decode(&mut decoder, &case.block).unwrap_or_else(|e| panic!("{path:?} {i}: {e:?}"));
                assert_eq!(fields.len(), case.fields.len(), "{path:?} from {start}, {i}");
                for (seen, said) in fields.iter().zip(&case.fields) {
                    let name = seen.0.is_none() || seen.0 == said.0;
                    let value = seen.1.is_none() || seen.1 == said.1;
                    assert!(name && value, "{path:?} from {start}, {i}: {seen:?} is {said:?}");
                    *if seen.0.is_some() && seen.1.is_some() { &mut known } else { &mut unknown } += 1;
                }
            }
        }
    }
    println!("known {known}, unknown {unknown}");
    assert!(known > unknown && unknown > 0, "known {known}, unknown {unknown}");
}
