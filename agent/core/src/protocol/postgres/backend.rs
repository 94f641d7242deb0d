//! What the server says.

use super::answer::{Answer, is_fatal};
use super::asked::{Entry, Kind};
use super::message::{Header, Partial, TAG_BYTES_MAX};
use super::sniff::sniff;
use super::strings::{self, PARAMETER_BYTES_MAX};
use super::tail::{Ending, Tail};
use super::{Session, at};
use crate::protocol::{Advance, Input, MessageEnd, ResponseHead, Side, Sniff, Step};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// Bytes of an `ErrorResponse` that are looked at: severity and code come first.
const ERROR_BYTES_MAX: u32 = 64;

#[derive(Debug, Default)]
pub(super) struct Backend {
    state: State,
    /// What is looked at of a message's body; no data.
    body: Vec<u8>,
    /// The first that was asked has its head.
    is_open: bool,
    /// All of its answer came, but for the `ReadyForQuery` behind it.
    is_told: bool,
    answer: Answer,
    /// What is asked up to the next `Sync` is passed over.
    is_aborted: bool,
    /// `ReadyForQuery` came.
    is_ready: bool,
    /// To be taken before anything else is looked at.
    steps: VecDeque<Step>,
    /// Answers to what was not seen are passed over, as far as they are there.
    is_draining: bool,
    /// The last bytes that were seen did not end a call.
    in_call: bool,
}

#[derive(Debug)]
enum State {
    Header(Partial),
    Body(Body),
    /// In the midst of an answer.
    Lost(Tail),
}

impl Default for State {
    fn default() -> Self {
        Self::Header(Partial::default())
    }
}

#[derive(Clone, Copy, Debug)]
struct Body {
    kind: u8,
    /// Bytes to look at, and those behind them.
    take: usize,
    skip: usize,
}

const END: Step = Step::End(MessageEnd { body_bytes: None, truncated: false });

impl Backend {
    pub(super) fn advance(&mut self, session: &mut Session, input: Input<'_>) -> Advance {
        if let Some(step) = self.step(session) {
            return at(0, step);
        }
        match input {
            _ if session.upgraded => at(0, Step::Upgraded),
            Input::Bytes { bytes, call_end } => self.bytes(session, bytes, call_end),
            Input::Gap(n) => self.gap(session, n),
            Input::Closed { .. } => self.closed(session),
        }
    }

    /// What is asked for now is assumed, and what else is there is of nobody.
    pub(super) fn drain(&mut self) {
        self.is_draining = true;
    }

    pub(super) fn restart(&mut self, session: &mut Session) {
        self.abandon(session);
        let parses = session.asked.drop_unreported();
        session.statements.discard(parses, true);
    }

    pub(super) fn forget(&mut self, session: &mut Session, n: usize) {
        let parses = session.asked.drop_reported(n, self.is_open);
        if parses > 0 {
            session.forget_names();
        }
    }

    /// What is being answered is void.
    fn abandon(&mut self, session: &mut Session) {
        if self.is_open {
            self.pop(session, true);
        }
        *self = Self::default();
    }

    fn closed(&mut self, session: &mut Session) -> Advance {
        if !self.is_open {
            return at(0, Step::NeedMore);
        }
        self.abandon(session);
        at(0, Step::End(MessageEnd { body_bytes: None, truncated: true }))
    }

    /// What is due before anything else is looked at.
    fn step(&mut self, session: &mut Session) -> Option<Step> {
        while self.steps.is_empty() && self.is_ready {
            self.ready(session);
        }
        self.steps.pop_front()
    }

    // === bytes ===

    fn bytes(&mut self, session: &mut Session, bytes: &[u8], call_end: bool) -> Advance {
        let mut rest = bytes;
        let starts_call = !self.in_call;
        self.in_call = if bytes.is_empty() { self.in_call && !call_end } else { !call_end };
        loop {
            let consumed = (bytes.len() - rest.len()) as u64;
            if let Some(step) = self.step(session) {
                return at(consumed, step);
            }
            if session.upgraded {
                return at(consumed, Step::Upgraded);
            }
            // What was skipped last may have been all that was missing.
            let is_complete = matches!(self.state, State::Body(Body { take: 0, skip: 0, .. }));
            if rest.is_empty() && !is_complete {
                self.is_draining = false;
                return at(consumed, Step::NeedMore);
            }
            let step = match &mut self.state {
                State::Header(_) => self.header(session, &mut rest),
                State::Body(_) => self.body(session, &mut rest),
                State::Lost(_) if starts_call && session.asked.has_later() => match sniff(Side::Response, rest) {
                    // How the other ended is not known.
                    Sniff::Yes => {
                        (self.state, self.is_ready) = (State::default(), true);
                        None
                    }
                    Sniff::Undecided if !call_end => {
                        self.in_call = false;
                        return at(consumed, Step::NeedMore);
                    }
                    _ => self.lost(session, &mut rest, call_end),
                },
                State::Lost(_) => self.lost(session, &mut rest, call_end),
            };
            if let Some(step) = step {
                return at((bytes.len() - rest.len()) as u64, step);
            }
        }
    }

