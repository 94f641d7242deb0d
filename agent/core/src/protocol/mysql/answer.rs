//! What a server says: a greeting, then an answer to each command.
//!
//! The head of an answer is returned in front of its first packet, what is learnt in it as its outcome. Within an answer all bytes
//! are taken as they come, so that a gap finds none that wait.

use super::login::{GREETING_BYTES_MAX, GREETING_VERSION, Greeting};
use super::lost::{Found, Lost};
use super::namespace::{Change, shared};
use super::session::{Prepared, Session};
use super::wire::{Done, EOF_BYTES, HEADER_BYTES, Header, PROGRESS, Reader, error_number, mark, status};
use super::{Advance, Answer, Asked, Input, MySql, Step, at};
use crate::protocol::{DatabaseResponse, MessageEnd, ResponseHead};
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Bytes of the payload of a packet that ends a result that are looked at.
pub(super) const DONE_BYTES_MAX: usize = 1_024;
/// Columns of one result; the servers' limit.
const COLUMNS_MAX: u64 = 4_096;

/// Where the server's side stands.
#[derive(Debug)]
pub(super) struct Side {
    place: Place,
    /// A greeting may come.
    is_fresh: bool,
    /// An EOF with this number belongs to the answer before: it was not known if one would come.
    late_eof: Option<u8>,
}

#[derive(Debug)]
enum Place {
    /// In front of an answer.
    Boundary,
    /// A packet in front of an answer, of which so many bytes are left.
    Passing(u64),
    Reply(Box<Reply>),
    /// Behind the last packet of an answer.
    End,
}

impl Default for Side {
    fn default() -> Self {
        Self { place: Place::Boundary, is_fresh: true, late_eof: None }
    }
}

impl Side {
    pub(super) fn behind_loss() -> Self {
        Self { is_fresh: false, ..Self::default() }
    }

    /// One has begun and is not complete.
    pub(super) fn is_answering(&self) -> bool {
        matches!(self.place, Place::Reply(_))
    }
}

/// An answer in progress.
#[derive(Debug)]
struct Reply {
    asked: Asked,
    phase: Phase,
    /// The number of the next packet, where it is known.
    sequence: Option<u8>,
    /// The start of a packet of which more is wanted.
    held: Vec<u8>,
    /// Bytes of a packet that are of no interest.
    left: u64,
    /// The packet before goes on in the next.
    continues: bool,
    /// What its head said.
    told: DatabaseResponse,
    outcome: DatabaseResponse,
    /// No rows were lost.
    counts: bool,
    has_several: bool,
    /// The last that an OK or EOF told.
    status: Option<u16>,
    /// The database that the server says the session has now.
    tracked: Option<Arc<str>>,
    /// The number of the first packet of a file that the server asked for.
    file: Option<u8>,
    /// See [`Side::late_eof`].
    late_eof: Option<u8>,
}

/// What comes next.
#[derive(Debug)]
enum Phase {
    /// One packet, whatever is in it.
    Packet,
    Login,
    /// The first packet of a result.
    Result,
    /// Definitions of so many columns.
    Columns(u64),
    /// What ends them, if anything does.
    ColumnsEnd,
    Rows,
    /// Definitions of a table's columns.
    Listed,
    Prepared,
    /// Definitions of so many parameters or columns, and then of so many columns.
    Definitions {
        left: u16,
        then: u16,
    },
    /// What ends them, if anything does.
    DefinitionsEnd {
        then: u16,
    },
    /// Behind a gap.
    Lost(Lost),
    /// Nothing more.
    Done,
}

impl MySql {
    pub(super) fn response(&mut self, input: Input<'_>) -> Advance {
        match (&mut self.response.place, input) {
            (Place::End, _) => self.answer_end(),
            (Place::Reply(_), Input::Closed { unskipped }) => self.answer_closed(unskipped),
            (_, Input::Closed { .. }) => {
                self.response.place = Place::Boundary;
                at(0, Step::NeedMore)
            }
            (Place::Passing(left), _) if *left > 0 => at(0, Step::Skip(core::mem::take(left))),
            (Place::Boundary | Place::Passing(_), Input::Gap(n)) => at(n, Step::Desync),
            (Place::Boundary | Place::Passing(_), Input::Bytes { bytes, .. }) => self.answer_start(bytes),
            (Place::Reply(reply), Input::Gap(_) | Input::Bytes { .. }) if reply.left > 0 => {
                at(0, Step::Skip(core::mem::take(&mut reply.left)))
            }
            (Place::Reply(_), Input::Gap(n)) => self.answer_gap(n),
            (Place::Reply(_), Input::Bytes { bytes, call_end }) => self.answer_bytes(bytes, call_end),
        }
    }

