//! Drives a parser as a connection's two streams do, and holds it to its contract.

use autospan_core::limits::{HEAD_BYTES_MAX, PIPELINE_MAX};
use autospan_core::protocol::{
    Definition, Input, MessageEnd, Parser, ProtocolConfig, RequestHead, ResponseHead, Side, Step,
};

/// What came out of one side.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    Request(Box<RequestHead>),
    Response(Box<ResponseHead>),
    Outcome(Box<ResponseHead>),
    End(MessageEnd),
    Desync,
    Upgraded,
}

#[derive(Debug)]
pub struct Driver {
    parser: Box<dyn Parser>,
    config: ProtocolConfig,
    request: Lane,
    response: Lane,
    /// In the order in which it came.
    pub seen: Vec<(Side, Seen)>,
}

/// One stream.
#[derive(Debug, Default)]
struct Lane {
    /// Not consumed yet.
    pending: Vec<u8>,
    /// The last of them ends a call.
    call_end: bool,
    /// Bytes still to be passed over.
    skip: u64,
    /// Looking for a message boundary in the whole of each call.
    searching: bool,
    upgraded: bool,
    awaits_request: bool,
}

impl Lane {
    /// Passes over as many of `len` as are to be skipped.
    fn pass(&mut self, len: u64) -> u64 {
        let passed = self.skip.min(len);
        self.skip -= passed;
        passed
    }
}

impl Driver {
    pub fn new(protocol: &Definition, config: ProtocolConfig) -> Self {
        let (request, response) = (Lane::default(), Lane::default());
        Self { parser: (protocol.parser)(), config, request, response, seen: Vec::new() }
    }

    pub fn bytes(&mut self, side: Side, bytes: &[u8], call_end: bool) {
        let follows = side == Side::Request && !bytes.is_empty() && !self.response.searching;
        if follows && self.parser.request_begins() {
            self.run(Side::Response);
        }
        let lane = self.lane(side);
        let passed = lane.pass(bytes.len() as u64) as usize;
        lane.pending.extend_from_slice(&bytes[passed..]);
        lane.call_end = call_end;
        self.run(side);
        // A request may be what the responses wait for, and a response what a tunnel waits for.
        if call_end {
            self.run(Side::Response);
            self.run(Side::Request);
        }
    }

    pub fn gap(&mut self, side: Side, len: u64) {
        let lane = self.lane(side);
        lane.pending.clear();
        lane.call_end = false;
        let mut left = len - lane.pass(len);
        self.run(side);
        while left > 0 && !self.lane(side).searching && !self.lane(side).upgraded {
            let (consumed, step) = self.advance(side, Input::Gap(left));
            left = left.checked_sub(consumed).expect("consumed more than the gap");
            assert!(!matches!(step, Step::NeedMore | Step::AwaitRequest), "a gap is not waited for");
            left -= self.lane(side).pass(left);
        }
        self.run(side);
    }

    pub fn close(&mut self, side: Side) {
        self.lane(side).pending.clear();
        for _ in 0..8 {
            let unskipped = self.lane(side).skip;
            if self.lane(side).searching || self.lane(side).upgraded {
                return;
            }
            let (consumed, step) = self.advance(side, Input::Closed { unskipped });
            assert_eq!(consumed, 0, "a close has no bytes");
            match step {
                Step::Skip(_) => {}
                Step::NeedMore => return,
                _ => self.lane(side).skip = 0,
            }
        }
        panic!("a close is not the end");
    }

    /// Only what waits for its request can be told that it will not come.
    pub fn assume_request(&mut self) {
        if self.response.awaits_request {
            self.parser.assume_request();
            self.run(Side::Response);
        }
    }

    pub fn awaits_request(&self) -> bool {
        self.response.awaits_request
    }

    fn lane(&mut self, side: Side) -> &mut Lane {
        match side {
            Side::Request => &mut self.request,
            Side::Response => &mut self.response,
        }
    }

