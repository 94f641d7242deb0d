//! From a frame to the TCP segment in it.

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TcpSlice, TransportSlice};
use std::net::{IpAddr, SocketAddr};

/// A TCP segment, as captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment<'a> {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) sequence: u32,
    pub(super) acknowledged: Option<u32>,
    pub(super) syn: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
    pub(super) payload: &'a [u8],
    /// Bytes of the payload behind those, cut off by the capture.
    pub(super) missing: u32,
}

/// No frame of this link type can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnknownLink;

impl<'a> Segment<'a> {
    /// Reads a frame of a link type (<https://www.tcpdump.org/linktypes.html>) from which `missing` bytes were cut off.
    /// `None`: it is not TCP over IP, or only a fragment of it.
    pub(super) fn read(link: u32, frame: &'a [u8], missing: usize) -> Result<Option<Self>, UnknownLink> {
        let packet = match link {
            // BSD loopback: an address family in front, in the byte order of whoever captured.
            0 | 108 => frame.get(4..).and_then(ip),
            1 => LaxSlicedPacket::from_ethernet(frame).ok(),
            // Raw IP, as numbered by various systems.
            12 | 14 | 101 | 228 | 229 => ip(frame),
            // Linux cooked, versions 1 and 2.
            113 => cooked(frame, 14, 16),
            276 => cooked(frame, 0, 20),
            _ => return Err(UnknownLink),
        };
        Ok(packet.and_then(|packet| Self::of(&packet, missing)))
    }

    fn of(packet: &LaxSlicedPacket<'a>, missing: usize) -> Option<Self> {
        let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { return None };
        let (source, destination, incomplete) = match packet.net.as_ref()? {
            LaxNetSlice::Ipv4(ip) => {
                let header = ip.header();
                (IpAddr::V4(header.source_addr()), IpAddr::V4(header.destination_addr()), ip.payload().incomplete)
            }
            LaxNetSlice::Ipv6(ip) => {
                let header = ip.header();
                (IpAddr::V6(header.source_addr()), IpAddr::V6(header.destination_addr()), ip.payload().incomplete)
            }
            LaxNetSlice::Arp(_) => return None,
        };
        let missing = if incomplete { u32::try_from(missing).unwrap_or(u32::MAX).min(65_535) } else { 0 };
        Some(Self::new(source, destination, tcp, missing))
    }

    fn new(source: IpAddr, destination: IpAddr, tcp: &TcpSlice<'a>, missing: u32) -> Self {
        Self {
            source: SocketAddr::new(source, tcp.source_port()),
            destination: SocketAddr::new(destination, tcp.destination_port()),
            sequence: tcp.sequence_number(),
            acknowledged: tcp.ack().then(|| tcp.acknowledgment_number()),
            syn: tcp.syn(),
            fin: tcp.fin(),
            rst: tcp.rst(),
            payload: tcp.payload(),
            missing,
        }
    }

    /// Something that differs between captures.
    pub(super) fn fingerprint(&self) -> u64 {
        let ports = u32::from(self.source.port()) << 16 | u32::from(self.destination.port());
        u64::from(self.sequence) << 32 | u64::from(ports)
    }
}

fn ip(bytes: &[u8]) -> Option<LaxSlicedPacket<'_>> {
    LaxSlicedPacket::from_ip(bytes).ok()
}

/// A pseudo header that names the protocol of what follows it.
fn cooked(frame: &[u8], protocol_at: usize, header_bytes: usize) -> Option<LaxSlicedPacket<'_>> {
    let protocol = frame.get(protocol_at..)?.first_chunk::<2>()?;
    let ether_type = EtherType(u16::from_be_bytes(*protocol));
    Some(LaxSlicedPacket::from_ether_type(ether_type, frame.get(header_bytes..)?))
}