    // === in front of an answer ===

    fn answer_start(&mut self, bytes: &[u8]) -> Advance {
        self.response.place = Place::Boundary;
        if self.session.is_opaque {
            return at(0, Step::Upgraded);
        }
        let Some(header) = Header::read(bytes) else { return at(0, Step::NeedMore) };
        if header.bytes == 0 {
            return at(HEADER_BYTES as u64, Step::Desync);
        }
        let Some(&first) = bytes.get(HEADER_BYTES) else { return at(0, Step::NeedMore) };
        if header.sequence == 0 {
            return self.unasked(header, first, bytes);
        }
        if first == mark::EOF && header.bytes == EOF_BYTES && self.response.late_eof.take() == Some(header.sequence) {
            self.session.without_eof = Some(false);
            return self.pass_over(header);
        }
        let Some(asked) = self.asked.front() else { return at(0, Step::AwaitRequest) };
        let is_login = matches!(asked.answer, Answer::Login { .. });
        if !is_login && header.sequence != 1 {
            return at(HEADER_BYTES as u64 + 1, Step::Desync);
        }
        let mut told = DatabaseResponse::default();
        if first == mark::ERROR && header.bytes >= 3 {
            let Some(number) = bytes.get(HEADER_BYTES..).and_then(error_number) else { return at(0, Step::NeedMore) };
            told.error = (number != PROGRESS).then(|| number.to_string());
        }
        self.response.is_fresh = false;
        if let Some(asked) = self.asked.pop_front() {
            self.response.place = Place::Reply(Box::new(Reply::new(asked, header, told.clone())));
        }
        at(0, Step::Response(Box::new(ResponseHead::Database(told))))
    }

    /// The greeting, or an error that nobody caused: the connection is about to be closed.
    fn unasked(&mut self, header: Header, first: u8, bytes: &[u8]) -> Advance {
        let wanted = HEADER_BYTES + GREETING_BYTES_MAX.min(header.bytes as usize);
        match first {
            mark::ERROR => self.pass_over(header),
            GREETING_VERSION if self.response.is_fresh => {
                let Some(packet) = bytes.get(..wanted) else { return at(0, Step::NeedMore) };
                let Some(greeting) = packet.get(HEADER_BYTES..).and_then(Greeting::read) else {
                    return at(HEADER_BYTES as u64, Step::Desync);
                };
                self.session.greeted(greeting);
                self.pass_over(header)
            }
            _ => at(HEADER_BYTES as u64, Step::Desync),
        }
    }

    fn pass_over(&mut self, header: Header) -> Advance {
        self.response.is_fresh = false;
        self.response.place = Place::Passing(header.bytes);
        at(HEADER_BYTES as u64, Step::Continue)
    }

    // === within an answer ===

    fn answer_bytes(&mut self, bytes: &[u8], call_end: bool) -> Advance {
        let Place::Reply(reply) = &mut self.response.place else { return at(0, Step::NeedMore) };
        if let (Phase::Lost(lost), false, false) = (&reply.phase, self.asked.is_empty(), bytes.is_empty()) {
            // What ended it was not seen, but a client that asks again has got it all.
            match Header::read(bytes) {
                None if !call_end => return at(0, Step::NeedMore),
                Some(Header { sequence: 1, .. }) if lost.has_failed() => reply.outcome = failed_somehow(),
                _ => {}
            }
            return self.answer_outcome();
        }
        let mut rest = bytes;
        let fits = reply.read(&mut rest, call_end, &mut self.session);
        let consumed = (bytes.len() - rest.len()) as u64;
        if let Some(sequence) = reply.file.take() {
            self.request.awaits_file(sequence);
        }
        if !fits {
            self.response.place = Place::Boundary;
            return at(consumed, Step::Desync);
        }
        match reply.phase {
            _ if consumed > 0 => at(consumed, Step::Continue),
            Phase::Done => self.answer_outcome(),
            _ => at(0, Step::NeedMore),
        }
    }

    /// In the midst of many rows it may be over only later; among several answers nobody knows in which.
    fn answer_gap(&mut self, n: u64) -> Advance {
        let Place::Reply(reply) = &mut self.response.place else { return at(n, Step::Desync) };
        if matches!(reply.phase, Phase::Done) {
            return self.answer_outcome();
        }
        if !self.asked.is_empty() || !reply.lose() {
            self.response.place = Place::Boundary;
            return at(n, Step::Desync);
        }
        at(n, Step::Continue)
    }