    /// Offers the pending bytes until there is nothing more to be done with them.
    fn run(&mut self, side: Side) {
        let pending = core::mem::take(&mut self.lane(side).pending);
        let mut from = 0;
        let (mut idle, mut produced) = (0, 0);
        while self.lane(side).skip == 0 {
            let before = (from, self.seen.len());
            let goes_on = self.step(side, &pending, &mut from);
            assert!(from <= pending.len(), "consumed more than there is");
            idle = if (from, self.seen.len()) == before { idle + 1 } else { 0 };
            // One message may be the answer to all that is asked.
            produced = if from > before.0 { 0 } else { produced + self.seen.len() - before.1 };
            assert!(idle < 5 && produced < 8 * PIPELINE_MAX, "neither consumes nor asks");
            if !goes_on {
                break;
            }
        }
        let rest = &pending[from..];
        let lane = self.lane(side);
        assert!(rest.len() <= HEAD_BYTES_MAX || lane.awaits_request || lane.searching, "waits for ever");
        lane.pending = rest.to_vec();
    }

    /// One call of the parser; false once it wants to be left alone.
    fn step(&mut self, side: Side, pending: &[u8], from: &mut usize) -> bool {
        let rest = &pending[*from..];
        if self.lane(side).upgraded {
            *from = pending.len();
            return false;
        }
        if self.lane(side).searching {
            return self.search(side, rest, from);
        }
        let call_end = self.lane(side).call_end;
        let (consumed, step) = self.advance(side, Input::Bytes { bytes: rest, call_end });
        *from += usize::try_from(consumed).expect("consumed more than there is");
        match step {
            Step::NeedMore | Step::AwaitRequest => return false,
            Step::Skip(_) => {
                let there = pending.len().saturating_sub(*from) as u64;
                *from += self.lane(side).pass(there) as usize;
            }
            Step::Continue | Step::Desync => assert!(consumed > 0, "{step:?} of nothing"),
            Step::Request(_) | Step::Response(_) | Step::End(_) | Step::Outcome(_) => {}
            Step::Upgraded | Step::UpgradedToHttp2 => {}
            Step::Stream(..) | Step::Broken(_) => panic!("its responses come in order"),
        }
        true
    }

    /// Looks for a boundary once the call is whole.
    fn search(&mut self, side: Side, rest: &[u8], from: &mut usize) -> bool {
        if rest.is_empty() || !self.lane(side).call_end {
            return false;
        }
        match self.parser.resync(side, rest) {
            Some(at) => {
                self.parser.restart(side);
                self.lane(side).searching = false;
                *from += at;
                true
            }
            None => {
                *from += rest.len();
                false
            }
        }
    }

    fn advance(&mut self, side: Side, input: Input<'_>) -> (u64, Step) {
        let advance = self.parser.advance(side, input, &self.config);
        let lane = self.lane(side);
        lane.awaits_request = advance.step == Step::AwaitRequest;
        let seen = match advance.step.clone() {
            Step::Request(head) => Seen::Request(head),
            Step::Response(head) => Seen::Response(head),
            Step::Outcome(head) => Seen::Outcome(head),
            Step::End(end) => Seen::End(end),
            Step::Desync => {
                lane.searching = true;
                self.parser.forget_requests(usize::MAX);
                Seen::Desync
            }
            Step::Upgraded | Step::UpgradedToHttp2 => {
                lane.upgraded = true;
                Seen::Upgraded
            }
            Step::Skip(n) => {
                lane.skip = n;
                return (advance.consumed, advance.step);
            }
            Step::Continue | Step::NeedMore | Step::AwaitRequest => return (advance.consumed, advance.step),
            Step::Stream(..) | Step::Broken(_) => panic!("its responses come in order"),
        };
        self.seen.push((side, seen));
        (advance.consumed, advance.step)
    }
}
