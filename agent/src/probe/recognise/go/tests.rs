use crate::elf::testing::{AARCH64, CODE_BASE, CODE_OFFSET, Image, go_build_information, go_functab};
use crate::probe::plan::{ProbeProgram, Recognised};
use crate::probe::recognise::recognise;
use ProbeProgram::{
    GoHttp2ReadFrames, GoHttp2RunHandler, GoHttp2WriteHeaders, GoNewproc, GoNewprocReturn, GoRoundTrip, GoTlsRead,
    GoTlsReturn, GoTlsWrite, GrpcGoCalls, GrpcGoHandle, GrpcGoRequest, GrpcGoResponse, GrpcGoServes, GrpcGoStreamMade,
};

/// `cmp 16(%r14), %rsp; jbe +2; push %rbp; ret; ret; jmp start`.
const X86_64: [u8; 11] = [0x49, 0x3b, 0x66, 0x10, 0x76, 0x03, 0x55, 0xc3, 0xc3, 0xeb, 0xf5];
/// `nop; ret; b start`.
const ARM64: [u8; 12] = [0x1f, 0x20, 0x03, 0xd5, 0xc0, 0x03, 0x5f, 0xd6, 0xfe, 0xff, 0xff, 0x17];
const READ: &str = "crypto/tls.(*Conn).Read";
const WRITE: &str = "crypto/tls.(*Conn).Write";

/// Two functions that follow each other from 16 bytes after the start of the code on.
fn code(function: &[u8]) -> Vec<u8> {
    [&[0xcc; 16], function, function].concat()
}

fn stripped(version: &str, text: u64) -> Image {
    let table = go_functab(text, [READ, WRITE], X86_64.len());
    let sections = vec![(".go.buildinfo", go_build_information(version)), (".gopclntab", table)];
    Image { code: code(&X86_64), sections, ..Image::default() }
}

fn with_symbols(version: &str) -> Image {
    let function = |name: &str, at| (name.to_owned(), Some(at), X86_64.len() as u64);
    let symbols = vec![function(READ, 16), function(WRITE, 16 + X86_64.len() as u64)];
    // Real ones have the names in the runtime's table as well.
    let sections = vec![(".go.buildinfo", go_build_information(version)), (".rodata.names", READ.into())];
    Image { code: code(&X86_64), symbols, sections, ..Image::default() }
}

fn probes(recognised: &Recognised) -> Vec<(u64, ProbeProgram)> {
    recognised.probes.iter().map(|probe| (probe.offset - CODE_OFFSET, probe.program)).collect()
}

const EXPECTED: [(u64, ProbeProgram); 6] = [
    (16 + 6, GoTlsRead),
    (16 + 7, GoTlsReturn),
    (16 + 8, GoTlsReturn),
    (27 + 6, GoTlsWrite),
    (27 + 7, GoTlsReturn),
    (27 + 8, GoTlsReturn),
];

#[test]
fn by_symbols() {
    let recognised = recognise(with_symbols("go1.27.3").build().as_slice());
    assert_eq!(probes(&recognised), EXPECTED);
    assert_eq!(recognised.what[0].to_string(), "Go crypto/tls 1.27.3");
    assert_eq!(recognised.loss, None);
}

#[test]
fn by_the_runtimes_table() {
    // Relative to the section `.text`, and to where the header says.
    assert_eq!(probes(&recognise(stripped("go1.27.3", 0).build().as_slice())), EXPECTED);
    let file = stripped("go1.21.13", CODE_BASE + CODE_OFFSET).build();
    assert_eq!(probes(&recognise(file.as_slice())), EXPECTED);
    let mut image = stripped("go1.20", 0);
    image.sections[1].0 = ".data.rel.ro";
    assert_eq!(probes(&recognise(image.build().as_slice())), EXPECTED, "among other data");
}