    fn answer_closed(&mut self, unskipped: u64) -> Advance {
        let place = core::mem::replace(&mut self.response.place, Place::Boundary);
        let Place::Reply(reply) = place else { return at(0, Step::NeedMore) };
        let is_over = match reply.phase {
            Phase::Done => unskipped == 0,
            // A client that says more has got it all.
            Phase::Lost(_) => self.request.has_quit() || !self.asked.is_empty(),
            _ => false,
        };
        at(0, Step::End(MessageEnd { body_bytes: None, truncated: !is_over }))
    }

    fn answer_outcome(&mut self) -> Advance {
        let place = core::mem::replace(&mut self.response.place, Place::End);
        let Place::Reply(reply) = place else { return self.answer_end() };
        self.response.late_eof = reply.late_eof;
        let failed = reply.outcome.error.is_some();
        if let (Answer::Login { compressed: true }, false) = (&reply.asked.answer, failed) {
            self.session.is_opaque = true;
        }
        reply.change_namespace(&mut self.session);
        self.session.mode.answered(reply.status);
        if reply.outcome == reply.told {
            return self.answer_end();
        }
        at(0, Step::Outcome(Box::new(ResponseHead::Database(reply.outcome))))
    }

    fn answer_end(&mut self) -> Advance {
        self.response.place = Place::Boundary;
        at(0, Step::End(MessageEnd { body_bytes: None, truncated: false }))
    }
}

impl Reply {
    fn new(asked: Asked, header: Header, told: DatabaseResponse) -> Self {
        let phase = match asked.answer {
            Answer::Packet => Phase::Packet,
            Answer::Login { .. } => Phase::Login,
            Answer::Results { .. } => Phase::Result,
            Answer::Prepared(_) => Phase::Prepared,
            Answer::Rows => Phase::Rows,
            Answer::Columns => Phase::Listed,
        };
        let rows = matches!(phase, Phase::Rows).then_some(0);
        Self {
            asked,
            phase,
            sequence: Some(header.sequence),
            held: Vec::new(),
            left: 0,
            continues: false,
            told,
            outcome: DatabaseResponse { returned_rows: rows, error: None },
            counts: true,
            has_several: false,
            status: None,
            tracked: None,
            file: None,
            late_eof: None,
        }
    }

    /// Takes packets until there is no more of them, or a part of one is to be skipped. `false`: one is none of this answer.
    fn read(&mut self, rest: &mut &[u8], call_end: bool, session: &mut Session) -> bool {
        while self.left == 0 && !matches!(self.phase, Phase::Done) {
            if let Phase::Lost(lost) = &mut self.phase {
                let found = lost.search(core::mem::take(rest), call_end);
                self.found(found);
                return true;
            }
            match self.packet(rest, session) {
                Some(true) => {}
                Some(false) => return false,
                None => {
                    self.end_definitions(call_end, session);
                    return true;
                }
            }
        }
        true
    }

    /// One packet: does it fit? `None`: there is not enough of it.
    fn packet(&mut self, rest: &mut &[u8], session: &mut Session) -> Option<bool> {
        let mut held = core::mem::take(&mut self.held);
        let start = if held.is_empty() {
            let wanted = self.wanted(rest);
            rest.split_at_checked(wanted).map(|(start, behind)| {
                *rest = behind;
                start
            })
        } else {
            while held.len() < self.wanted(&held) && !rest.is_empty() {
                let missing = self.wanted(&held) - held.len();
                let (more, behind) = rest.split_at(missing.min(rest.len()));
                held.extend_from_slice(more);
                *rest = behind;
            }
            (held.len() >= self.wanted(&held)).then_some(held.as_slice())
        };
        let Some((start, header)) = start.and_then(|start| Some((start, Header::read(start)?))) else {
            held.extend_from_slice(core::mem::take(rest));
            self.held = held;
            return None;
        };
        let payload = start.get(HEADER_BYTES..).unwrap_or_default();
        let goes_on = core::mem::replace(&mut self.continues, header.continues());
        let fits = self.sequence.is_none_or(|sequence| sequence == header.sequence);
        self.sequence = Some(header.sequence.wrapping_add(1));
        // Where it does not, the answer is lost here, however much of the packet has come.
        if !fits || !(goes_on || self.take(header, payload, session)) {
            return Some(false);
        }
        self.left = header.bytes - payload.len() as u64;
        let there = self.left.min(rest.len() as u64);
        self.left -= there;
        *rest = rest.get(there as usize..).unwrap_or_default();
        Some(true)
    }

