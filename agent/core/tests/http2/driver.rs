//! Drives the machine as a connection's two streams do, and holds it to its contract.

use super::calls::Call;
use autospan_core::limits::HEAD_BYTES_MAX;
use autospan_core::protocol::http2::{Broken, Http2};
use autospan_core::protocol::{Input, ProtocolConfig, Side, Step, StreamStep};

/// What came out of one side.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    Stream(u32, StreamStep),
    Desync,
    Resync,
    Broken(Broken),
}

/// Bytes of a body, `-` where they cannot be known.
pub fn size(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string())
}

#[derive(Debug)]
pub struct Driver {
    machine: Http2,
    config: ProtocolConfig,
    lanes: [Lane; 2],
    /// In the order in which it came.
    pub seen: Vec<(Side, Seen)>,
    broken: bool,
}

/// One stream.
#[derive(Debug, Default)]
struct Lane {
    /// Not consumed yet; while searching, those of the call.
    pending: Vec<u8>,
    skip: u64,
    searching: bool,
    /// While searching: the call is there from its first byte on, up to a gap in it.
    call: Option<bool>,
    awaits: bool,
}

impl Driver {
    pub fn new(middle: bool) -> Self {
        let machine = if middle { Http2::in_the_middle() } else { Http2::new() };
        let lane = || Lane { searching: middle, ..Lane::default() };
        let config = ProtocolConfig { capture_headers: vec!["x-id".to_owned()], ..ProtocolConfig::default() };
        Self { machine, config, lanes: [lane(), lane()], seen: Vec::new(), broken: false }
    }

    pub fn play(middle: bool, calls: &[Call]) -> Self {
        let mut driver = Self::new(middle);
        for call in calls.iter() {
            match call {
                Call::Bytes { side, bytes, start, end } => driver.bytes(*side, bytes, *start, *end),
                Call::Gap { side, len } => driver.gap(*side, *len),
            }
        }
        driver
    }

    pub fn bytes(&mut self, side: Side, bytes: &[u8], start: bool, end: bool) {
        if self.broken {
            return;
        }
        let lane = self.lane(side);
        let passed = (bytes.len() as u64).min(lane.skip);
        lane.skip -= passed;
        lane.pending.extend_from_slice(&bytes[passed as usize..]);
        if lane.searching && start {
            lane.call = Some(true);
            lane.pending = bytes.to_vec();
        }
        if self.lane(side).searching && !(end && self.search(side, true)) {
            return;
        }
        self.run(side);
        if end && side == Side::Request {
            self.run(Side::Response);
        }
    }

    pub fn gap(&mut self, side: Side, len: u64) {
        if self.broken {
            return;
        }
        if self.lane(side).awaits {
            self.release();
        }
        if self.lane(side).searching && !self.search(side, false) {
            return;
        }
        self.run(side);
        let lane = self.lane(side);
        let mut left = len - lane.skip.min(len);
        lane.skip = lane.skip.saturating_sub(len);
        if left > 0 && !lane.pending.is_empty() {
            return self.desync(side);
        }
        while left > 0 && !self.lane(side).searching && !self.broken {
            let (consumed, step) = self.advance(side, Input::Gap(left));
            assert!(!matches!(step, Step::NeedMore | Step::AwaitRequest), "a gap is not waited for");
            left -= consumed;
        }
        self.run(side);
    }

    /// The request of the response that waits is given up.
    pub fn release(&mut self) {
        self.machine.assume_request();
        self.run(Side::Response);
    }

    pub fn awaits(&self) -> bool {
        self.lanes[1].awaits
    }

    fn lane(&mut self, side: Side) -> &mut Lane {
        &mut self.lanes[usize::from(side == Side::Response)]
    }

    fn desync(&mut self, side: Side) {
        let lane = self.lane(side);
        if !lane.searching {
            *lane = Lane { searching: true, ..Lane::default() };
            self.seen.push((side, Seen::Desync));
        }
    }

    /// At the end of what there is of a call, once.
    fn search(&mut self, side: Side, whole: bool) -> bool {
        let lane = self.lane(side);
        let call = core::mem::take(&mut lane.pending);
        let found = lane.call.take().is_some() && self.machine.resync(side, &call, whole);
        if found {
            self.machine.restart(side);
            self.seen.push((side, Seen::Resync));
            let lane = self.lane(side);
            (lane.searching, lane.pending) = (false, call);
        }
        found
    }

    fn run(&mut self, side: Side) {
        let pending = core::mem::take(&mut self.lane(side).pending);
        let (mut from, mut idle) = (0, 0);
        while !self.broken && !self.lane(side).searching && self.lane(side).skip == 0 {
            let (consumed, step) = self.advance(side, Input::Bytes { bytes: &pending[from..], call_end: false });
            from += usize::try_from(consumed).expect("consumed more than there is");
            assert!(from <= pending.len(), "consumed more than there is");
            match step {
                Step::NeedMore | Step::AwaitRequest => break,
                Step::Skip(_) => {
                    let lane = self.lane(side);
                    let passed = lane.skip.min((pending.len() - from) as u64);
                    lane.skip -= passed;
                    from += passed as usize;
                }
                _ => {}
            }
            idle = if consumed > 0 { 0 } else { idle + 1 };
            assert!(idle < 2_000, "neither consumes nor asks");
        }
        let rest = &pending[from..];
        let lane = self.lane(side);
        if !lane.searching {
            assert!(rest.len() <= HEAD_BYTES_MAX + 16 || lane.awaits || self.broken, "waits for ever");
            self.lane(side).pending = rest.to_vec();
        }
    }

    fn advance(&mut self, side: Side, input: Input<'_>) -> (u64, Step) {
        let advance = self.machine.advance(side, input, &self.config);
        self.lane(side).awaits = advance.step == Step::AwaitRequest;
        match &advance.step {
            Step::Stream(stream, step) => self.seen.push((side, Seen::Stream(*stream, step.clone()))),
            Step::Desync => self.desync(side),
            Step::Broken(why) => {
                self.broken = true;
                self.seen.push((side, Seen::Broken(*why)));
            }
            Step::Skip(n) => self.lane(side).skip = *n,
            Step::Continue | Step::NeedMore | Step::AwaitRequest => {}
            other => panic!("not of HTTP/2: {other:?}"),
        }
        (advance.consumed, advance.step)
    }
}