#[test]
fn by_the_runtimes_table_without_sections() {
    const SECTIONS_AT: usize = 0x28;
    let mut file = stripped("go1.25", CODE_BASE + CODE_OFFSET).build();
    file[SECTIONS_AT..SECTIONS_AT + 8].fill(0xff);
    let recognised = recognise(file.as_slice());
    assert_eq!((probes(&recognised), recognised.what[0].to_string()), (EXPECTED.to_vec(), "Go crypto/tls 1.25".into()));
}

#[test]
fn where_the_code_begins() {
    let start = CODE_BASE + CODE_OFFSET;
    // A C linker put 16 bytes of its own before Go's code, which `.text` then says nothing of.
    let moved = |image: &mut Image| image.code.splice(0..0, [0xcc; 16]).for_each(drop);
    let expected = EXPECTED.map(|(at, program)| (at + 16, program));
    let mut image = stripped("go1.26.6", 0);
    moved(&mut image);
    let recognised = recognise(image.build().as_slice());
    assert_eq!(recognised.probes, []);
    assert_eq!(
        recognised.loss.as_deref(),
        Some("Go crypto/tls 1.26.6 cannot be read: where its code begins was not found")
    );
    let module = |text: u64| [vec![0; 22 * 8], text.to_le_bytes().to_vec()].concat();
    image.sections.push((".go.module", module(start + 16)));
    assert_eq!(probes(&recognise(image.build().as_slice())), expected);
    let file = image.build();
    let place = file.windows(8).position(|bytes| bytes == (start + 16).to_le_bytes()).expect("the word") as u64;
    image.sections[2].1 = module(0);
    let mut relocations = vec![(".rela.dyn", Vec::new())];
    for (from, kind) in [(0, 8_u64), (crate::elf::testing::CONSTANTS_BASE + place, 8)] {
        relocations[0].1.extend([from, kind, start + 16].map(u64::to_le_bytes).concat());
    }
    image.sections.extend(relocations);
    assert_eq!(probes(&recognise(image.build().as_slice())), expected, "after relocation");
}

#[test]
fn aarch64() {
    let table = go_functab(CODE_BASE + CODE_OFFSET, [READ, WRITE], ARM64.len());
    let sections = vec![(".go.buildinfo", go_build_information("go1.24")), (".gopclntab", table)];
    let image = Image { machine: AARCH64, code: code(&ARM64), sections, ..Image::default() };
    let expected = [(16, GoTlsRead), (20, GoTlsReturn), (28, GoTlsWrite), (32, GoTlsReturn)];
    assert_eq!(probes(&recognise(image.build().as_slice())), expected);
}

#[test]
fn versions() {
    for version in ["go1.17", "go1.18beta1", "go1.30-custom X:jsonv2", "go1.21.13 X:boringcrypto"] {
        assert_eq!(probes(&recognise(with_symbols(version).build().as_slice())), EXPECTED, "{version}");
    }
    for (version, told) in [("go1.16.15", " 1.16.15"), ("devel", ""), ("go2.0", " 2.0")] {
        let recognised = recognise(with_symbols(version).build().as_slice());
        let loss = format!("Go crypto/tls{told} cannot be read: only Go 1.17 and newer is understood");
        assert_eq!((recognised.probes.as_slice(), recognised.loss), (&[][..], Some(loss)), "{version}");
    }
}

#[test]
fn executables_without_tls() {
    let mut image = stripped("go1.27.3", 0);
    image.sections[1].1 = go_functab(0, ["main.main", "main.other"], X86_64.len());
    assert_eq!(recognise(image.build().as_slice()), Recognised::default());
    image.sections.remove(0);
    assert_eq!(recognise(image.build().as_slice()), Recognised::default());
}

