//! A kernel that refuses one program: what it makes up is lost, and nothing else.

use std::path::Path;

use autospan::kernel::LoadOptions;
use autospan::probe::ProbeFamily;
use object::{Object, ObjectSection, ObjectSymbol};

use crate::rig::Rig;

/// A return: it would hand on what nobody has set.
const EXIT: u64 = 0x95;

/// The object that this machine's agent has, in which the verifier will not take `program`.
fn without(program: &str) -> tempfile::NamedTempFile {
    let name = format!("bpf/autospan-{}.bpf.o", std::env::consts::ARCH);
    let mut bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("it is committed");
    let at = start_of(program, &bytes);
    bytes[at..at + 8].copy_from_slice(&EXIT.to_le_bytes());
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), bytes).expect("it can be written to");
    file
}

fn start_of(program: &str, object: &[u8]) -> usize {
    let file = object::File::parse(object).expect("an object");
    let symbol = file.symbols().find(|symbol| symbol.name() == Ok(program)).expect("it has the program");
    let section = file.section_by_index(symbol.section_index().expect("defined")).expect("a section");
    let (start, _) = section.file_range().expect("it has code");
    usize::try_from(start + symbol.address()).expect("within the file")
}

fn lost_without(program: &str, single_probes: bool) -> Option<Vec<&'static str>> {
    let object = without(program);
    let options = LoadOptions { object: Some(object.path().into()), single_probes, ..LoadOptions::default() };
    let rig = Rig::with(&options)?;
    assert_eq!(rig.kernel.has_probes(ProbeFamily::Nghttp2), program != "nghttp2_data");
    assert!(rig.kernel.has_probes(ProbeFamily::Tls));
    let lost = rig.kernel.capabilities().iter().filter(|capability| !capability.works());
    Some(lost.map(|capability| capability.name).filter(|name| *name != "many probes per link").collect())
}

#[test]
fn a_program_on_user_code_costs_its_family() {
    for single_probes in [false, true] {
        let Some(lost) = lost_without("nghttp2_data", single_probes) else { return };
        assert_eq!(lost, [ProbeFamily::Nghttp2.name()], "single: {single_probes}");
    }
}

#[test]
fn a_program_on_a_system_call_costs_that_call() {
    let Some(lost) = lost_without("enter_splice", false) else { return };
    assert_eq!(lost, ["splice"]);
}

#[test]
fn what_an_older_kernel_refuses_has_a_stand_in() {
    let Some(lost) = lost_without("exit_read", false) else { return };
    assert_eq!(lost, [""; 0]);
}
