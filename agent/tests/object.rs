//! The kernel objects, as far as they can be judged without the kernels that will load them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{env, fs};

use aya_obj::Object;
use aya_obj::generated::bpf_insn;

/// `MAX_BPF_STACK` and `MAX_CALL_FRAMES` in `include/linux/bpf.h` and `bpf_verifier.h`: what a program and all that it
/// calls may use together. Since Linux 6.13 each function has its own, so that newer kernels do not tell.
const STACK_BYTES_MAX: u32 = 512;
const FRAMES_MAX: usize = 8;
/// The verifier rounds each frame up, an empty one too (`check_max_stack_depth`).
const FRAME_BYTES_MIN: u32 = 32;

const FRAME_POINTER: u8 = 10;

#[test]
fn every_chain_of_calls_fits_the_stack_of_older_kernels() {
    for path in objects() {
        let object = linked(&path);
        assert!(object.programs.len() > 20, "{} is not the agent's object", path.display());
        for (name, program) in &object.programs {
            let function = object.functions.get(&program.function_key()).expect("a program has code");
            let Chain { bytes, frames } = deepest(&functions(&function.instructions), 0, FRAMES_MAX);
            assert!(bytes <= STACK_BYTES_MAX, "{name} in {}: {bytes} bytes in {frames} frames", path.display());
        }
    }
}

#[test]
fn stacks_are_measured_as_the_verifier_does() {
    let frame_pointer_minus = |bytes: i32| [insn(0xbf, 1, 10, 0, 0), insn(0x07, 1, 0, 0, -bytes)];
    let mut code = vec![insn(0x7b, 10, 1, -40, 0), insn(0x85, 0, 1, 0, 1), insn(0x95, 0, 0, 0, 0)];
    code.extend(frame_pointer_minus(100));
    code.extend([insn(0x85, 0, 1, 0, 1), insn(0x95, 0, 0, 0, 0), insn(0x95, 0, 0, 0, 0)]);
    let Chain { bytes, frames } = deepest(&functions(&code), 0, FRAMES_MAX);
    assert_eq!((bytes, frames), (64 + 128 + 32, 3));
}

fn insn(code: u8, to: u8, from: u8, off: i16, imm: i32) -> bpf_insn {
    let _bitfield_1 = bpf_insn::new_bitfield_1(to, from);
    bpf_insn { code, _bitfield_align_1: [], _bitfield_1, off, imm }
}

/// Those of all architectures, and the one under test where it was built from other tools.
fn objects() -> Vec<PathBuf> {
    let committed = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("bpf")).expect("the objects are committed");
    let committed = committed.flatten().map(|entry| entry.path());
    let mut objects: Vec<_> = committed.filter(|path| path.extension().is_some_and(|suffix| suffix == "o")).collect();
    assert!(!objects.is_empty());
    objects.extend(env::var_os("AUTOSPAN_BPF_OBJECT").map(PathBuf::from));
    objects
}

/// Each program with the functions that it calls behind it.
fn linked(path: &Path) -> Object {
    let mut object = Object::parse(&fs::read(path).expect("it can be read")).expect("it is an object");
    let text_sections = object.functions.keys().map(|(section, _)| *section).collect();
    let maps = std::mem::take(&mut object.maps);
    object.relocate_maps(maps.iter().map(|(name, map)| (name.as_str(), 0, map)), &text_sections).expect("maps");
    object.relocate_calls(&text_sections).expect("calls");
    object
}

/// A function's frame in bytes, and where the functions begin that it calls.
#[derive(Default)]
struct Function {
    frame: u32,
    calls: BTreeSet<usize>,
}

/// By the index of their first instruction.
fn functions(code: &[bpf_insn]) -> BTreeMap<usize, Function> {
    let callees = code.iter().enumerate().filter_map(|(at, insn)| callee(at, insn));
    let mut functions: BTreeMap<usize, Function> = callees.map(|start| (start, Function::default())).collect();
    functions.insert(0, Function::default());
    for (at, insn) in code.iter().enumerate() {
        let (_, function) = functions.range_mut(..=at).next_back().expect("one begins at 0");
        function.frame = function.frame.max(reach(insn, code.get(at + 1)));
        function.calls.extend(callee(at, insn));
    }
    functions
}

/// `BPF_JMP | BPF_CALL` with `BPF_PSEUDO_CALL`.
fn callee(at: usize, insn: &bpf_insn) -> Option<usize> {
    let is_call = insn.code == 0x85 && insn.src_reg() == 1;
    is_call.then(|| at.checked_add_signed(insn.imm as isize + 1).expect("within the program"))
}

/// Bytes below the frame pointer that an instruction reaches by itself, or by the address it makes with the next one.
fn reach(insn: &bpf_insn, next: Option<&bpf_insn>) -> u32 {
    const LDX: u8 = 1;
    const ST: u8 = 2;
    const STX: u8 = 3;
    const MOV64_REG: u8 = 0xbf;
    const ADD64_IMM: u8 = 0x07;
    let offset = match insn.code & 7 {
        LDX if insn.src_reg() == FRAME_POINTER => i32::from(insn.off),
        ST | STX if insn.dst_reg() == FRAME_POINTER => i32::from(insn.off),
        _ if insn.code == MOV64_REG && insn.src_reg() == FRAME_POINTER => {
            next.filter(|next| next.code == ADD64_IMM && next.dst_reg() == insn.dst_reg()).map_or(0, |next| next.imm)
        }
        _ => 0,
    };
    offset.min(0).unsigned_abs()
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Chain {
    bytes: u32,
    frames: usize,
}

/// The chain of calls from a function on that takes most of the stack.
fn deepest(functions: &BTreeMap<usize, Function>, start: usize, frames_left: usize) -> Chain {
    assert!(frames_left > 0, "more than {FRAMES_MAX} functions deep");
    let function = &functions[&start];
    let below = function.calls.iter().map(|callee| deepest(functions, *callee, frames_left - 1)).max();
    let below = below.unwrap_or(Chain { bytes: 0, frames: 0 });
    let frame = function.frame.max(1).next_multiple_of(FRAME_BYTES_MIN);
    Chain { bytes: frame + below.bytes, frames: below.frames + 1 }
}