#[test]
fn functions_of_the_runtime() {
    let names = ["runtime.newproc1", "net/http.(*persistConn).roundTrip"];
    let mut image = stripped("go1.27.3", 0);
    image.sections[1].1 = go_functab(0, names, X86_64.len());
    let recognised = recognise(image.build().as_slice());
    let expected = [(22, GoNewproc), (23, GoNewprocReturn), (24, GoNewprocReturn), (33, GoRoundTrip)];
    assert_eq!((probes(&recognised), recognised.what, recognised.loss), (expected.to_vec(), vec![], None));
    image.code[16 + 9] = 0x90;
    let recognised = recognise(image.build().as_slice());
    assert_eq!((probes(&recognised), recognised.loss), (vec![(33, GoRoundTrip)], None), "one is understood");
    image.sections[0].1 = go_build_information("go1.16");
    assert_eq!(recognise(image.build().as_slice()), Recognised::default(), "no TLS is lost");
}

#[test]
fn functions_of_http2_by_each_of_their_names() {
    for [server, client] in [
        ["net/http.(*http2serverConn)", "net/http.(*http2ClientConn)"],
        ["net/http/internal/http2.(*serverConn)", "net/http/internal/http2.(*ClientConn)"],
        ["golang.org/x/net/http2.(*serverConn)", "golang.org/x/net/http2.(*ClientConn)"],
    ] {
        let of_server = [&format!("{server}.readFrames")[..], &format!("{server}.runHandler")];
        let names = ["golang.org/x/net/http2.(*other).writeHeaders", &format!("{client}.writeHeaders")];
        for (names, expected) in [
            (of_server, vec![(22, GoHttp2ReadFrames), (33, GoHttp2RunHandler)]),
            (names, vec![(33, GoHttp2WriteHeaders)]),
        ] {
            let mut image = stripped("go1.27.3", 0);
            image.sections[1].1 = go_functab(0, names, X86_64.len());
            assert_eq!(probes(&recognise(image.build().as_slice())), expected, "{names:?}");
        }
    }
}

#[test]
fn functions_of_grpc() {
    const TRANSPORT: &str = "google.golang.org/grpc/internal/transport.";
    for (server, client, expected) in [
        ("HandleStreams", "reader", vec![(22, GrpcGoServes), (33, GrpcGoCalls)]),
        ("operateHeaders", "operateHeaders", vec![(22, GrpcGoRequest), (33, GrpcGoResponse)]),
        ("NewStream", "NewStream", vec![(34, GrpcGoStreamMade), (35, GrpcGoStreamMade)]),
    ] {
        let (server, client) =
            (format!("{TRANSPORT}(*http2Server).{server}"), format!("{TRANSPORT}(*http2Client).{client}"));
        let mut image = stripped("go1.27.3", 0);
        image.sections[1].1 = go_functab(0, [server.as_str(), client.as_str()], X86_64.len());
        assert_eq!(probes(&recognise(image.build().as_slice())), expected, "{server} {client}");
    }
    let mut image = stripped("go1.27.3", 0);
    image.sections[1].1 = go_functab(0, ["main.main", "google.golang.org/grpc.(*Server).handleStream"], X86_64.len());
    assert_eq!(probes(&recognise(image.build().as_slice())), [(33, GrpcGoHandle)]);
}

#[test]
fn tables_of_a_layout_to_come() {
    let mut image = stripped("go1.40", 0);
    image.sections[1].1[0] = 0xf2;
    let recognised = recognise(image.build().as_slice());
    let loss = "Go crypto/tls 1.40 cannot be read: its function table was not found";
    assert_eq!((recognised.what, recognised.loss.as_deref()), (Vec::new(), Some(loss)));
    image.sections[1].1.truncate(72);
    assert_eq!(recognise(image.build().as_slice()), Recognised::default(), "it may have no TLS");
}

#[test]
fn code_that_is_no_function() {
    for (at, byte, why) in [(9, 0x90, "does not start again"), (0, 0x06, "an instruction that there is not")] {
        let mut image = with_symbols("go1.27.3");
        image.code[16 + at] = byte;
        let recognised = recognise(image.build().as_slice());
        assert_eq!(recognised.probes, [], "{why}");
        assert!(recognised.loss.is_some_and(|loss| loss.ends_with("its code was not understood")), "{why}");
    }
}

#[test]
fn tables_that_lie() {
    let file = stripped("go1.27.3", 0).build();
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