    fn header(&mut self, session: &mut Session, rest: &mut &[u8]) -> Option<Step> {
        let State::Header(partial) = &mut self.state else { return None };
        let kind = *rest.first()?;
        if partial.is_empty() {
            match session.asked.front() {
                Some(Kind::Encryption) => return encryption(session, rest),
                None if !is_unasked(kind) && !self.is_draining => return Some(Step::AwaitRequest),
                _ => {}
            }
        }
        let (n, header) = partial.fill(rest);
        *rest = &rest[n..];
        let Some(Header { kind, body }) = header.map(Header::backend)? else {
            self.abandon(session);
            return Some(Step::Desync);
        };
        let take = match kind {
            b'C' => body.min(TAG_BYTES_MAX),
            b'E' => body.min(ERROR_BYTES_MAX),
            b'S' => body.min(PARAMETER_BYTES_MAX),
            _ => 0,
        };
        self.state = State::Body(Body { kind, take: take as usize, skip: (body - take) as usize });
        let starts =
            !self.is_open && !self.is_aborted && session.asked.front().is_some_and(|asked| starts(asked, kind));
        starts.then(|| self.open())
    }

    /// The answer's first message.
    fn open(&mut self) -> Step {
        self.is_open = true;
        Step::Response(Box::new(ResponseHead::Database(self.answer.response())))
    }

    fn body(&mut self, session: &mut Session, rest: &mut &[u8]) -> Option<Step> {
        let State::Body(Body { kind, take, skip }) = &mut self.state else { return None };
        let taken = (*take).min(rest.len());
        self.body.extend_from_slice(&rest[..taken]);
        *take -= taken;
        *rest = &rest[taken..];
        if *take > 0 {
            return None;
        }
        let skipped = (*skip).min(rest.len());
        *skip -= skipped;
        *rest = &rest[skipped..];
        let (kind, left) = (*kind, core::mem::take(skip));
        if left > 0 {
            (self.in_call, self.is_draining) = (false, false);
            return Some(Step::Skip(left as u64));
        }
        let body = core::mem::take(&mut self.body);
        self.state = State::default();
        self.message(session, kind, &body);
        self.body = body;
        self.body.clear();
        None
    }

    // === messages ===

    fn message(&mut self, session: &mut Session, kind: u8, body: &[u8]) {
        match kind {
            b'Z' => self.is_ready = true,
            b'D' => self.answer.row(),
            b'T' => {
                self.answer.described();
                self.replied(session);
            }
            b'1' => {
                if let Some(entry) = session.asked.front_mut().filter(|entry| entry.parses > 0) {
                    entry.parses -= 1;
                    session.statements.confirm();
                }
                self.replied(session);
            }
            b'2' | b'3' | b'n' => self.replied(session),
            b'H' => self.answer.copies_out(),
            b'G' => self.copy_in(session),
            b'W' => self.copy_both(session),
            b'C' if !self.is_told => {
                self.answer.complete(body);
                self.told(session);
            }
            b'I' => self.told(session),
            b's' if !self.is_told => {
                self.answer.suspended();
                self.told(session);
            }
            b'E' => self.failed(session, body),
            b'S' => session.backslashes = strings::parameter(body).unwrap_or(session.backslashes),
            _ => {}
        }
    }

    /// One of what prepares is done.
    fn replied(&mut self, session: &mut Session) {
        let Some(Entry { kind: Kind::Replies { left, is_reported }, .. }) = session.asked.front_mut() else { return };
        *left = left.saturating_sub(1);
        if *left > 0 {
            return;
        }
        if *is_reported {
            self.end(session);
        } else {
            self.pop(session, false);
        }
    }

    fn copy_in(&mut self, session: &mut Session) {
        session.copying = true;
        if session.asked.front() == Some(Kind::Execute) {
            session.asked.drop_syncs_behind_first();
        }
    }

    /// Replication: both sides say what they want from here on.
    fn copy_both(&mut self, session: &mut Session) {
        session.upgraded = true;
        if self.is_open {
            self.end(session);
        }
    }

    /// The statement of an `Execute` is complete. What was done may still fail with the `Sync` behind it.
    fn told(&mut self, session: &mut Session) {
        if session.asked.front() != Some(Kind::Execute) || !self.is_open {
            return;
        }
        self.tell();
        if !session.asked.syncs_next() {
            self.end(session);
        }
    }

