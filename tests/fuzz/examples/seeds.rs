//! `cargo run --example seeds -- CORPUS`: seeds for every target, from the goldens.

use autospan_core::evlog::{Entry, write_header};
use autospan_core::protocol::PROTOCOLS;
use autospan_fuzz::dialog::Dialog;
use autospan_fuzz::http2::calls::recordings;
use autospan_fuzz::http2::encode;
use autospan_fuzz::records::{Maker, script_of, script_of_calls};
use autospan_fuzz::script;
use etherparse::PacketBuilder;
use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionBlock;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs, io};

#[path = "../../../agent/src/elf/testing.rs"]
mod image;

use image::{
    AARCH64, CODE_BASE, CODE_OFFSET, Image, X86_64, go_build_information, go_functab, openssl_without_symbols,
};

fn main() -> io::Result<()> {
    let corpus = PathBuf::from(env::args_os().nth(1).expect("usage: seeds CORPUS"));
    PROTOCOLS.iter().try_for_each(|protocol| goldens(&corpus, protocol.name))?;
    trace_contexts(&corpus)?;
    statements(&corpus)?;
    stories(&corpus)?;
    connections(&corpus)?;
    captures(&corpus)?;
    write(&corpus, "btf", "outer-inner", &btf())?;
    executables(&corpus)
}

/// Of the protocols whose responses come in order.
fn goldens(corpus: &Path, protocol: &str) -> io::Result<()> {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden").join(protocol);
    for entry in fs::read_dir(goldens)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "dialog") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            from_dialog(corpus, protocol, &name, &Dialog::parse(&fs::read_to_string(&path)?))?;
        }
    }
    Ok(())
}

/// A C library, one that lost its names, and Go executables with and without symbols.
fn executables(corpus: &Path) -> io::Result<()> {
    const READ: &str = "crypto/tls.(*Conn).Read";
    const WRITE: &str = "crypto/tls.(*Conn).Write";
    // cmp 16(%r14), %rsp; jbe +3; push %rbp; ret; ret; jmp start
    let x86_64 = [0x49, 0x3b, 0x66, 0x10, 0x76, 0x03, 0x55, 0xc3, 0xc3, 0xeb, 0xf5];
    // nop; ret; b start
    let arm64 = [0x1f, 0x20, 0x03, 0xd5, 0xc0, 0x03, 0x5f, 0xd6, 0xfe, 0xff, 0xff, 0x17];
    let code = |function: &[u8]| [&[0xcc; 16], function, function].concat();
    let function = |name: &str, at: u64, size: u64| (name.to_owned(), Some(at), size);
    let exports = ["SSL_read", "SSL_write_ex2", "SSL_free", "gnutls_record_recv"];
    let exports = exports.into_iter().zip([0, 16, 32, 48]).map(|(name, at)| function(name, at, 16)).collect();
    let constants = b"OpenSSL 3.0.17 1 Jul 2025\0GnuTLS 3.7.9 log\0".to_vec();
    let library = Image { exports, constants, ..Image::default() };
    let constants = b"OpenSSL 3.5.4 30 Sep 2025\0ssl/ssl_lib.c\0/rustls-0.23.46/src".to_vec();
    let unnamed = Image { constants, ..Image::default() };
    let errors = ["ssl_read_internal", "ssl_write_internal", "SSL_do_handshake"];
    let by_errors = openssl_without_symbols("OpenSSL 3.0.17", errors);
    let size = x86_64.len() as u64;
    let symbols = vec![function(READ, 16, size), function(WRITE, 16 + size, size)];
    let information = vec![(".go.buildinfo", go_build_information("go1.27.3"))];
    let go = Image { code: code(&x86_64), symbols, sections: information.clone(), ..Image::default() };
    let stripped = |text, machine, function: &[u8]| {
        let table = (".gopclntab", go_functab(text, [READ, WRITE], function.len()));
        let sections = [information.clone(), vec![table]].concat();
        Image { machine, code: code(function), sections, ..Image::default() }
    };
    let (go_stripped, go_arm64) = (stripped(0, X86_64, &x86_64), stripped(CODE_BASE + CODE_OFFSET, AARCH64, &arm64));
    let images = [library, unnamed, by_errors, go, go_stripped, go_arm64].map(|image| image.build());
    let names = ["library", "unnamed", "by-errors", "go", "go-stripped", "go-arm64"];
    names.into_iter().zip(images).try_for_each(|(name, bytes)| write(corpus, "probe", name, &bytes))
}

