use super::*;
use crate::elf::testing::{AARCH64, CODE_OFFSET, Image, functions_with_names, openssl_without_symbols};
use crate::probe::plan::ProbeProgram;
use ProbeProgram::{TlsFree, TlsHandshake, TlsRead, TlsReadEx, TlsReturn, TlsSetFd, TlsWrite, TlsWriteEx, TlsWriteEx2};

fn function(name: &str, offset: u64, size: u64) -> (String, Option<u64>, u64) {
    (name.to_owned(), Some(offset), size)
}

fn import(name: &str) -> (String, Option<u64>, u64) {
    (name.to_owned(), None, 0)
}

/// Programs and where they are, from the start of the code.
fn probes(recognised: &Recognised) -> Vec<(u64, ProbeProgram)> {
    recognised.probes.iter().map(|probe| (probe.offset - CODE_OFFSET, probe.program)).collect()
}

fn what(recognised: &Recognised) -> Vec<String> {
    recognised.what.iter().map(ToString::to_string).collect()
}

fn library() -> Image {
    Image {
        exports: vec![
            function("SSL_read", 0, 8),
            import("SSL_do_handshake"),
            function("SSL_free", 8, 8),
            function("SSL_set_fd", 16, 8),
            function("my_SSL_read_ex", 24, 8),
        ],
        ..Image::default()
    }
}

#[test]
fn what_a_library_exports() {
    let recognised = recognise(library().build().as_slice());
    assert_eq!(probes(&recognised), [(0, TlsRead), (0, TlsReturn), (8, TlsFree), (16, TlsSetFd)]);
    assert_eq!(what(&recognised), ["OpenSSL"]);
}

#[test]
fn imports_are_no_library() {
    let image = Image { exports: vec![import("SSL_read"), import("SSL_write")], ..Image::default() };
    assert_eq!(recognise(image.build().as_slice()), Recognised::default());
}

#[test]
fn symbols_where_nothing_is_exported() {
    let symbols = vec![function("gnutls_record_recv", 4, 8), function("gnutls_handshake", 12, 8)];
    let image = Image { symbols, constants: b"Enabled GnuTLS 3.8.4 logging".to_vec(), ..Image::default() };
    let recognised = recognise(image.build().as_slice());
    let expected = [(4, TlsRead), (4, TlsReturn), (12, TlsHandshake), (12, TlsReturn)];
    assert_eq!((probes(&recognised), what(&recognised)), (expected.to_vec(), vec!["GnuTLS 3.8.4".to_owned()]));
}

#[test]
fn probes_are_behind_endbr64() {
    let mut image = library();
    image.code[0..4].copy_from_slice(&[0xf3, 0x0f, 0x1e, 0xfa]);
    image.code[8..12].copy_from_slice(&[0xf3, 0x0f, 0x1e, 0xfa]);
    image.exports[2].2 = 4;
    let recognised = recognise(image.build().as_slice());
    let expected = [(4, TlsRead), (4, TlsReturn), (8, TlsFree), (16, TlsSetFd)];
    assert_eq!(probes(&recognised), expected, "SSL_free is too short");
    image.machine = AARCH64;
    assert_eq!(probes(&recognise(image.build().as_slice()))[0], (0, TlsRead), "data on another machine");
    image.machine = 3;
    assert_eq!(recognise(image.build().as_slice()), Recognised::default(), "an unknown machine");
}

#[test]
fn functions_outside_of_code_have_no_probes() {
    let exports = vec![function("SSL_read", 1 << 40, 8), function("SSL_write", u64::MAX - (1 << 33), 8)];
    let image = Image { exports, ..Image::default() };
    assert_eq!(recognise(image.build().as_slice()).probes, []);
}

#[test]
fn names_of_one_function() {
    let exports = vec![function("SSL_read", 0, 8), function("SSL_read", 0, 8), function("SSL_write", 8, 8)];
    let recognised = recognise(Image { exports, ..Image::default() }.build().as_slice());
    assert_eq!(probes(&recognised), [(0, TlsRead), (0, TlsReturn), (8, TlsWrite), (8, TlsReturn)]);
}

#[test]
fn forks_and_versions() {
    let version = |constants: &[u8], export: &str| {
        let mut image = library();
        image.constants = constants.to_vec();
        image.exports.push(function(export, 32, 8));
        what(&recognise(image.build().as_slice()))
    };
    assert_eq!(version(b"\0OpenSSL 3.0 is new\0OpenSSL 3.0.17 1 Jul 2025\0", "x"), ["OpenSSL 3.0.17"]);
    assert_eq!(version(b"OpenSSL 1.1.1w  11 Sep 2023\0", "x"), ["OpenSSL 1.1.1w"]);
    assert_eq!(version(b"LibreSSL 3.9.2\0", "SSL_CTX_use_certificate_chain_mem"), ["LibreSSL 3.9.2"]);
    assert_eq!(version(b"OpenSSL 1.1.1 (compatible; BoringSSL)", "SSL_set_custom_verify"), ["BoringSSL"]);
    assert_eq!(version(b"", "OPENSSL_1_1_1"), ["OpenSSL 1.1.1"]);
    assert_eq!(version(b"OpenSSL 3.0.\x1b[1m 1", "x"), ["OpenSSL"], "nothing for a terminal");
}