    /// Bytes of the packet that starts so that are looked at.
    fn wanted(&self, start: &[u8]) -> usize {
        let Some(header) = Header::read(start) else { return HEADER_BYTES };
        if self.continues || header.bytes == 0 {
            return HEADER_BYTES;
        }
        let Some(&first) = start.get(HEADER_BYTES) else { return HEADER_BYTES + 1 };
        let tells = match self.phase {
            Phase::Result | Phase::Prepared => true,
            Phase::Packet => matches!(first, mark::OK | mark::EOF | mark::ERROR),
            // What else is in it is what authenticates.
            Phase::Login => matches!(first, mark::OK | mark::ERROR),
            _ => first >= mark::EOF && !header.continues(),
        };
        let wanted = if tells { DONE_BYTES_MAX } else { 1 };
        HEADER_BYTES + wanted.min(header.bytes as usize)
    }

    /// What is to be made of a packet. `false`: nothing.
    fn take(&mut self, header: Header, payload: &[u8], session: &mut Session) -> bool {
        let first = payload.first().copied().unwrap_or_default();
        if let Some(number) = error_number(payload) {
            return self.error(number);
        }
        let done = || Done::read(payload, header.bytes);
        match &mut self.phase {
            Phase::Packet => self.complete(done()),
            Phase::Login if first == mark::OK => self.complete(done()),
            Phase::Login => {
                self.sequence = None;
                true
            }
            Phase::Result => self.result(header, payload),
            Phase::Columns(left) => {
                *left -= 1;
                if *left == 0 {
                    self.phase = Phase::ColumnsEnd;
                }
                true
            }
            Phase::ColumnsEnd => self.columns_end(header, payload, session),
            Phase::Rows | Phase::Listed if first == mark::EOF && !header.continues() => {
                done().is_some_and(|done| self.done(done))
            }
            Phase::Rows => {
                self.outcome.returned_rows = self.outcome.returned_rows.map(|rows| rows + 1);
                true
            }
            Phase::Listed => true,
            Phase::Prepared => self.prepared(header, payload, session),
            Phase::Definitions { left, then } => {
                let (left, then) = (*left - 1, *then);
                self.definitions(left, then, session);
                true
            }
            Phase::DefinitionsEnd { then } => {
                let then = *then;
                let is_eof = first == mark::EOF && header.bytes == EOF_BYTES;
                session.without_eof = Some(!is_eof);
                // What is no end is the first of the columns.
                self.definitions_end(if is_eof { then } else { then.saturating_sub(1) });
                is_eof || then > 0
            }
            Phase::Lost(_) | Phase::Done => false,
        }
    }

    fn error(&mut self, number: u16) -> bool {
        if number != PROGRESS {
            self.outcome = DatabaseResponse { returned_rows: None, error: Some(number.to_string()) };
            self.phase = Phase::Done;
        }
        true
    }

    /// One packet was all there is, whatever it says.
    fn complete(&mut self, done: Option<Done<'_>>) -> bool {
        self.phase = Phase::Done;
        done.is_none_or(|done| self.done(done))
    }

    fn done(&mut self, done: Done<'_>) -> bool {
        self.status = Some(done.status);
        if self.opens_cursor(done) {
            self.outcome.returned_rows = None;
        }
        self.tracked = done.namespace.map(shared).or(self.tracked.take());
        self.phase = if done.more_results() && matches!(self.asked.answer, Answer::Results { .. }) {
            self.has_several = true;
            Phase::Result
        } else {
            Phase::Done
        };
        true
    }

    fn result(&mut self, header: Header, payload: &[u8]) -> bool {
        if let Some(done) = Done::read(payload, header.bytes) {
            return self.done(done);
        }
        if payload.first() == Some(&mark::LOCAL_INFILE) {
            self.file = self.sequence.take();
            return true;
        }
        let Some((columns, are_defined)) = columns(payload, header.bytes) else { return false };
        if self.counts {
            self.outcome.returned_rows.get_or_insert(0);
        }
        self.phase = if are_defined { Phase::Columns(columns) } else { Phase::ColumnsEnd };
        true
    }

    fn columns_end(&mut self, header: Header, payload: &[u8], session: &mut Session) -> bool {
        let eof = (header.bytes == EOF_BYTES).then(|| Done::read(payload, header.bytes)).flatten();
        session.without_eof = Some(eof.is_none());
        self.phase = Phase::Rows;
        let Some(eof) = eof else { return self.take(header, payload, session) };
        if self.opens_cursor(eof) { self.done(eof) } else { true }
    }

    /// The rows wait at the server.
    fn opens_cursor(&self, done: Done<'_>) -> bool {
        matches!(self.asked.answer, Answer::Results { cursor: true }) && done.status & status::CURSOR_EXISTS != 0
    }

