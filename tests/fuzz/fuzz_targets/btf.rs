//! Kernel type information: never a panic, never without end.
#![no_main]

#[path = "../../../agent/src/kernel/btf.rs"]
mod btf;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(btf) = btf::Btf::parse(input.to_vec()) else { return };
    for (structure, path) in [("a", "b"), ("a", "c"), ("d", "e.b"), ("d", "e.c"), ("d", "e.c.b"), ("a", "nothing")] {
        let _ = btf.offset(structure, path);
    }
});
