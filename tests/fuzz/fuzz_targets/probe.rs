//! ELF files: never a panic, never without end, and every probe is inside the file.
#![no_main]

use autospan_fuzz::elf::Elf;
use autospan_fuzz::probe::recognise::recognise;
use libfuzzer_sys::fuzz_target;
use std::ops::ControlFlow::Continue;

fuzz_target!(|input: &[u8]| {
    let recognised = recognise(input);
    assert!(recognised.probes.is_sorted());
    assert!(recognised.probes.iter().all(|probe| probe.offset < input.len() as u64), "{recognised:?}");
    assert!(!recognised.probes.is_empty() || recognised.what.is_empty(), "{recognised:?}");
    if let Some(loss) = recognised.loss {
        assert!(loss.len() < 200 && !loss.contains(char::is_control), "{loss}");
    }
    let Some(elf) = Elf::parse(input) else { return };
    let (mut strings, mut bytes) = (0, 0);
    elf.dynamic_strings(|string| {
        strings += 1;
        bytes += string.len();
        Continue(())
    });
    assert!(strings <= input.len() && bytes <= input.len());
    elf.go_version();
});