    fn prepared(&mut self, header: Header, payload: &[u8], session: &mut Session) -> bool {
        let mut reader = Reader(payload);
        let (Some(mark::OK), Some(number), Some(columns), Some(parameters)) =
            (reader.u8(), reader.u32(), reader.u16(), reader.u16())
        else {
            return false;
        };
        if header.bytes < PREPARED_BYTES_MIN {
            return false;
        }
        if let Answer::Prepared(prepared) = &self.asked.answer {
            session.prepared(number, Prepared { parameters: Some(parameters), ..prepared.clone() });
        }
        // A filler and the warnings, then whether definitions follow, if that was agreed on.
        let are_defined = reader.bytes(1 + 2).is_some() && reader.u8() != Some(0);
        let (left, then) = if parameters > 0 { (parameters, columns) } else { (columns, 0) };
        if are_defined && left > 0 {
            self.phase = Phase::Definitions { left, then };
        } else {
            self.phase = Phase::Done;
        }
        true
    }

    fn definitions(&mut self, left: u16, then: u16, session: &Session) {
        match session.without_eof {
            _ if left > 0 => self.phase = Phase::Definitions { left, then },
            Some(true) => self.definitions_end(then),
            _ => self.phase = Phase::DefinitionsEnd { then },
        }
    }

    fn definitions_end(&mut self, left: u16) {
        self.phase = if left > 0 { Phase::Definitions { left, then: 0 } } else { Phase::Done };
    }

    /// Where it is not known whether an EOF ends definitions, the call does.
    fn end_definitions(&mut self, call_end: bool, session: &Session) {
        let is_over = call_end && self.held.is_empty() && session.without_eof.is_none();
        if is_over && matches!(self.phase, Phase::DefinitionsEnd { then: 0 }) {
            self.late_eof = self.sequence;
            self.phase = Phase::Done;
        }
    }

    // === losses ===

    /// Bytes are missing. `false`: where it goes on cannot be found.
    fn lose(&mut self) -> bool {
        let columns_end = match &mut self.phase {
            Phase::Columns(left) => self.sequence.map(|sequence| sequence.wrapping_add(*left as u8)),
            Phase::ColumnsEnd => self.sequence,
            Phase::Lost(lost) => {
                lost.gap();
                return true;
            }
            Phase::Rows | Phase::Listed => None,
            Phase::Result if self.has_several => None,
            _ => return false,
        };
        self.held.clear();
        self.counts = false;
        self.continues = false;
        self.outcome.returned_rows = None;
        self.phase = Phase::Lost(Lost::new(columns_end));
        true
    }

    fn found(&mut self, found: Option<Found>) {
        match found {
            None => {}
            Some(Found::Error(number)) => {
                self.error(number);
            }
            Some(Found::ColumnsEnd { next }) => {
                self.sequence = Some(next);
                self.phase = Phase::Rows;
            }
            Some(Found::Done { status, next }) => {
                self.sequence = Some(next);
                self.done(Done { status, namespace: None });
            }
        }
    }

    // === what holds from here on ===

    fn change_namespace(&self, session: &mut Session) {
        let failed = self.outcome.error.is_some();
        match (&self.tracked, &self.asked.change) {
            (Some(name), _) => session.namespace = Some(Arc::clone(name)),
            (None, Some(Change::Namespace(Some(_)))) if failed => {}
            (None, Some(Change::Namespace(name))) => session.namespace = name.clone(),
            (None, Some(Change::IfSeveral)) if self.has_several => session.namespace = None,
            _ => {}
        }
    }
}

/// Its number is in what was not captured.
fn failed_somehow() -> DatabaseResponse {
    DatabaseResponse { returned_rows: None, error: Some(DatabaseResponse::ERROR_UNKNOWN.into()) }
}

const PREPARED_BYTES_MIN: u64 = 12;

/// How many columns a result has, and whether their definitions follow: MySQL says that in front of the number, MariaDB behind it,
/// and both only if it was agreed on.
fn columns(payload: &[u8], bytes: u64) -> Option<(u64, bool)> {
    let exactly = |payload: &[u8]| {
        let mut reader = Reader(payload);
        reader.integer().filter(|n| reader.0.is_empty() && (1..=COLUMNS_MAX).contains(n))
    };
    let flag = |byte: u8| (byte < 2).then_some(byte == 1);
    let behind = || payload.split_last().and_then(|(last, count)| Some((exactly(count)?, flag(*last)?)));
    let in_front = || payload.split_first().and_then(|(first, count)| Some((exactly(count)?, flag(*first)?)));
    if payload.len() as u64 != bytes {
        return None;
    }
    exactly(payload).map(|count| (count, true)).or_else(in_front).or_else(behind)
}