/// `struct a { int b; union { int c; }; }; struct d { const a e; }`, with types 1 int, 2 union, 3 a, 4 const a, 5 d.
fn btf() -> Vec<u8> {
    const INT: u32 = 1 << 24;
    const STRUCT: u32 = 4 << 24;
    const UNION: u32 = 5 << 24;
    const CONST: u32 = 10 << 24;
    let strings = b"\0int\0a\0b\0c\0d\0e\0";
    let (int, a, b, c, d, e) = (1, 5, 7, 9, 11, 13);
    let types = [
        [int, INT, 4, 32].as_slice(),
        &[0, UNION | 1, 4, c, 1, 0],
        &[a, STRUCT | 2, 8, b, 1, 0, 0, 2, 32],
        &[0, CONST, 3],
        &[d, STRUCT | 1, 8, e, 4, 0],
    ]
    .concat();
    let type_bytes = 4 * types.len() as u32;
    let header = [0x0001_eb9f, 24, 0, type_bytes, type_bytes, strings.len() as u32];
    let words = header.into_iter().chain(types);
    words.flat_map(u32::to_le_bytes).chain(strings.iter().copied()).collect()
}

/// An exchange as a capture of each kind.
fn captures(corpus: &Path) -> io::Result<()> {
    let request = &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..];
    let response = &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"[..];
    let from_client = |n| PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).tcp(4_000, 80, n, 1_000);
    let from_server = |n| PacketBuilder::ipv4([10, 0, 0, 2], [10, 0, 0, 1], 64).tcp(80, 4_000, n, 1_000);
    let packets = [
        (from_client(99).syn(), &b""[..]),
        (from_server(199).syn().ack(100), b""),
        (from_client(100).ack(200), request),
        (from_server(200).ack(129), response),
        (from_client(129).ack(240).fin(), b""),
        (from_server(240).ack(130).fin(), b""),
    ];
    let mut pcap = PcapWriter::with_header(Vec::new(), PcapHeader { datalink: DataLink::RAW, ..PcapHeader::default() })
        .map_err(io::Error::other)?;
    let mut pcapng = PcapNgWriter::new(Vec::new()).map_err(io::Error::other)?;
    pcapng.write_pcapng_block(InterfaceDescriptionBlock::new(DataLink::LINUX_SLL, 0)).map_err(io::Error::other)?;
    for (i, (packet, payload)) in packets.into_iter().enumerate() {
        let (mut raw, time) = (Vec::new(), Duration::from_millis(i as u64));
        packet.write(&mut raw, payload).map_err(io::Error::other)?;
        pcap.write_packet(&PcapPacket::new(time, raw.len() as u32, &raw)).map_err(io::Error::other)?;
        let cooked = [&[0; 14][..], &[8, 0], &raw[..]].concat();
        let block = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: time,
            original_len: cooked.len() as u32,
            data: cooked.into(),
            options: vec![],
        };
        pcapng.write_pcapng_block(block).map_err(io::Error::other)?;
    }
    write(corpus, "pcap", "pcap", &pcap.into_writer())?;
    write(corpus, "pcap", "pcapng", &pcapng.into_inner())
}

fn from_dialog(corpus: &Path, protocol: &str, name: &str, dialog: &Dialog) -> io::Result<()> {
    let script = [&[17][..], &script::encode(dialog)].concat();
    write(corpus, protocol, name, &script)?;
    let name = &format!("{protocol}-{name}");
    let script = script_of(dialog);
    write(corpus, "engine", name, &script)?;
    let (mut evlog, mut records) = (Vec::new(), Vec::new());
    write_header(&mut evlog);
    Maker::default().play(&script, |entry| {
        entry.write(&mut evlog);
        if let Entry::Record(record) = entry {
            records.push(record.to_vec());
        }
    });
    write(corpus, "evlog", name, &evlog)?;
    for (i, record) in records.iter().take(4).enumerate() {
        write(corpus, "event", &format!("{name}-{i}"), record)?;
    }
    Ok(())
}

