//! Captures made here, packet by packet, by independent writers of frames and files.

use super::*;
use autospan_core::engine::{Engine, EngineConfig, Output};
use autospan_core::span::Value;
use etherparse::PacketBuilder;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketBlock;
use pcap_file::{DataLink, Endianness, TsResolution};
use std::borrow::Cow;
use std::time::Duration;

const REQUEST: &str = "GET /items HTTP/1.1\r\nHost: shop.example\r\n\r\n";
const RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// How frames are wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrap {
    Ethernet,
    Vlan,
    Cooked,
    Cooked2,
    Raw,
    Loopback,
}

impl Wrap {
    fn link(self) -> u32 {
        match self {
            Self::Ethernet | Self::Vlan => 1,
            Self::Cooked => 113,
            Self::Cooked2 => 276,
            Self::Raw => 101,
            Self::Loopback => 0,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Flags {
    syn: bool,
    fin: bool,
}

const SYN: Flags = Flags { syn: true, fin: false };
const FIN: Flags = Flags { syn: false, fin: true };
const NONE: Flags = Flags { syn: false, fin: false };

/// Frames of one connection, client port 40000, server port 8080.
#[derive(Clone, Debug)]
struct Wire {
    wrap: Wrap,
    v6: bool,
    /// Next sequence number of the client and of the server.
    next: [u32; 2],
    frames: Vec<Vec<u8>>,
}

impl Wire {
    fn new(wrap: Wrap, v6: bool) -> Self {
        // The client's numbers wrap inside its first request.
        Self { wrap, v6, next: [u32::MAX - 10, 7_000], frames: Vec::new() }
    }

    fn handshake(&mut self) {
        self.send(true, "", SYN);
        self.send(false, "", SYN);
    }

    /// A packet from the client or the server that acknowledges all before it.
    fn send(&mut self, client: bool, payload: &str, flags: Flags) {
        let (own, other) = if client { (0, 1) } else { (1, 0) };
        let (ports, last) = (if client { (40_000, 8_080) } else { (8_080, 40_000) }, if client { 1u8 } else { 2 });
        let (sequence, acknowledged) = (self.next[own], self.next[other]);
        let peer = 3 - last;
        let base = match self.wrap {
            Wrap::Ethernet => PacketBuilder::ethernet2([1; 6], [2; 6]),
            Wrap::Vlan => {
                let vlan = PacketBuilder::ethernet2([1; 6], [2; 6]).single_vlan(5u16.try_into().expect("an id"));
                let ip = vlan.ipv4([10, 0, 0, last], [10, 0, 0, peer], 64);
                return self.push(client, ip.tcp(ports.0, ports.1, sequence, 1_000), acknowledged, payload, flags);
            }
            _ => {
                let (from, to) = ([10, 0, 0, last], [10, 0, 0, peer]);
                let ip = if self.v6 {
                    PacketBuilder::ipv6(v6(last), v6(peer), 64)
                } else {
                    PacketBuilder::ipv4(from, to, 64)
                };
                return self.push(client, ip.tcp(ports.0, ports.1, sequence, 1_000), acknowledged, payload, flags);
            }
        };
        let ip =
            if self.v6 { base.ipv6(v6(last), v6(peer), 64) } else { base.ipv4([10, 0, 0, last], [10, 0, 0, peer], 64) };
        self.push(client, ip.tcp(ports.0, ports.1, sequence, 1_000), acknowledged, payload, flags);
    }

    fn push(
        &mut self,
        client: bool,
        mut tcp: etherparse::PacketBuilderStep<etherparse::TcpHeader>,
        acknowledged: u32,
        payload: &str,
        flags: Flags,
    ) {
        let first = flags.syn && client;
        tcp = if first { tcp } else { tcp.ack(acknowledged) };
        tcp = if flags.syn { tcp.syn() } else { tcp };
        tcp = if flags.fin { tcp.fin() } else { tcp };
        let mut packet = Vec::new();
        tcp.write(&mut packet, payload.as_bytes()).expect("written");
        self.frames.push(wrapped(self.wrap, self.v6, packet));
        let used = payload.len() as u32 + u32::from(flags.syn) + u32::from(flags.fin);
        let own = if client { 0 } else { 1 };
        self.next[own] = self.next[own].wrapping_add(used);
    }

    fn exchange(&mut self) {
        self.send(true, REQUEST, NONE);
        self.send(false, RESPONSE, NONE);
    }

    fn end(&mut self) {
        self.send(true, "", FIN);
        self.send(false, "", FIN);
        self.send(true, "", NONE);
    }

    /// The frames as a pcap file, a millisecond apart.
    fn pcap(&self) -> Vec<u8> {
        let header = PcapHeader {
            datalink: DataLink::from(self.wrap.link()),
            endianness: Endianness::Big,
            ts_resolution: TsResolution::NanoSecond,
            ..PcapHeader::default()
        };
        let mut writer = PcapWriter::with_header(Vec::new(), header).expect("a writer");
        for (i, frame) in self.frames.iter().enumerate() {
            let packet = PcapPacket::new(time(i), frame.len() as u32, frame);
            writer.write_packet(&packet).expect("written");
        }
        writer.into_writer()
    }
}

fn v6(last: u8) -> [u8; 16] {
    [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

fn wrapped(wrap: Wrap, v6: bool, packet: Vec<u8>) -> Vec<u8> {
    let ether_type: &[u8] = if v6 { &[0x86, 0xdd] } else { &[8, 0] };
    let header = match wrap {
        Wrap::Ethernet | Wrap::Vlan | Wrap::Raw => vec![],
        Wrap::Cooked => [&[0; 14], ether_type].concat(),
        Wrap::Cooked2 => [ether_type, &[0; 18]].concat(),
        Wrap::Loopback => vec![2, 0, 0, 0],
    };
    [header, packet].concat()
}

fn time(i: usize) -> Duration {
    Duration::new(1_700_000_000, i as u32 * 1_000_000)
}

/// The spans of a capture, one line each, and what was read.
fn spans(file: &[u8]) -> (Vec<String>, Summary) {
    let mut engine = Engine::new(EngineConfig::default());
    let mut names = Vec::new();
    let mut on_entry = |entry: Entry<'_>| match entry {
        Entry::Record(record) => engine.feed(record),
        Entry::Fact(Fact::Service { name, .. }) => names.push(name),
        Entry::Fact(fact) => engine.fact(fact),
        Entry::Tick(now) => engine.tick(now),
    };
    let summary = read_from(&mut &file[..], &mut on_entry).expect("a capture");
    while let Some(deadline) = engine.next_deadline() {
        engine.tick(deadline);
    }
    let mut lines = Vec::new();
    while let Some(output) = engine.poll() {
        let Output::Span(span) = output else { continue };
        let text = |key| match span.attribute(key) {
            Some(Value::String(text)) => text.to_string(),
            Some(Value::Int(n)) => n.to_string(),
            other => format!("{other:?}"),
        };
        let ms = |ns: u64| (ns - 1_700_000_000_000_000_000) / 1_000_000;
        lines.push(format!(
            "{} {} {} {} from {} {}-{} ms at {}",
            span.name,
            text("url.path"),
            text("http.response.status_code"),
            text("http.response.body.size"),
            text("client.address"),
            ms(span.start_unix_ns),
            ms(span.end_unix_ns),
            names[span.tgid as usize - 1],
        ));
    }
    (lines, summary)
}

const SPAN: &str = "GET /items 200 2 from 10.0.0.1 2-3 ms at 10.0.0.2:8080";

#[test]
fn an_exchange_in_every_kind_of_frame() {
    for wrap in [Wrap::Ethernet, Wrap::Vlan, Wrap::Cooked, Wrap::Cooked2, Wrap::Raw, Wrap::Loopback] {
        let mut wire = Wire::new(wrap, false);
        wire.handshake();
        wire.exchange();
        wire.end();
        let (lines, summary) = spans(&wire.pcap());
        assert_eq!(lines, [SPAN], "{wrap:?}");
        let expected = Summary { packets: 7, skipped: 0, connections: 1, lost_bytes: 0, cut_bytes: 0, damage: None };
        assert_eq!(summary, expected, "{wrap:?}");
    }
}

#[test]
fn ipv6() {
    for wrap in [Wrap::Ethernet, Wrap::Cooked, Wrap::Cooked2, Wrap::Raw] {
        let mut wire = Wire::new(wrap, true);
        wire.handshake();
        wire.exchange();
        let (lines, _) = spans(&wire.pcap());
        assert_eq!(lines, ["GET /items 200 2 from fd00::1 2-3 ms at [fd00::2]:8080"], "{wrap:?}");
    }
}

#[test]
fn disorder_and_repetition_change_nothing() {
    let mut wire = Wire::new(Wrap::Ethernet, false);
    wire.handshake();
    let (first, second) = REQUEST.split_at(20);
    wire.send(true, first, NONE);
    wire.send(true, second, NONE);
    wire.frames.swap(2, 3);
    let again = wire.frames[3].clone();
    wire.frames.push(again);
    wire.send(false, RESPONSE, NONE);
    let (lines, summary) = spans(&wire.pcap());
    assert_eq!(lines, ["GET /items 200 2 from 10.0.0.1 3-5 ms at 10.0.0.2:8080"]);
    assert_eq!(summary.lost_bytes, 0);
}

#[test]
fn a_capture_that_starts_midway() {
    let mut wire = Wire::new(Wrap::Raw, false);
    wire.send(false, RESPONSE, NONE);
    wire.exchange();
    let (lines, _) = spans(&wire.pcap());
    assert_eq!(lines, ["GET /items 200 2 from 10.0.0.1 1-2 ms at 10.0.0.2:8080"]);
}

#[test]
fn packets_that_the_capture_lost() {
    let mut wire = Wire::new(Wrap::Ethernet, false);
    wire.handshake();
    wire.exchange();
    wire.exchange();
    wire.exchange();
    wire.end();
    // The second request.
    wire.frames.remove(4);
    let (lines, summary) = spans(&wire.pcap());
    assert_eq!(summary.lost_bytes, REQUEST.len() as u64);
    // The third request came to light when it was acknowledged, by its response.
    assert_eq!(lines, [SPAN, "GET /items 200 2 from 10.0.0.1 6-6 ms at 10.0.0.2:8080"]);
}

#[test]
fn a_port_used_again_is_another_connection() {
    let mut wire = Wire::new(Wrap::Ethernet, false);
    for _ in 0..2 {
        wire.handshake();
        wire.exchange();
        wire.end();
        wire.next[0] = wire.next[0].wrapping_add(100_000);
    }
    let (lines, summary) = spans(&wire.pcap());
    assert_eq!((lines.len(), summary.connections), (2, 2));
}

#[test]
fn a_capture_with_cut_packets_keeps_the_positions() {
    let mut wire = Wire::new(Wrap::Ethernet, false);
    wire.handshake();
    wire.send(true, REQUEST, NONE);
    wire.send(false, &format!("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}", "x".repeat(1_000)), NONE);
    wire.exchange();
    let whole: Vec<_> = wire.frames.iter().map(Vec::len).collect();
    let header = PcapHeader { snaplen: 150, ..PcapHeader::default() };
    let mut writer = PcapWriter::with_header(Vec::new(), header).expect("a writer");
    for (i, frame) in wire.frames.iter().enumerate() {
        let cut = &frame[..frame.len().min(150)];
        writer.write_packet(&PcapPacket::new(time(i), whole[i] as u32, cut)).expect("written");
    }
    let (lines, summary) = spans(&writer.into_writer());
    let expected = [
        "GET /items 200 1000 from 10.0.0.1 2-3 ms at 10.0.0.2:8080",
        "GET /items 200 2 from 10.0.0.1 4-5 ms at 10.0.0.2:8080",
    ];
    assert_eq!(lines, expected);
    assert_eq!((summary.lost_bytes, summary.cut_bytes), (0, 945));
}

fn pcapng(wire: &Wire, options: Vec<InterfaceDescriptionOption<'static>>, units: fn(Duration) -> u64) -> Vec<u8> {
    let mut writer = PcapNgWriter::new(Vec::new()).expect("a writer");
    let linktype = DataLink::from(wire.wrap.link());
    writer.write_pcapng_block(InterfaceDescriptionBlock { linktype, snaplen: 0, options }).expect("written");
    for (i, frame) in wire.frames.iter().enumerate() {
        let packet = EnhancedPacketBlock {
            interface_id: 0,
            timestamp: Duration::from_nanos(units(time(i))),
            original_len: frame.len() as u32,
            data: Cow::Borrowed(frame),
            options: vec![],
        };
        writer.write_pcapng_block(packet).expect("written");
    }
    writer.into_inner()
}

#[test]
fn pcapng_times_have_the_units_of_their_interface() {
    let mut wire = Wire::new(Wrap::Ethernet, false);
    wire.handshake();
    wire.exchange();
    let default = pcapng(&wire, vec![], |t| t.as_micros() as u64);
    let nanoseconds = pcapng(&wire, vec![InterfaceDescriptionOption::IfTsResol(9)], |t| t.as_nanos() as u64);
    let binary = pcapng(&wire, vec![InterfaceDescriptionOption::IfTsResol(0x80 | 20)], |t| {
        // Rounded up, so that it is the same millisecond again.
        ((t.as_nanos() << 20) / 1_000_000_000 + 1) as u64
    });
    for file in [default, nanoseconds, binary] {
        assert_eq!(spans(&file).0, [SPAN]);
    }
}

#[test]
fn a_file_cut_anywhere_gives_what_is_there() {
    let mut wire = Wire::new(Wrap::Ethernet, false);
    wire.handshake();
    wire.exchange();
    wire.end();
    for file in [wire.pcap(), pcapng(&wire, vec![], |t| t.as_micros() as u64)] {
        let mut seen = 0;
        for len in 0..file.len() {
            let read = read_from(&mut &file[..len], &mut |_| {});
            let packets = match &read {
                Ok(summary) => summary.packets,
                Err(PcapError::Foreign(_)) => 0,
                Err(error) => panic!("{error}"),
            };
            assert!(packets >= seen, "cut at {len}: {read:?}");
            seen = packets;
        }
        assert_eq!(seen, 6);
    }
}

#[test]
fn files_of_another_kind() {
    let foreign = read_from(&mut &b"#!/bin/sh\necho not a capture\n"[..], &mut |_| {});
    assert!(matches!(foreign, Err(PcapError::Foreign(_))));
    assert!(matches!(read(Path::new("/nonexistent"), &mut |_| {}), Err(PcapError::Read(_))));

    let mut wire = Wire::new(Wrap::Ethernet, false);
    wire.handshake();
    let mut wireless = wire.pcap();
    wireless[20..24].copy_from_slice(&127u32.to_be_bytes());
    assert!(matches!(read_from(&mut &wireless[..], &mut |_| {}), Err(PcapError::LinkType(127))));
}
