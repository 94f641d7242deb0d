//! Packet captures (pcap, pcapng) as the records that an agent on the servers would have written.

mod flows;
mod frame;
mod half;

use autospan_core::evlog::Entry;
use autospan_core::fact::Fact;
use flows::Flows;
use frame::Segment;
use pcap_file::pcap::PcapReader;
use pcap_file::pcapng::blocks::interface_description::{InterfaceDescriptionBlock, InterfaceDescriptionOption};
use pcap_file::pcapng::{Block, PcapNgReader};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// How often the engine is told the time, in ns of the capture.
const TICK_NS: u64 = 100_000_000;

#[derive(Debug, thiserror::Error)]
pub enum PcapError {
    #[error("cannot read: {0}")]
    Read(#[source] io::Error),
    #[error("not a packet capture (pcap or pcapng): {0}")]
    Foreign(String),
    #[error(
        "packets of link type {0} cannot be read; capture on an Ethernet, loopback or Linux \"any\" interface instead"
    )]
    LinkType(u32),
}

/// What a capture came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub packets: u64,
    /// Packets that are not TCP over IP, or whose headers were cut off or damaged.
    pub skipped: u64,
    pub connections: u64,
    /// Bytes that the capture has not, though their receiver had them.
    pub lost_bytes: u64,
    /// Bytes that were cut off packets: the capture's snapshot length was too short.
    pub cut_bytes: u64,
    /// Why the file was not read to its end.
    pub damage: Option<String>,
}

/// Calls `on_entry` for what the capture holds, in its order. Times are those of the capture; each server address is a
/// process of its own, named by a [`Fact::Service`].
///
/// # Errors
/// Where nothing of the file can be used. Damage further on is part of the summary.
pub fn read(path: &Path, on_entry: &mut dyn FnMut(Entry<'_>)) -> Result<Summary, PcapError> {
    let mut file = File::open(path).map_err(PcapError::Read)?;
    read_from(&mut file, on_entry)
}

/// As [`read`].
pub fn read_from(input: &mut dyn Read, on_entry: &mut dyn FnMut(Entry<'_>)) -> Result<Summary, PcapError> {
    const PCAPNG: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
    let mut magic = Vec::new();
    input.take(4).read_to_end(&mut magic).map_err(PcapError::Read)?;
    let is_pcapng = magic == PCAPNG;
    let whole = (&magic[..]).chain(input);
    let mut capture = Capture::new(on_entry);
    if is_pcapng {
        capture.pcapng(whole)?
    } else {
        capture.pcap(whole)?
    }
    capture.finish()
}

/// A capture being read.
struct Capture<'o> {
    on_entry: &'o mut dyn FnMut(Entry<'_>),
    flows: Flows,
    summary: Summary,
    /// Unix time of the last packet, ns. Never goes back.
    now: u64,
    next_tick: u64,
    unknown_link: Option<u32>,
}

// === impl Capture ===