    fn tell(&mut self) {
        self.is_told = true;
        self.steps.push_back(Step::Outcome(Box::new(ResponseHead::Database(self.answer.response()))));
    }

    fn failed(&mut self, session: &mut Session, fields: &[u8]) {
        self.is_aborted = true;
        if !self.is_open {
            return;
        }
        if !self.answer.has_failed() {
            self.answer.failed(fields);
            self.tell();
        }
        // Nothing comes behind it, or nothing of this.
        let ends = match session.asked.front() {
            Some(Kind::Query) => is_fatal(fields),
            Some(Kind::Execute) => is_fatal(fields) || !session.asked.syncs_next(),
            _ => true,
        };
        if ends {
            self.end(session);
        }
    }

    /// `ReadyForQuery`: whatever has no answer by now up to the one that this is for will have none.
    fn ready(&mut self, session: &mut Session) {
        match session.asked.front() {
            None => return self.is_settled(session),
            Some(Kind::Sync(_)) => {
                session.asked.pop_sync();
                return self.is_settled(session);
            }
            Some(Kind::Lost) => {
                self.pop(session, true);
                if !matches!(session.asked.front(), Some(Kind::Sync(_))) {
                    self.is_settled(session);
                }
                return;
            }
            Some(kind) if !kind.is_reported() => return self.pop(session, false),
            Some(Kind::Query | Kind::Session) => self.is_ready = false,
            Some(_) if self.is_aborted && !self.answer.has_failed() => self.answer.aborted(),
            Some(_) => {}
        }
        if !self.is_open {
            let step = self.open();
            self.steps.push_back(step);
        }
        if !self.is_told {
            self.tell();
        }
        self.end(session);
        self.is_aborted &= self.is_ready;
    }

    /// That `ReadyForQuery` was for it.
    fn is_settled(&mut self, session: &mut Session) {
        (self.is_ready, self.is_aborted) = (false, false);
        if session.asked.is_empty() && session.segment_doubtful {
            session.segment_ends();
        }
    }

    fn end(&mut self, session: &mut Session) {
        self.steps.push_back(END);
        self.pop(session, self.answer.is_lossy());
    }

    /// The first that was asked is done with.
    fn pop(&mut self, session: &mut Session, lost: bool) {
        if let Some(Entry { parses, .. }) = session.asked.pop() {
            session.statements.discard(parses, lost);
        }
        (self.is_open, self.is_told, self.answer) = (false, false, Answer::default());
    }

    // === what was not captured ===

    fn gap(&mut self, session: &mut Session, n: u64) -> Advance {
        // Where a whole call is missing, what was asked later may be what comes next.
        let is_ambiguous = session.asked.has_later() && !self.in_call;
        let is_idle = matches!(session.asked.front(), None | Some(Kind::Encryption));
        if is_idle || is_ambiguous {
            self.abandon(session);
            return at(n, Step::Desync);
        }
        self.answer.lost();
        self.body.clear();
        session.asked.forget_parses();
        session.statements.doubt();
        (self.state, self.in_call) = (State::Lost(Tail::default()), true);
        at(n, Step::Continue)
    }

    /// Waits for the end of the answer.
    fn lost(&mut self, session: &mut Session, rest: &mut &[u8], call_end: bool) -> Option<Step> {
        let State::Lost(tail) = &mut self.state else { return None };
        tail.push(core::mem::take(rest));
        if !call_end {
            return None;
        }
        let is_last = session.asked.syncs_next() || session.asked.front() == Some(Kind::Query);
        match tail.answer()? {
            Ending::Complete(tag) if is_last => self.answer.complete(tag),
            Ending::Failed if is_last => self.answer.failed_somehow(),
            Ending::Failed => self.is_aborted = true,
            Ending::Complete(_) | Ending::Other => {}
        }
        self.state = State::default();
        self.is_ready = true;
        None
    }
}

/// The one byte that answers the wish for encryption.
fn encryption(session: &mut Session, rest: &mut &[u8]) -> Option<Step> {
    let answer = rest.first()?;
    match answer {
        b'S' | b'G' => session.upgraded = true,
        b'N' => drop(session.asked.pop()),
        // An error in the words of version 2 or 3, and the end; or what nobody asked for.
        _ => {
            session.asked.pop();
            return None;
        }
    }
    *rest = &rest[1..];
    None
}

/// What comes whether or not anything was asked: notices, parameters, notifications.
fn is_unasked(kind: u8) -> bool {
    matches!(kind, b'N' | b'S' | b'A')
}

/// Does a message of this kind start the answer?
fn starts(asked: Kind, kind: u8) -> bool {
    asked.is_reported() && !is_unasked(kind) && !matches!(kind, b'Z' | b'K')
}