#[test]
fn versions_of_shared_libraries() {
    for (string, expected) in
        [("libssl.so.3", "OpenSSL 3"), ("libssl-6a9b88ec.so.1.1", "OpenSSL 1.1"), ("libssl.so", "OpenSSL")]
    {
        let mut image = library();
        image.exports.push(import(string));
        assert_eq!(what(&recognise(image.build().as_slice())), [expected]);
    }
}

#[test]
fn libraries_without_names() {
    let told = |constants: &[u8]| {
        recognise(Image { constants: constants.to_vec(), ..Image::default() }.build().as_slice()).loss
    };
    let told = |constants: &[u8]| told(constants).unwrap_or_default();
    assert_eq!(told(b"OpenSSL 3.5.4 30 Sep 2025\0../ssl/ssl_lib.c\0"), "OpenSSL 3.5.4: linked in without symbols");
    assert_eq!(told(b"OpenSSL 3.5.4 30 Sep 2025\0crypto/err/err.c\0"), "", "libcrypto alone");
    assert_eq!(told(b"OpenSSL 1.1.1 (compatible)\0boringssl/ssl/ssl_lib.cc\0"), "BoringSSL: linked in without symbols");
    assert_eq!(told(b"/r/rustls-0.23.46/src/conn.rs"), "rustls 0.23.46: linked in without symbols");
    assert_eq!(told(b"/r/rustls-0.23\x1b[1m/src/conn.rs /rustls-webpki-0.103.1/src"), "", "nothing for a terminal");
    assert_eq!(
        told(b"/rustls-0.21.12/src\0/rustls-0.23.46/src\0OpenSSL 3.0.\0ssl/ssl_lib.c"),
        "OpenSSL and rustls 0.21.12: linked in without symbols"
    );
}

const INTERNAL: [&str; 3] = ["ssl_read_internal", "ssl_write_internal", "SSL_do_handshake"];

#[test]
fn functions_by_the_errors_they_raise() {
    for (version, write) in
        [("OpenSSL 3.0.17", TlsWriteEx), ("OpenSSL 3.3.0", TlsWriteEx2), ("OpenSSL 4.0.3", TlsWriteEx2)]
    {
        let recognised = recognise(openssl_without_symbols(version, INTERNAL).build().as_slice());
        let expected =
            [(0, TlsReadEx), (0, TlsReturn), (16, write), (16, TlsReturn), (32, TlsHandshake), (32, TlsReturn)];
        assert_eq!((probes(&recognised), what(&recognised)), (expected.to_vec(), vec![version.to_owned()]));
        assert_eq!(recognised.loss, None);
    }
    let recognised = recognise(
        openssl_without_symbols("OpenSSL 3.5.4", ["ssl_read_internal", "ssl_write_internal", "x"]).build().as_slice(),
    );
    assert_eq!(probes(&recognised).len(), 4, "without the handshake");
}

#[test]
fn functions_that_are_not_certain_are_left_alone() {
    let lost = |image: Image, why: &str| {
        let recognised = recognise(image.build().as_slice());
        assert_eq!((probes(&recognised), recognised.loss.is_some()), (vec![], true), "{why}");
    };
    lost(openssl_without_symbols("OpenSSL 1.1.1w", INTERNAL), "numbers instead of names");
    lost(openssl_without_symbols("OpenSSL 3.x", INTERNAL), "an unknown version");
    lost(openssl_without_symbols("OpenSSL 3.5.4", ["ssl_read_internal", "x", "y"]), "nothing to write with");
    let mut image = openssl_without_symbols("OpenSSL 3.5.4", INTERNAL);
    image.code[53] = 0x90;
    lost(image.clone(), "a part of a function: nobody calls it");
    image.code[53] = 0xe8;
    let call: [u8; 7] = image.code[0..7].try_into().expect("seven bytes");
    image.code[32..39].copy_from_slice(&call);
    let displacement = i32::from_le_bytes(image.code[35..39].try_into().expect("four bytes")) - 32;
    image.code[35..39].copy_from_slice(&displacement.to_le_bytes());
    lost(image.clone(), "two functions");
    image.sections.clear();
    lost(image, "no bounds of functions");
}

const NODE_HTTP2: [&str; 5] = [
    "nghttp2_session_mem_recv2",
    "nghttp2_submit_request",
    "_ZN4node5http212Http2Session14OnFrameReceiveEP15nghttp2_sessionPK13nghttp2_framePv",
    "_ZN4node5http212Http2Session19OnDataChunkReceivedEP15nghttp2_sessionhiPKhmPv",
    "_ZN4node5http212Http2Session13OnStreamCloseEP15nghttp2_sessionijPv",
];

