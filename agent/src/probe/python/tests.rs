use super::*;
use crate::elf::testing::{AARCH64, CODE_BASE, CODE_OFFSET, Image};
use crate::probe::recognise;
use ProbeProgram::{
    PyContextCopied, PyContextEntered, PyDequeAppend, PyDequePopleft, PyFutureSet, PyQueueGot, PyQueuePut,
};

mod interpreters;

const FASTCALL: u64 = FASTCALL_KEYWORDS;

/// Name, offset in the code, flags.
type Entry<'a> = (&'a str, u64, u64);

const FUTURE: &[Entry<'_>] = &[
    ("result", 0, 4),
    ("set_result", 0x10, ONE_ARGUMENT),
    ("set_exception", 0x20, ONE_ARGUMENT),
    ("add_done_callback", 0x30, FASTCALL),
    ("get_loop", 0x40, 4),
];
const TASK: &[Entry<'_>] = &[
    ("set_result", 0x50, ONE_ARGUMENT),
    ("add_done_callback", 0x30, FASTCALL),
    ("get_loop", 0x40, 4),
    ("get_coro", 0x60, 4),
];
const DEQUE: &[Entry<'_>] = &[
    ("append", 0x10, ONE_ARGUMENT),
    ("extendleft", 0x20, ONE_ARGUMENT),
    ("popleft", 0x30, NO_ARGUMENTS),
    ("rotate", 0x40, FASTCALL),
];
const QUEUE_TYPE: &[Entry<'_>] = &[
    ("empty", 0x10, 4),
    ("get", 0x20, 0x282),
    ("get_nowait", 0x30, 0x202),
    ("put", 0x40, FASTCALL),
    ("put_nowait", 0x50, FASTCALL),
    ("qsize", 0x60, 4),
];

/// A module with tables of methods.
#[derive(Clone, Copy)]
struct Module<'a> {
    export: &'a str,
    tables: &'a [&'a [Entry<'a>]],
    /// The addresses are in relocations, not in the data.
    relocated: bool,
}

impl Module<'_> {
    fn build(&self) -> Vec<u8> {
        let methods = self.tables.iter().map(|table| table.len() + 1).sum::<usize>();
        let names: Vec<&str> = self.tables.iter().flat_map(|table| table.iter().map(|entry| entry.0)).collect();
        let mut image = Image {
            exports: vec![(self.export.to_owned(), Some(0), 8)],
            code: vec![0xc3; 0x100],
            constants: [names.join("\0").as_bytes(), b"\0"].concat(),
            sections: vec![(".data", vec![0; 8 + methods * 32]), (".rela.dyn", vec![0; methods * 48])],
            ..Image::default()
        };
        let bytes = image.build();
        let elf = Elf::parse(bytes.as_slice()).expect("a file");
        let address = |name| elf.section(name).expect("the section").address;
        (image.sections[0].1, image.sections[1].1) = self.data(address(".data"), address(".rodata"));
        image.build()
    }

    /// The data, and its relocations.
    fn data(&self, base: u64, mut name_at: u64) -> (Vec<u8>, Vec<u8>) {
        let mut data = vec![0; (base.wrapping_neg() % 8) as usize];
        let mut relocations = Vec::new();
        for table in self.tables {
            for (name, code, flags) in *table {
                for value in [name_at, CODE_BASE + CODE_OFFSET + code] {
                    const RELATIVE: u64 = 8;
                    let place = base + data.len() as u64;
                    relocations.extend([place, RELATIVE, value].map(u64::to_le_bytes).concat());
                    data.extend(if self.relocated { [0; 8] } else { value.to_le_bytes() });
                }
                data.extend([*flags, 0].map(u64::to_le_bytes).concat());
                name_at += name.len() as u64 + 1;
            }
            data.extend([0; 32]);
        }
        (data, if self.relocated { relocations } else { Vec::new() })
    }

    /// Programs and where they are, from the start of the code.
    fn probes(&self) -> Vec<(u64, ProbeProgram)> {
        places(&recognise(self.build().as_slice()).probes)
    }
}

fn places(probes: &[Probe]) -> Vec<(u64, ProbeProgram)> {
    probes.iter().map(|probe| (probe.offset - CODE_OFFSET, probe.program)).collect()
}

#[test]
fn futures_but_not_tasks() {
    for relocated in [true, false] {
        let module = Module { export: ASYNCIO, tables: &[TASK, FUTURE], relocated };
        assert_eq!(module.probes(), [(0x10, PyFutureSet)]);
    }
}

#[test]
fn queues() {
    let module = Module { export: QUEUE, tables: &[FUTURE, QUEUE_TYPE, &FUTURE[..2]], relocated: true };
    let queue = [(0x20, PyQueueGot), (0x30, PyQueueGot), (0x40, PyQueuePut), (0x50, PyQueuePut)];
    assert_eq!(module.probes(), [&[(0x10, PyFutureSet)], &queue[..]].concat());
    let other: Vec<Entry<'_>> = QUEUE_TYPE.iter().map(|(name, code, _)| (*name, *code, 0x282)).collect();
    let module = Module { tables: &[&other], ..module };
    assert_eq!(module.probes(), queue[..2], "the item is elsewhere among the arguments of `put`");
    assert_eq!(Module { export: "PyInit_other", ..module }.probes(), [], "not CPython's module");
}