/// The first header blocks of each story.
fn stories(corpus: &Path) -> io::Result<()> {
    const BLOCKS: usize = 12;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden/hpack");
    for encoder in fs::read_dir(folder)?.filter_map(Result::ok).filter(|entry| entry.path().is_dir()) {
        for story in fs::read_dir(encoder.path())? {
            let story = story?;
            let text: serde_json::Value = serde_json::from_slice(&fs::read(story.path())?)?;
            let wires = text["cases"].as_array().into_iter().flatten().filter_map(|case| case["wire"].as_str());
            let blocks: Vec<_> = wires.take(BLOCKS).map(unhex).collect();
            let script = [vec![3], blocks.join(&[0x00, 0x80][..])].concat();
            let name = [encoder.file_name(), story.file_name()].map(|name| name.to_string_lossy().into_owned());
            write(corpus, "hpack", &name.join("-"), &script)?;
        }
    }
    Ok(())
}

/// Connections of HTTP/2, from their start and from the middle.
fn connections(corpus: &Path) -> io::Result<()> {
    for recording in recordings() {
        let script = encode(&recording.calls);
        let start = [&[17, u8::from(recording.middle)][..], &script].concat();
        write(corpus, "http2", recording.name(), &start)?;
        let records = script_of_calls(&recording.calls);
        write(corpus, "engine", &format!("http2-{}", recording.name()), &records)?;
        let middle = [&[5, 1][..], &encode(recording.calls.get(2..).unwrap_or_default())].concat();
        write(corpus, "http2", &format!("{}-middle", recording.name()), &middle)?;
    }
    Ok(())
}

fn unhex(digits: &str) -> Vec<u8> {
    let byte = |two: &[u8]| std::str::from_utf8(two).ok().and_then(|two| u8::from_str_radix(two, 16).ok());
    digits.as_bytes().chunks(2).filter_map(byte).collect()
}

/// All quotes, comments and clauses of each dialect.
fn statements(corpus: &Path) -> io::Result<()> {
    let postgresql = "with recursive c(n) as (select 1 from s.t join \"u\" using (b)) insert into v (a) values ('it''s', E'\\''), \
        ($$x$$, $t$y$t$), (-1.5e-3, null) on conflict do update set a = $1::text; delete from t where a in (1, 2) /* a /* b */ */ -- c";
    let mysql = "insert into `t` values ('a\\'b', \"c\", _utf8mb4'd', 0x1F), (?, true, null, default) # e\non duplicate key update \
        a = values(a); select @v := 1 /*!50000 from u, (v) */ where a is not true -- f\n; call p(:n); create table w like x";
    write(corpus, "sql", "postgresql", &[&[0], postgresql.as_bytes()].concat())?;
    write(corpus, "sql", "postgresql-cut", &[&[2], postgresql.as_bytes()].concat())?;
    write(corpus, "sql", "mysql", &[&[1], mysql.as_bytes()].concat())?;
    write(corpus, "sql", "mysql-cut", &[&[3], mysql.as_bytes()].concat())
}

fn trace_contexts(corpus: &Path) -> io::Result<()> {
    let w3c = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\0congo=t61rcWkgMzE,rojo=00f067aa0ba902b7";
    let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-will-be-like";
    let b3 = "\0\x0080f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90";
    let multi = "\0\0\x00463ac35c9f6413ad\0a2fb4a1d1a96d312";
    let jaeger = "\0\0\0\0\x003f5a:1b:0:1";
    for (name, text) in [("w3c", w3c), ("later", later), ("b3", b3), ("multi", multi), ("jaeger", jaeger)] {
        write(corpus, "trace_context", name, text.as_bytes())?;
    }
    Ok(())
}

fn write(corpus: &Path, target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let folder = corpus.join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), bytes)
}
