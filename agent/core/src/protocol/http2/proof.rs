//! Whether frames start at some bytes of which nothing is known: after a loss, or in the middle of a connection.
//!
//! A wrong guess would be a wrong name, so this asks for more than a header that fits. Only a call's first byte is looked
//! at: senders write whole frames, and readers that keep up read them so. From there, one strict header must follow the
//! other ([`Header::is_plausible`]) up to the call's very end, or three of them up to where its bytes were not copied. By
//! chance that happens to one call in 2^30 or so of random bytes; of the data that looks like headers (zeros, lengths of
//! other protocols) none adds up to the call's end. On a connection that is not known to speak HTTP/2, one of the frames
//! must hold a header list as well, whose pseudo-header fields are known and well-formed, and all of them must: that also
//! tells whose frames they are. On one that is known, they must belong to streams that are open or about to be.
//!
//! What this cannot tell apart is HTTP/2 inside HTTP/2, joined in the middle, where payload is written apart from its
//! frame's header and with no encryption in between.

use super::frame::{END_HEADERS, HEADER_BYTES, Header, Kind};
use super::head::Head;
use super::hpack::Decoder;
use super::streams::Streams;
use crate::protocol::{ProtocolConfig, Side};

/// Frames that are enough where their end cannot be seen.
const FRAMES_ENOUGH: usize = 3;
/// How far ahead of the last one a new stream may be.
const STREAMS_AHEAD_MAX: u32 = 1 << 16;

/// Frames, one behind the other.
struct Frames<'b> {
    rest: &'b [u8],
}

impl<'b> Iterator for Frames<'b> {
    type Item = (Header, &'b [u8]);

    /// The next one that is plausible and all there.
    fn next(&mut self) -> Option<Self::Item> {
        let header = Header::parse(self.rest).filter(Header::is_plausible)?;
        let (frame, rest) = self.rest.split_at_checked(header.frame_bytes())?;
        self.rest = rest;
        Some((header, &frame[HEADER_BYTES..]))
    }
}

impl Frames<'_> {
    /// What is left is none of them, or there are enough.
    fn are_all(&self, count: usize, whole: bool) -> bool {
        let cut_off = !whole && Header::parse(self.rest).is_none_or(|header| header.is_plausible());
        (self.rest.is_empty() && whole && count > 0) || (cut_off && count >= FRAMES_ENOUGH)
    }
}

/// See [`super::Http2::sniff_middle`].
pub(super) fn side(bytes: &[u8], whole: bool) -> Option<Side> {
    // Most of what is asked is something else.
    Header::parse(bytes).filter(Header::is_plausible)?;
    let mut frames = Frames { rest: bytes };
    let (mut count, mut side) = (0, None);
    let mut decoder = Decoder::in_the_middle();
    for (header, payload) in frames.by_ref() {
        count += 1;
        if header.kind == Kind::Headers {
            let of = list_side(&mut decoder, header, payload)?;
            side = match (side, of) {
                (Some(side), Some(of)) if side != of => return None,
                (side, of) => of.or(side),
            };
        }
    }
    side.filter(|_| frames.are_all(count, whole))
}

/// Whose header list it is, as far as it tells. `None`: it is none.
fn list_side(decoder: &mut Decoder, header: Header, payload: &[u8]) -> Option<Option<Side>> {
    let mut head = Head::default();
    let fragment = header.content(payload).ok().filter(|_| header.has(END_HEADERS))?;
    decoder.decode(fragment, |field| head.add(field, &ProtocolConfig::default())).ok()?;
    if head.is_valid() { Some(head.side()) } else { None }
}

/// See [`super::Http2::may_be_frames`].
pub(super) fn are_frames(bytes: &[u8], whole: bool) -> bool {
    let mut frames = Frames { rest: bytes };
    let count = frames.by_ref().count();
    frames.are_all(count, whole)
}

/// See [`super::Http2::resync`].
pub(super) fn goes_on(side: Side, bytes: &[u8], whole: bool, streams: &Streams) -> bool {
    let mut frames = Frames { rest: bytes };
    let mut count = 0;
    for (header, _) in frames.by_ref() {
        let belongs = match header.kind {
            Kind::Headers if side == Side::Request => streams.may_open(header.stream, STREAMS_AHEAD_MAX),
            Kind::Headers | Kind::Data => streams.may_go_on(header.stream, STREAMS_AHEAD_MAX),
            _ => true,
        };
        if !belongs {
            return false;
        }
        count += 1;
    }
    frames.are_all(count, whole)
}