#[test]
fn deques() {
    let module = Module { export: QUEUE, tables: &[FUTURE, DEQUE], relocated: true };
    let recognised = recognise(module.build().as_slice());
    assert_eq!(places(&recognised.probes), [(0x10, PyFutureSet)], "in all processes");
    assert_eq!(places(&recognised.on_demand), [(0x10, PyDequeAppend), (0x30, PyDequePopleft)]);
    let [append, extend, _, rotate] = *DEQUE else { panic!("four methods") };
    let other = [append, extend, ("popleft", 0x30, ONE_ARGUMENT), rotate];
    let recognised = recognise(Module { tables: &[&other], ..module }.build().as_slice());
    assert_eq!(recognised.on_demand, [], "half of them would see half of what is handed over");
}

#[test]
fn what_is_no_table() {
    let far = [("set_result", 1 << 30, ONE_ARGUMENT), ("add_done_callback", 0x30, FASTCALL), ("get_loop", 0x40, 4)];
    let flags = far.map(|(name, _, _)| (name, 0x10, 0x8000_0000_0008));
    let name = [("set_result", 0x10, 8), ("add_done callback", 0x30, FASTCALL), ("get_loop", 0x40, 4)];
    for table in [far, flags, name] {
        assert_eq!(Module { export: ASYNCIO, tables: &[&table], relocated: true }.probes(), []);
    }
}

#[test]
fn modules_that_lie() {
    let file = Module { export: QUEUE, tables: &[QUEUE_TYPE, FUTURE], relocated: true }.build();
    for len in 0..file.len() {
        recognise(&file[..len]);
    }
    for at in 0..file.len() {
        for value in [0, 0x7f, 0xff] {
            let mut file = file.clone();
            file[at..].iter_mut().take(8).for_each(|byte| *byte = value);
            recognise(file.as_slice());
        }
    }
}

/// Where the exports of a hand-made interpreter are in its code.
const VERSION_AT: u64 = 0x10;
const GET_STATE_AT: u64 = 0x20;
const RUNTIME_AT: u64 = 0x2000;
const CONTEXT_TYPE_AT: u64 = 0x40;

/// An interpreter of a version, whose `PyGILState_GetThisThreadState` is this code.
fn interpreter(version: u64, code: &[u8]) -> Image {
    let mut image = Image { code: vec![0xc3; 0x100], ..Image::default() };
    let export = |name: &str, at, size| (name.to_owned(), Some(at), size);
    image.exports = vec![
        export(CONTEXT_TYPE, CONTEXT_TYPE_AT, 408),
        export(RUNTIME, RUNTIME_AT, 0x1000),
        export(VERSION, VERSION_AT, 8),
        export(GET_STATE, GET_STATE_AT, 0x20),
        export(COPY_CURRENT, 0x50, 8),
        export(ENTER, 0x60, 8),
    ];
    image.code[VERSION_AT as usize..][..8].copy_from_slice(&version.to_le_bytes());
    image.code[GET_STATE_AT as usize..][..code.len()].copy_from_slice(code);
    image
}

fn told(image: &Image) -> String {
    match recognise(image.build().as_slice()).python {
        Some(Ok(python)) => {
            let Some(Code { offset, address }) = python.code.first().copied() else { return "no code".to_owned() };
            let runtime = python.runtime(address, offset, Libc::Glibc, false).expect("its first segment");
            let state = runtime.state_key.saturating_sub(CODE_BASE + CODE_OFFSET + RUNTIME_AT);
            format!("{}: {state:#x} {}", python.version, runtime.state_tls)
        }
        Some(Err(unsupported)) => unsupported.to_string(),
        None => "nothing".to_owned(),
    }
}

const NO_CODE: [u8; 1] = [0xc3];
const V3_11: u64 = 0x030b_02f0;

#[test]
fn probes_of_an_interpreter() {
    let recognised = recognise(interpreter(V3_11, &NO_CODE).build().as_slice());
    assert_eq!(places(&recognised.probes), [(0x50, PyContextCopied), (0x60, PyContextEntered)]);
}

#[test]
fn versions() {
    assert_eq!(told(&interpreter(V3_11, &NO_CODE)), "3.11: 0x254 0");
    assert_eq!(told(&interpreter(0x030e_0af0, &NO_CODE)), "3.14: 0x924 0");
    assert_eq!(told(&interpreter(0x0363_0000, &NO_CODE)), "CPython 3.99: its version is not known");
    assert_eq!(told(&interpreter(0x040b_02f0, &NO_CODE)), "CPython 3: its version is not known");
    let older = |name: Option<&str>, constants: &[u8]| {
        let mut image = interpreter(0, &NO_CODE);
        image.exports.extend(name.map(|name| (name.to_owned(), None, 0)));
        image.constants = constants.to_vec();
        told(&image)
    };
    assert_eq!(older(Some("libpython3.9.so.1.0"), b"python3.8\0"), "3.9: 0x24c 0");
    assert_eq!(older(None, b"lib/python3.8\0python3.8\0Python 3.10\0"), "3.8: 0x574 0");
    assert_eq!(older(None, b"python3.8\0python3.9\0"), "CPython 3: its version is not known");
    assert_eq!(older(None, b"python3.8 and later\0"), "CPython 3: its version is not known");
}

