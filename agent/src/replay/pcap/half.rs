//! One direction of a TCP connection, put back in order.

use std::collections::BTreeMap;

/// Bytes of the stream, in order. `bytes` are the first of `total`; the rest was cut off by the capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run<'a> {
    pub(super) position: u64,
    pub(super) sequence: u32,
    pub(super) bytes: &'a [u8],
    pub(super) total: u32,
}

#[derive(Debug, Default)]
pub(super) struct Half {
    /// Sequence number of the byte at `position`; unknown until the first packet.
    next: Option<u32>,
    /// Of the next byte in order.
    position: u64,
    /// Segments behind a hole, by position.
    waiting: BTreeMap<u64, Waiting>,
    pub(super) waiting_bytes: usize,
    pub(super) lost_bytes: u64,
    pub(super) finished: bool,
}

#[derive(Debug)]
struct Waiting {
    bytes: Vec<u8>,
    total: u32,
}

impl Half {
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The stream starts behind this sequence number.
    pub(super) fn start(&mut self, syn: u32) {
        self.next.get_or_insert(syn.wrapping_add(1));
    }

    /// `bytes` are the first of `total` at a sequence number.
    pub(super) fn segment(&mut self, sequence: u32, bytes: &[u8], total: u32, emit: &mut impl FnMut(Run<'_>)) {
        let next = *self.next.get_or_insert(sequence);
        let ahead = sequence.wrapping_sub(next).cast_signed();
        if ahead <= 0 {
            self.in_order(ahead.unsigned_abs().into(), bytes, total, emit);
            self.drain(emit);
        } else {
            self.wait(self.position + u64::from(ahead.unsigned_abs()), bytes, total);
        }
    }

    /// The other end has everything before this sequence number: what is missing there will not come any more.
    pub(super) fn acknowledged(&mut self, sequence: u32, emit: &mut impl FnMut(Run<'_>)) {
        let Some(next) = self.next else { return };
        let ahead = sequence.wrapping_sub(next).cast_signed();
        let Ok(ahead) = u64::try_from(ahead) else { return };
        let acknowledged = self.position + ahead;
        while self.waiting.first_key_value().is_some_and(|(position, _)| *position <= acknowledged) {
            self.skip_hole(emit);
        }
    }

    /// Gives up all holes.
    pub(super) fn flush(&mut self, emit: &mut impl FnMut(Run<'_>)) {
        while self.is_waiting() {
            self.skip_hole(emit);
        }
    }

    fn skip_hole(&mut self, emit: &mut impl FnMut(Run<'_>)) {
        let Some((&position, _)) = self.waiting.first_key_value() else { return };
        let hole = position.saturating_sub(self.position);
        self.lost_bytes += hole;
        self.advance(hole);
        self.drain(emit);
    }

    /// Emits what is new of a segment whose first `seen` bytes are not.
    fn in_order(&mut self, seen: u64, bytes: &[u8], total: u32, emit: &mut impl FnMut(Run<'_>)) {
        let Some(total) = u64::from(total).checked_sub(seen).filter(|total| *total > 0) else { return };
        let bytes = bytes.get(seen as usize..).unwrap_or(&[]);
        let run = Run { position: self.position, sequence: self.next.unwrap_or(0), bytes, total: total as u32 };
        emit(run);
        self.advance(total);
    }

    fn drain(&mut self, emit: &mut impl FnMut(Run<'_>)) {
        while let Some(first) = self.waiting.first_entry()
            && *first.key() <= self.position
        {
            let (position, Waiting { bytes, total }) = first.remove_entry();
            self.waiting_bytes -= bytes.len();
            self.in_order(self.position - position, &bytes, total, emit);
        }
    }

    fn wait(&mut self, position: u64, bytes: &[u8], total: u32) {
        if self.waiting.get(&position).is_some_and(|known| known.total >= total) {
            return;
        }
        self.waiting_bytes += bytes.len();
        if let Some(shorter) = self.waiting.insert(position, Waiting { bytes: bytes.to_vec(), total }) {
            self.waiting_bytes -= shorter.bytes.len();
        }
    }

    fn advance(&mut self, n: u64) {
        self.position += n;
        self.next = self.next.map(|next| next.wrapping_add(n as u32));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds segments (sequence, bytes) and returns the stream with `_` for what was lost.
    #[derive(Default)]
    struct Stream {
        half: Half,
        text: String,
    }

    impl Stream {
        fn at(syn: u32) -> Self {
            let mut stream = Self::default();
            stream.half.start(syn);
            stream
        }

        fn with(&mut self, feed: impl FnOnce(&mut Half, &mut dyn FnMut(Run<'_>))) -> &mut Self {
            let Self { half, text } = self;
            feed(half, &mut |run| {
                while (text.len() as u64) < run.position {
                    text.push('_');
                }
                assert_eq!(text.len() as u64, run.position, "out of order");
                text.push_str(std::str::from_utf8(run.bytes).expect("text"));
            });
            self
        }

        fn segment(&mut self, sequence: u32, bytes: &str) -> &mut Self {
            self.with(|half, mut emit| half.segment(sequence, bytes.as_bytes(), bytes.len() as u32, &mut emit))
        }

        fn acknowledged(&mut self, sequence: u32) -> &mut Self {
            self.with(|half, mut emit| half.acknowledged(sequence, &mut emit))
        }
    }

    #[test]
    fn segments_out_of_order() {
        let mut stream = Stream::at(99);
        stream.segment(103, "de").segment(105, "fg").segment(100, "abc");
        assert_eq!(stream.text, "abcdefg");
        assert_eq!(stream.half.waiting_bytes, 0);
    }

    #[test]
    fn retransmissions_and_overlaps() {
        let mut stream = Stream::at(99);
        stream.segment(100, "abc").segment(100, "abc").segment(101, "bcd").segment(106, "gh").segment(102, "cdefgh");
        assert_eq!(stream.text, "abcdefgh");
        stream.segment(110, "kl").segment(109, "jklm").segment(108, "i");
        assert_eq!(stream.text, "abcdefghijklm");
    }

    #[test]
    fn sequence_numbers_wrap() {
        let mut stream = Stream::at(u32::MAX - 3);
        stream.segment(1, "ef").segment(u32::MAX - 2, "abcd");
        assert_eq!(stream.text, "abcdef");
    }

    #[test]
    fn what_was_acknowledged_and_never_seen_is_lost() {
        let mut stream = Stream::at(99);
        stream.segment(100, "ab").segment(104, "ef").acknowledged(103);
        assert_eq!(stream.text, "ab");
        stream.acknowledged(106);
        assert_eq!(stream.text, "ab__ef");
        assert_eq!(stream.half.lost_bytes, 2);
        stream.segment(102, "cd").segment(106, "g");
        assert_eq!(stream.text, "ab__efg");
    }

    #[test]
    fn a_stream_joined_midway_starts_with_its_first_segment() {
        let mut stream = Stream::default();
        stream.acknowledged(5).segment(5_000, "ab").segment(4_000, "old").segment(5_002, "c");
        assert_eq!(stream.text, "abc");
    }

    #[test]
    fn bytes_cut_off_by_the_capture_are_counted() {
        let mut stream = Stream::at(0);
        stream.with(|half, mut emit| half.segment(1, b"ab", 10, &mut emit)).segment(11, "k");
        assert_eq!(stream.text, "ab________k");
    }
}