impl<'o> Capture<'o> {
    fn new(on_entry: &'o mut dyn FnMut(Entry<'_>)) -> Self {
        let (flows, summary) = (Flows::default(), Summary::default());
        Self { on_entry, flows, summary, now: 0, next_tick: 0, unknown_link: None }
    }

    fn pcap<R: Read>(&mut self, input: R) -> Result<(), PcapError> {
        let mut reader = PcapReader::new(input).map_err(|error| PcapError::Foreign(error.to_string()))?;
        let header = reader.header();
        let link = u32::from(header.datalink);
        let fraction_ns = match header.ts_resolution {
            pcap_file::TsResolution::MicroSecond => 1_000,
            pcap_file::TsResolution::NanoSecond => 1,
        };
        while let Some(packet) = reader.next_raw_packet() {
            let packet = match packet {
                Ok(packet) => packet,
                Err(error) => {
                    self.damaged(&error);
                    break;
                }
            };
            let at = u64::from(packet.ts_sec) * 1_000_000_000 + u64::from(packet.ts_frac) * fraction_ns;
            self.packet(at, link, &packet.data, packet.orig_len);
        }
        Ok(())
    }

    fn pcapng<R: Read>(&mut self, input: R) -> Result<(), PcapError> {
        let mut reader = PcapNgReader::new(input).map_err(|error| PcapError::Foreign(error.to_string()))?;
        let mut interfaces = Vec::new();
        while let Some(block) = reader.next_block() {
            match block {
                Ok(Block::SectionHeader(_)) => interfaces.clear(),
                Ok(Block::InterfaceDescription(block)) => interfaces.push(Interface::new(&block)),
                Ok(Block::EnhancedPacket(packet)) => match interfaces.get(packet.interface_id as usize) {
                    // The reader takes every time for one in ns.
                    Some(interface) => {
                        let at = interface.unix_ns(packet.timestamp.as_nanos());
                        self.packet(at, interface.link, &packet.data, packet.original_len);
                    }
                    None => self.summary.skipped += 1,
                },
                Ok(Block::SimplePacket(packet)) => {
                    let Some(interface) = interfaces.first() else { continue };
                    let len = packet.data.len().min(packet.original_len as usize);
                    self.packet(self.now, interface.link, &packet.data[..len], packet.original_len);
                }
                Ok(_) => {}
                Err(error) => {
                    self.damaged(&error);
                    break;
                }
            }
        }
        Ok(())
    }

    fn damaged(&mut self, error: &pcap_file::PcapError) {
        let reason = match error {
            pcap_file::PcapError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                "the file is cut off".to_owned()
            }
            other => other.to_string(),
        };
        self.summary.damage = Some(reason);
    }

    fn packet(&mut self, at: u64, link: u32, frame: &[u8], wire_bytes: u32) {
        self.summary.packets += 1;
        let missing = (wire_bytes as usize).saturating_sub(frame.len());
        match Segment::read(link, frame, missing) {
            Ok(Some(segment)) => self.segment(at, &segment),
            Ok(None) => self.summary.skipped += 1,
            Err(frame::UnknownLink) => {
                self.unknown_link = Some(link);
                self.summary.skipped += 1;
            }
        }
    }

    fn segment(&mut self, at: u64, segment: &Segment<'_>) {
        self.summary.cut_bytes += u64::from(segment.missing);
        if self.now == 0 {
            // Ids are derived from it: the same capture gives the same ones, another capture others.
            let [a, b] = [at.to_le_bytes(), segment.fingerprint().to_le_bytes()];
            (self.on_entry)(Entry::Fact(Fact::Session { secret: [a, b].concat().try_into().unwrap_or_default() }));
            (self.on_entry)(Entry::Fact(Fact::Clock { monotonic_ns: 0, unix_ns: 0 }));
        }
        self.now = self.now.max(at).max(1);
        if self.now >= self.next_tick {
            self.next_tick = self.now.saturating_add(TICK_NS);
            (self.on_entry)(Entry::Tick(self.now));
        }
        self.flows.segment(self.now, segment, self.on_entry);
    }

    fn finish(mut self) -> Result<Summary, PcapError> {
        self.flows.finish(self.now, self.on_entry);
        (self.on_entry)(Entry::Tick(self.now));
        self.summary.connections = self.flows.connections;
        self.summary.lost_bytes = self.flows.lost_bytes;
        match self.unknown_link {
            Some(link) if self.summary.skipped == self.summary.packets => Err(PcapError::LinkType(link)),
            _ => Ok(self.summary),
        }
    }
}

/// An interface of a pcapng section.
struct Interface {
    link: u32,
    /// `if_tsresol`: a negative power of 10, or of 2 where the top bit is set.
    resolution: u8,
    offset_seconds: u64,
}

impl Interface {
    fn new(block: &InterfaceDescriptionBlock<'_>) -> Self {
        const MICROSECONDS: u8 = 6;
        let mut interface = Self { link: block.linktype.into(), resolution: MICROSECONDS, offset_seconds: 0 };
        for option in &block.options {
            match option {
                InterfaceDescriptionOption::IfTsResol(resolution) => interface.resolution = *resolution,
                InterfaceDescriptionOption::IfTsOffset(offset) => interface.offset_seconds = *offset,
                _ => {}
            }
        }
        interface
    }

    /// Unix time of a time in the interface's units.
    fn unix_ns(&self, units: u128) -> u64 {
        let exponent = u32::from(self.resolution & 0x7f);
        let per_second =
            if self.resolution & 0x80 != 0 { 1u128.checked_shl(exponent) } else { 10u128.checked_pow(exponent) };
        let ns = per_second.and_then(|n| units.checked_mul(1_000_000_000)?.checked_div(n)).unwrap_or(0);
        let offset = self.offset_seconds.saturating_mul(1_000_000_000);
        u64::try_from(ns).unwrap_or(u64::MAX / 2).saturating_add(offset).min(u64::MAX / 2)
    }
}

#[cfg(test)]
mod tests;