#[test]
fn builds_that_are_not_supported() {
    let with = |name: &str| {
        let mut image = interpreter(V3_11, &NO_CODE);
        image.exports.push((name.to_owned(), Some(0x70), 8));
        image
    };
    assert_eq!(told(&with(DEBUG)), "CPython 3.11: it is a debug build");
    assert_eq!(told(&with(FREE_THREADED)), "CPython 3.11: it is a free-threaded build");
    assert_eq!(recognise(with(DEBUG).build().as_slice()).probes, []);
    let arm = Image { machine: AARCH64, ..interpreter(V3_11, &NO_CODE) };
    assert_eq!(told(&arm), "CPython 3.11: it is known for x86-64 only");
    let mut embedding = interpreter(V3_11, &NO_CODE);
    embedding.exports.remove(1);
    assert_eq!(told(&embedding), "nothing", "not the interpreter");
}

/// How compilers were seen to write it.
#[test]
fn keys_in_code() {
    let far = |behind: u64, key: u64| ((RUNTIME_AT + key) as i32 - (GET_STATE_AT + behind) as i32).to_le_bytes();
    // cmpq $0,…(%rip); mov …(%rip),%edi; jmp pthread_getspecific
    let inlined = [&[0x48, 0x83, 0x3d][..], &far(8, 0x300), &[0, 0x8b, 0x3d], &far(14, 0x30c), &[0xe9]].concat();
    assert_eq!(told(&interpreter(V3_11, &inlined)), "3.11: 0x30c 0");
    // mov …@GOTPCREL(%rip),%rax; push %rbx; lea 0x308(%rax),%rbx; mov %rbx,%rdi; call PyThread_tss_is_created
    let shared = [0x48, 0x8b, 0x05, 1, 2, 3, 0, 0x53, 0x48, 0x8d, 0x98, 8, 3, 0, 0, 0x48, 0x89, 0xdf, 0xe8];
    assert_eq!(told(&interpreter(V3_11, &shared)), "3.11: 0x30c 0");
    // lea …(%rip),%rdi; jmp PyThread_tss_get
    let position_independent = [&[0x48, 0x8d, 0x3d][..], &far(7, 0x308), &[0xe9]].concat();
    assert_eq!(told(&interpreter(V3_11, &position_independent)), "3.11: 0x30c 0");
    // mov $…,%edi; jmp PyThread_tss_get
    let address = (CODE_BASE + CODE_OFFSET + RUNTIME_AT + 0x308) as u32;
    let fixed = [&[0xbf][..], &address.to_le_bytes(), &[0xe9]].concat();
    assert_eq!(told(&interpreter(V3_11, &fixed)), "3.11: 0x30c 0");
    let outside = [0x48, 0x8d, 0x98, 8, 0x30, 0, 0];
    assert_eq!(told(&interpreter(V3_11, &outside)), "3.11: 0x254 0", "its version's own");
}

#[test]
fn thread_local_states() {
    let version = 0x030f_02f0;
    let executable = [0xf3, 0x0f, 0x1e, 0xfa, 0x64, 0x48, 0x8b, 0x04, 0x25, 0xd8, 0xff, 0xff, 0xff, 0xc3];
    assert_eq!(told(&interpreter(version, &executable)), "3.15: 0x0 -40");
    let library = [0x48, 0x8d, 0x3d, 1, 2, 3, 4, 0xe8];
    assert_eq!(told(&interpreter(version, &library)), "CPython 3.15: its thread-local storage is not known");
}

#[test]
fn where_a_process_has_it() {
    let recognised = recognise(interpreter(V3_11, &NO_CODE).build().as_slice());
    let Some(Ok(python)) = recognised.python else { panic!("{:?}", recognised.python) };
    let runtime = python.runtime(0x7f00_0000_0000, 0, Libc::Glibc, false).expect("the code is there");
    assert_eq!(runtime.context_type, 0x7f00_0000_0000 + CODE_OFFSET + CONTEXT_TYPE_AT);
    assert_eq!((runtime.specific, runtime.specific_entry, runtime.datastack), (0x310, 16, 0));
    let with_greenlets = python.runtime(0x7f00_0000_0000, 0, Libc::Glibc, true).expect("the code is there");
    assert_eq!(with_greenlets.datastack, 296);
    let musl = python.runtime(CODE_BASE, 0, Libc::Musl, false).expect("the code is there");
    assert_eq!((musl.specific, musl.specific_entry), (0x80, 8));
    assert_eq!(python.runtime(CODE_BASE, PAGE, Libc::Glibc, false), None, "no code there");
}