/// Each function has 16 bytes.
fn node(names: &[&str]) -> Image {
    let first = ["_ZN4node11Environment14CheckImmediateEP10uv_check_s", "another_function"];
    let names = first.iter().chain(names).enumerate();
    let mut symbols: Vec<_> = names.map(|(i, name)| function(name, 16 * i as u64, 16)).collect();
    symbols.push(function("nghttp2_session_mem_recv", 112, 5));
    Image { symbols, code: vec![0xc3; 128], ..Image::default() }
}

#[test]
fn streams_of_node() {
    use ProbeProgram::{
        Nghttp2Data, Nghttp2Frame, Nghttp2Received, Nghttp2ReceivedReturn, Nghttp2StreamClosed, Nghttp2Submit,
        Nghttp2SubmitReturn, NodeChecks,
    };
    let received = [(32, Nghttp2Received), (32, Nghttp2ReceivedReturn)];
    let submitted = [(48, Nghttp2Submit), (48, Nghttp2SubmitReturn)];
    let callbacks = [(64, Nghttp2Frame), (80, Nghttp2Data), (96, Nghttp2StreamClosed)];
    let expected = [&[(0, NodeChecks)][..], &received, &submitted, &callbacks].concat();
    assert_eq!(probes(&recognise(node(&NODE_HTTP2).build().as_slice())), expected, "a mere jump has none");
    for missing in 0..NODE_HTTP2.len() {
        let mut names = NODE_HTTP2;
        names[missing] = "another";
        assert_eq!(probes(&recognise(node(&names).build().as_slice())), [(0, NodeChecks)], "{missing}");
    }
}

/// Three functions of 16 bytes, the first of which says what it would log.
fn grpc_of_python(extension: &str) -> Image {
    let base = Image { exports: vec![function(extension, 48, 16)], ..Image::default() };
    functions_with_names(&[""], ["grpc_call_start_batch(call=", "second", "third"], base)
}

/// In the function at `at`, `jne` to the first byte of the code.
fn jump_to_first(image: &mut Image, at: usize) {
    image.code[at..at + 2].copy_from_slice(&[0x0f, 0x85]);
    image.code[at + 2..at + 6].copy_from_slice(&(-(at as i32) - 6).to_le_bytes());
}

#[test]
fn calls_of_grpc_in_python() {
    use ProbeProgram::{GrpcStartBatch, GrpcStartBatchReturn};
    let found = |image: &Image| probes(&recognise(image.build().as_slice()));
    let at = |offset| [(offset, GrpcStartBatch), (offset, GrpcStartBatchReturn)];
    let mut image = grpc_of_python("PyInit_cygrpc");
    assert_eq!(found(&image), at(0));
    // Nobody calls it: it is a part of another one.
    image.code[48] = 0x90;
    assert_eq!(found(&image), []);
    jump_to_first(&mut image, 24);
    assert_eq!(found(&image), at(16));
    jump_to_first(&mut image, 40);
    assert_eq!(found(&image), [], "of two");
    assert_eq!(found(&grpc_of_python("PyInit_cython")), [], "another program, which calls in another way");
}

/// A table that is longer than a window, with names that lie across its end.
#[test]
fn large_tables() {
    let filler = (0..20_000).map(|i| function(&format!("function_with_some_name_{i}"), 0, 0));
    let exports = filler.chain(library().exports).chain([function("SSL_read_ex", 40, 8)]).collect();
    let image = Image { exports, code: vec![0xc3; 64], ..Image::default() };
    let recognised = recognise(image.build().as_slice());
    assert!(probes(&recognised).starts_with(&[(0, TlsRead), (0, TlsReturn)]));
    assert!(probes(&recognised).contains(&(40, TlsReadEx)));
    for pad in 65_500..65_540 {
        let name = "x".repeat(pad);
        let image = Image { exports: vec![function(&name, 0, 0), function("SSL_read", 3, 0)], ..Image::default() };
        assert_eq!(probes(&recognise(image.build().as_slice())), [(3, TlsRead), (3, TlsReturn)], "{pad}");
        let constants = ["x".repeat(pad).as_bytes(), b"OpenSSL 3.5.4 30 Sep 2025\0"].concat();
        let recognised = recognise(Image { constants, ..library() }.build().as_slice());
        assert_eq!(what(&recognised), ["OpenSSL 3.5.4"], "{pad}");
    }
}

#[test]
fn files_that_lie() {
    let file = library().build();
    for len in 0..file.len() {
        recognise(&file[..len]);
    }
    for at in 0..file.len() {
        for value in [0, 0x7f, 0xff] {
            let mut file = file.clone();
            file[at] = value;
            recognise(file.as_slice());
            file[at..].iter_mut().take(8).for_each(|byte| *byte = value);
            recognise(file.as_slice());
        }
    }
    assert_eq!(recognise(&b"#!/bin/sh\n"[..]), Recognised::default());
}
