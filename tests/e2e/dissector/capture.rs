//! Dialogs as connections of one capture: handshake, segments, FIN of both ends.

use super::golden::{Golden, Turn};
use anyhow::{Context, Result};
use autospan_core::protocol::Side;
use etherparse::PacketBuilder;
use pcap_file::DataLink;
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use std::time::Duration;

/// Longer gaps are missing segments.
const GAP_BYTES_MAX: u64 = 1 << 20;
const FILLER: u8 = b'x';
/// Most calls are one segment, as on the loopback interface: a dissector that shows parts of messages is of no help.
const SEGMENT_BYTES_MAX: usize = 65_483;
const WINDOW: u16 = u16::MAX;
const CLIENT_PORT_FIRST: u16 = 20_000;
const BETWEEN_PACKETS: Duration = Duration::from_micros(100);

/// Port of the client of the dialog with this index.
pub(super) fn client_port(index: usize) -> u16 {
    CLIENT_PORT_FIRST.saturating_add(u16::try_from(index).unwrap_or(u16::MAX))
}

/// A pcap file of all dialogs, one after the other.
pub(super) fn of(goldens: &[Golden], server_port: u16) -> Result<Vec<u8>> {
    let mut capture = Capture::new(server_port)?;
    for (i, golden) in goldens.iter().enumerate() {
        capture.connection(client_port(i), &golden.dialog.turns)?;
    }
    Ok(capture.writer.into_writer())
}

struct Capture {
    writer: PcapWriter<Vec<u8>>,
    now: Duration,
    server_port: u16,
    client_port: u16,
    /// Next sequence numbers of the connection: client's, server's.
    next: [u32; 2],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Flag {
    Syn,
    Push,
    Fin,
}

impl Capture {
    fn new(server_port: u16) -> Result<Self> {
        let header = PcapHeader { datalink: DataLink::IPV4, ..PcapHeader::default() };
        let writer = PcapWriter::with_header(Vec::new(), header)?;
        Ok(Self { writer, now: Duration::ZERO, server_port, client_port: 0, next: [0; 2] })
    }

    fn connection(&mut self, client_port: u16, turns: &[Turn]) -> Result<()> {
        (self.client_port, self.next) = (client_port, [1_000, 5_000]);
        self.packet(Side::Request, Flag::Syn, &[])?;
        self.packet(Side::Response, Flag::Syn, &[])?;
        for turn in turns {
            match turn {
                Turn::Bytes { side, bytes, .. } => self.bytes(*side, bytes)?,
                Turn::Gap { side, len } => self.gap(*side, *len)?,
                Turn::Close { .. } | Turn::Assume => {}
            }
        }
        // Bytes may follow the close of the other side in a dialog: the ends come last.
        self.packet(Side::Response, Flag::Fin, &[])?;
        self.packet(Side::Request, Flag::Fin, &[])
    }

    /// What the agent did not see was there all the same.
    fn gap(&mut self, side: Side, len: u64) -> Result<()> {
        if len <= GAP_BYTES_MAX {
            return self.bytes(side, &vec![FILLER; usize::try_from(len)?]);
        }
        let next = &mut self.next[side as usize];
        *next = next.wrapping_add(u32::try_from(len).context("a gap beyond the sequence numbers")?);
        Ok(())
    }

    fn bytes(&mut self, side: Side, bytes: &[u8]) -> Result<()> {
        bytes.chunks(SEGMENT_BYTES_MAX).try_for_each(|segment| self.packet(side, Flag::Push, segment))
    }

    fn packet(&mut self, from: Side, flag: Flag, bytes: &[u8]) -> Result<()> {
        let [client, server] = self.next;
        let (ports, sequence, acknowledged) = match from {
            Side::Request => ((self.client_port, self.server_port), client, server),
            Side::Response => ((self.server_port, self.client_port), server, client),
        };
        let tcp = PacketBuilder::ipv4([127, 0, 0, 1], [127, 0, 0, 1], 64).tcp(ports.0, ports.1, sequence, WINDOW);
        let first = flag == Flag::Syn && from == Side::Request;
        let tcp = if first { tcp } else { tcp.ack(acknowledged) };
        let tcp = match flag {
            Flag::Syn => tcp.syn(),
            Flag::Push => tcp.psh(),
            Flag::Fin => tcp.fin(),
        };
        let mut packet = Vec::new();
        tcp.write(&mut packet, bytes)?;
        self.now += BETWEEN_PACKETS;
        self.writer.write_packet(&PcapPacket::new(self.now, u32::try_from(packet.len())?, &packet))?;
        let used = u32::try_from(bytes.len())? + u32::from(flag != Flag::Push);
        let next = &mut self.next[from as usize];
        *next = next.wrapping_add(used);
        Ok(())
    }
}
