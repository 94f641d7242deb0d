//! RESP2 and RESP3, as Redis, Valkey and others speak it. <https://redis.io/docs/latest/develop/reference/protocol-spec/>

mod arguments;
mod asked;
mod commands;
mod lost;
mod sniff;
mod statement;
mod value;
mod wire;

use super::{
    Advance, DatabaseRequest, DatabaseResponse, DatabaseSystem, Definition, Input, MessageEnd, Parser, ProtocolConfig,
    Reported, RequestHead, ResponseHead, Sharing, Side, Sides, Step, at,
};
use crate::sql::TextPolicy;
use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use arguments::{Arguments, Head, Malformed, Rest};
use asked::{About, Asked, Queue, Subscriptions, Topic};
use commands::Kind;
use lost::{Fit, Lost, fits};
use value::{Progress, Value};
use wire::{Length, line_len};

/// See [`super::PROTOCOLS`].
pub(super) const DEFINITION: Definition = Definition {
    name: "redis",
    sniff: sniff::sniff,
    sides: Sides::ByRole,
    sharing: Sharing::Pipelined,
    parser: || Box::<Redis>::default(),
};

/// Parser of one connection.
#[derive(Debug, Default)]
struct Redis {
    request: Request,
    answer: Answer,
    /// The answer in progress goes on with further confirmations.
    open: Option<Asked>,
    asked: Queue,
    /// Index of the database, once the server has confirmed one.
    database: Option<Arc<str>>,
    /// That of before a selection that is not confirmed yet.
    database_before: Option<Arc<str>>,
    subscriptions: Subscriptions,
    /// RESP3: what nobody asked for is told apart.
    pushes: bool,
    replies: Replies,
    /// Every command of every client is told to this one.
    monitors: bool,
    /// A command was seen that applications send.
    in_use: bool,
    /// Commands are sent before the answers to those before them are complete.
    is_shared: bool,
    /// Of the requests that wait, one or more have been answered since none waited.
    is_answering: bool,
    /// The answer before ended where its end was not captured, so what follows may be more of it.
    is_unsure: bool,
    upgraded: bool,
}

/// The client's side.
#[derive(Clone, Copy, Debug, Default)]
enum Request {
    #[default]
    Head,
    /// Behind what was needed of a command.
    Rest { rest: Rest, told: bool },
}

/// The server's side.
#[derive(Debug, Default)]
enum Answer {
    /// Between values.
    #[default]
    Start,
    Value {
        value: Box<Value>,
        purpose: Purpose,
    },
    /// Behind a gap within a value that answers the last that was asked.
    Lost(Lost),
    /// The answer is complete, and that was not said yet.
    Complete,
}

/// What a value is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// It answers that.
    Answer(Asked),
    /// It is one of the confirmations that answer that.
    Confirmation(Asked, Topic),
    /// Nobody asked for it, or nobody is told.
    Unasked,
    /// It answers a request that may be one of those that were lost: an answer, but nobody's.
    Lost,
}

/// What the client wants answered (`CLIENT REPLY`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Replies {
    #[default]
    On,
    Off,
    /// All but the next.
    Skip,
}

impl Parser for Redis {
    fn advance(&mut self, side: Side, input: Input<'_>, config: &ProtocolConfig) -> Advance {
        let advance = match side {
            Side::Request => self.advance_request(input, config),
            Side::Response => self.advance_answer(input),
        };
        if advance.step == Step::Desync {
            self.lost(side);
        }
        advance
    }

    fn resync(&self, side: Side, bytes: &[u8]) -> Option<usize> {
        sniff::resync(side, bytes)
    }

    fn restart(&mut self, side: Side) {
        self.lost(side);
        if side == Side::Response {
            self.asked.hole_is_answered();
        }
    }

    fn forget_requests(&mut self, n: usize) {
        if self.asked.selects() {
            (self.database, self.database_before) = (None, None);
        }
        self.asked.forget(n);
    }

    fn assume_request(&mut self) {
        if self.asked.front().is_none() {
            self.asked.push(Asked::Plain);
        }
    }

    fn request_begins(&mut self) -> bool {
        let Answer::Lost(lost) = &mut self.answer else { return false };
        let is_over = lost.is_whole() && !lost.is_void && self.asked.front().is_none();
        if is_over {
            (self.answer, self.is_unsure) = (Answer::Complete, true);
        } else {
            (lost.is_void, self.is_shared) = (true, true);
        }
        is_over
    }

    fn end_is_open(&self) -> bool {
        matches!(self.answer, Answer::Lost(_))
    }

    fn spans_gaps(&self) -> bool {
        match self.answer {
            Answer::Value { purpose: Purpose::Answer(_), .. } => self.is_followed(),
            Answer::Lost(lost) => !lost.is_void,
            _ => false,
        }
    }
}

/// Requests.
impl Redis {
    fn advance_request(&mut self, input: Input<'_>, config: &ProtocolConfig) -> Advance {
        match (self.request, input) {
            (Request::Rest { rest: Rest::NONE, told }, _) if told => {
                self.request = Request::Head;
                end(matches!(input, Input::Closed { unskipped: 1.. }))
            }
            (Request::Head, _) if self.upgraded => at(0, Step::Upgraded),
            (Request::Head | Request::Rest { rest: Rest::NONE, .. }, Input::Bytes { bytes, .. }) => {
                self.head(bytes, config)
            }
            (Request::Rest { rest, told }, Input::Bytes { bytes, .. }) => self.rest(rest, told, bytes),
            (_, Input::Gap(n)) => at(n, Step::Desync),
            (Request::Rest { told: true, .. }, Input::Closed { .. }) => {
                self.request = Request::Head;
                end(true)
            }
            (_, Input::Closed { .. }) => at(0, Step::NeedMore),
        }
    }

    fn head(&mut self, bytes: &[u8], config: &ProtocolConfig) -> Advance {
        self.request = Request::Head;
        let mut arguments = Arguments::default();
        match arguments.read(bytes, config.query_text == TextPolicy::Verbatim) {
            Head::Partial => at(0, Step::NeedMore),
            Head::Malformed { bytes } => at(bytes.max(1) as u64, Step::Desync),
            Head::Nothing { bytes } => at(bytes as u64, Step::Continue),
            Head::Complete { bytes, rest } => self.command(&arguments, bytes as u64, rest, config),
        }
    }

    fn command(&mut self, arguments: &Arguments<'_>, consumed: u64, rest: Rest, config: &ProtocolConfig) -> Advance {
        let kind = arguments.command.map_or(Kind::Plain, |command| command.kind);
        if kind == Kind::Acknowledge && arguments.get(1).is_some_and(|word| word.eq_ignore_ascii_case(b"ACK")) {
            self.upgraded = true;
            return at(consumed, Step::Upgraded);
        }
        self.request = Request::Rest { rest, told: false };
        if !self.is_answered(kind, arguments) {
            return at(consumed, Step::Continue);
        }
        if self.asked.front() == Some(Asked::Hole { answered: true }) && matches!(self.answer, Answer::Start) {
            self.asked.pop();
        }
        if self.asked.has_hole() {
            return at(consumed, Step::Continue);
        }
        if self.asked.is_full() {
            return at(consumed, Step::Desync);
        }
        let is_in_progress = !matches!(self.answer, Answer::Start | Answer::Complete) || self.open.is_some();
        self.is_answering &= self.asked.front().is_some();
        self.is_shared |= self.is_answering || is_in_progress;
        let head = self.request_head(kind, arguments, config);
        let asked = Asked::of(arguments);
        if matches!(asked, Asked::Select { .. }) {
            self.database_before = self.database.take();
        }
        self.asked.push(asked);
        self.request = Request::Rest { rest, told: true };
        at(consumed, Step::Request(head))
    }

    /// Whether an answer comes at all. If none does, nobody is told of the request.
    fn is_answered(&mut self, kind: Kind, arguments: &Arguments<'_>) -> bool {
        if kind == Kind::ClientReply {
            let mode = arguments.get(2).unwrap_or_default();
            self.replies = match () {
                () if mode.eq_ignore_ascii_case(b"OFF") => Replies::Off,
                () if mode.eq_ignore_ascii_case(b"SKIP") && self.replies == Replies::On => Replies::Skip,
                () if mode.eq_ignore_ascii_case(b"ON") => Replies::On,
                () => self.replies,
            };
            return self.replies == Replies::On;
        }
        if self.replies == Replies::Skip {
            self.replies = Replies::On;
            return false;
        }
        self.replies == Replies::On
    }

    fn request_head(&mut self, kind: Kind, arguments: &Arguments<'_>, config: &ProtocolConfig) -> Box<RequestHead> {
        let for_session = match kind {
            Kind::Session
            | Kind::Optional
            | Kind::Login
            | Kind::Select
            | Kind::Reset
            | Kind::Replicate
            | Kind::Acknowledge => true,
            Kind::ClientReply => true,
            // Some clients ask that way whether the server has loaded its data.
            Kind::Info => !self.in_use && arguments.count == 1,
            _ => false,
        };
        self.in_use |= !for_session;
        Box::new(RequestHead::Database(DatabaseRequest {
            system: DatabaseSystem::Redis,
            statement: Arc::new(statement::read(arguments, config.query_text)),
            namespace: self.database.clone(),
            batch_size: None,
            reported: if for_session { Reported::IfFailed } else { Reported::Always },
        }))
    }

    fn rest(&mut self, mut rest: Rest, told: bool, bytes: &[u8]) -> Advance {
        let passed = match rest.pass_whole(bytes) {
            0 => rest.pass(bytes),
            whole => Ok((whole, 0)),
        };
        self.request = Request::Rest { rest, told };
        match passed {
            Err(Malformed) => at(1, Step::Desync),
            Ok((0, _)) => at(0, Step::NeedMore),
            Ok((taken, 0)) => at(taken as u64, Step::Continue),
            Ok((taken, skip)) => at(taken as u64, Step::Skip(skip)),
        }
    }
}

/// Answers.
impl Redis {
    fn advance_answer(&mut self, input: Input<'_>) -> Advance {
        let unskipped = matches!(input, Input::Closed { unskipped: 1.. });
        if let Answer::Value { value, purpose } = &self.answer
            && value.is_done()
            && !unskipped
        {
            self.done(*purpose, value.integer);
        }
        match (core::mem::take(&mut self.answer), input) {
            (Answer::Complete, _) => end(false),
            (Answer::Lost(lost), input) => self.lost_answer(lost, input),
            (Answer::Value { value, purpose }, Input::Bytes { bytes, .. }) => self.value(value, purpose, bytes),
            (Answer::Value { value, purpose }, Input::Gap(_)) if value.skips() => self.value(value, purpose, &[]),
            (Answer::Value { purpose: Purpose::Answer(_), .. }, Input::Gap(n)) if self.is_followed() => {
                self.answer = Answer::Lost(Lost::default());
                at(n, Step::Continue)
            }
            (Answer::Value { purpose, .. }, Input::Closed { .. }) if purpose != Purpose::Unasked => end(true),
            (_, Input::Closed { .. }) if self.open.take().is_some() => end(true),
            (_, Input::Closed { .. }) => at(0, Step::NeedMore),
            (_, Input::Gap(n)) => at(n, Step::Desync),
            (_, _) if self.upgraded => at(0, Step::Upgraded),
            (_, Input::Bytes { bytes, call_end }) => self.start(bytes, call_end),
        }
    }

    /// Nothing comes between an answer and the next request, as far as that was seen.
    fn is_followed(&self) -> bool {
        let is_told_more = self.monitors || self.subscriptions.are_any();
        self.asked.front().is_none() && self.open.is_none() && !self.is_shared && !is_told_more
    }

    fn lost_answer(&mut self, mut lost: Lost, input: Input<'_>) -> Advance {
        let is_void = lost.is_void || self.asked.front().is_some();
        let advance = match input {
            Input::Closed { .. } => return end(lost.goes_on()),
            Input::Bytes { bytes: [], .. } => at(0, Step::NeedMore),
            Input::Gap(n) if is_void => return at(n, Step::Desync),
            Input::Bytes { .. } if is_void => return at(1, Step::Desync),
            Input::Bytes { bytes: b">", call_end: false } => at(0, Step::NeedMore),
            Input::Bytes { bytes, .. } if lost.ends_before(bytes) => return end(false),
            Input::Bytes { bytes, call_end } => {
                lost.pass(bytes, call_end);
                at(bytes.len() as u64, Step::Continue)
            }
            Input::Gap(n) => {
                lost.gap();
                at(n, Step::Continue)
            }
        };
        self.answer = Answer::Lost(lost);
        advance
    }

    /// Between values.
    fn start(&mut self, bytes: &[u8], call_end: bool) -> Advance {
        if self.is_unsure && !bytes.is_empty() && self.asked.front().is_some() {
            match fits(bytes, call_end, &self.asked) {
                Fit::Partial => return at(0, Step::NeedMore),
                Fit::Yes => self.is_unsure = false,
                Fit::No => {
                    self.is_shared = true;
                    return at(1, Step::Desync);
                }
            }
        }
        self.pushes |= bytes.starts_with(b">");
        match (bytes, self.about(bytes)) {
            ([] | [b'+'], _) | (_, About::Partial) => at(0, Step::NeedMore),
            // What a server says to a replica that waits.
            ([b'\n', ..], _) => at(1, Step::Continue),
            ([b'|', ..], _) => self.attributes(bytes),
            (_, About::Message) => self.take(bytes, Purpose::Unasked, None),
            (_, About::Confirmation(topic)) => self.confirmation(topic, bytes),
            ([b'>', ..], About::Other) => self.take(bytes, Purpose::Unasked, None),
            ([b'+', digit, ..], _) if self.monitors && digit.is_ascii_digit() => {
                self.take(bytes, Purpose::Unasked, None)
            }
            // It is not confirmed as often as it seemed.
            _ if self.open.take().is_some() => end(false),
            _ => self.answer_of(self.asked.front(), bytes),
        }
    }

    /// Whether a value is about what is subscribed, where that may be.
    fn about(&self, bytes: &[u8]) -> About {
        let front = self.open.or(self.asked.front());
        let subscribes =
            matches!(front, None | Some(Asked::Confirmed { .. } | Asked::AllConfirmed(_) | Asked::Hole { .. }));
        match bytes {
            [b'>', rest @ ..] => About::read(rest),
            [b'*', rest @ ..] if !self.pushes && (subscribes || self.subscriptions.are_any()) => About::read(rest),
            _ => About::Other,
        }
    }

    /// In front of an answer.
    fn attributes(&mut self, bytes: &[u8]) -> Advance {
        let (len, n) = match Length::read(bytes.get(1..).unwrap_or_default()) {
            Length::Of { n, bytes } => (1 + bytes, u64::try_from(n).ok().and_then(|n| n.checked_mul(2))),
            Length::Partial => return at(0, Step::NeedMore),
            _ => return at(1, Step::Desync),
        };
        let Some(n) = n else { return at(1, Step::Desync) };
        self.answer = Answer::Value { value: Box::new(Value::of(n)), purpose: Purpose::Unasked };
        at(len as u64, Step::Continue)
    }

    fn confirmation(&mut self, topic: Topic, bytes: &[u8]) -> Advance {
        match self.open.or(self.asked.front()) {
            Some(asked @ (Asked::Confirmed { .. } | Asked::AllConfirmed(_))) => {
                let response = self.open.is_none().then(DatabaseResponse::default);
                self.take(bytes, Purpose::Confirmation(asked, topic), response)
            }
            // A shard moves away.
            _ => self.take(bytes, Purpose::Unasked, None),
        }
    }

    fn answer_of(&mut self, asked: Option<Asked>, bytes: &[u8]) -> Advance {
        let Some(asked) = asked else {
            return if may_answer(bytes) { at(0, Step::AwaitRequest) } else { at(1, Step::Desync) };
        };
        if matches!(asked, Asked::Hole { .. }) {
            return self.take(bytes, Purpose::Lost, Some(DatabaseResponse::default()));
        }
        match error(bytes) {
            Code::Partial => at(0, Step::NeedMore),
            Code::None => self.take(bytes, Purpose::Answer(asked), Some(DatabaseResponse::default())),
            Code::Of(code) => {
                let refused = asked == Asked::Optional && matches!(&*code, "ERR" | "NOPROTO");
                let response = DatabaseResponse { returned_rows: None, error: (!refused).then_some(code) };
                let advance = self.take(bytes, Purpose::Answer(Asked::Plain), Some(response));
                if matches!((asked, &advance.step), (Asked::Select { .. }, Step::Response(_))) {
                    self.database = self.database_before.take();
                }
                advance
            }
        }
    }

    /// A value starts here, and with it maybe the answer to the oldest request.
    fn take(&mut self, bytes: &[u8], purpose: Purpose, response: Option<DatabaseResponse>) -> Advance {
        let is_status = matches!(purpose, Purpose::Answer(asked) if asked != Asked::Plain) && bytes.starts_with(b"+");
        if is_status && line_len(bytes).is_none() && bytes.len() < STATUS_BYTES_MAX {
            return at(0, Step::NeedMore);
        }
        let mut value = Value::of(1);
        let taken = match value.read(bytes) {
            (0, Progress::Malformed) => return at(1, Step::Desync),
            (0, Progress::More) => return at(0, Step::NeedMore),
            (taken, _) => taken as u64,
        };
        if let (Purpose::Answer(asked), [b'+', status @ ..]) = (purpose, bytes) {
            self.accepted(asked, status);
        }
        if purpose == Purpose::Answer(Asked::Replicate) {
            // A file follows, and then what other clients write.
            (self.upgraded, self.answer) = (true, Answer::Complete);
        } else if value.is_done() {
            self.done(purpose, value.integer);
        } else {
            self.answer = Answer::Value { value: Box::new(value), purpose };
        }
        let Some(response) = response else { return at(taken, Step::Continue) };
        if purpose != Purpose::Lost {
            self.asked.pop();
            self.is_answering = true;
        }
        at(taken, Step::Response(Box::new(ResponseHead::Database(response))))
    }

    /// The server did what was asked, or queued it in a transaction.
    fn accepted(&mut self, asked: Asked, status: &[u8]) {
        let ok = status.starts_with(b"OK\r");
        match asked {
            Asked::Select { index } if ok => self.database = Some(Arc::from(index.to_string())),
            Asked::Monitor => self.monitors |= ok,
            Asked::Reset if status.starts_with(b"RESET") => {
                (self.monitors, self.replies, self.subscriptions) = (false, Replies::On, Subscriptions::default());
                self.database = Some(Arc::from("0"));
            }
            _ => {}
        }
    }

    fn value(&mut self, mut value: Box<Value>, purpose: Purpose, bytes: &[u8]) -> Advance {
        let (taken, progress) = value.read(bytes);
        let step = match progress {
            Progress::Malformed if taken == 0 => return at(1, Step::Desync),
            Progress::More if taken == 0 => Step::NeedMore,
            Progress::More | Progress::Done | Progress::Malformed => Step::Continue,
            Progress::Skip(n) => {
                value.skip();
                Step::Skip(n)
            }
        };
        self.answer = Answer::Value { value, purpose };
        at(taken as u64, step)
    }

    /// A value is complete.
    fn done(&mut self, purpose: Purpose, integer: Option<i64>) {
        self.answer = Answer::Start;
        match purpose {
            Purpose::Unasked => {}
            Purpose::Lost => {
                self.asked.hole_is_answered();
                self.answer = Answer::Complete;
            }
            Purpose::Answer(_) => self.answer = Answer::Complete,
            Purpose::Confirmation(asked, topic) => {
                let total = integer.and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
                self.subscriptions.confirm(topic, total);
                self.open = match asked {
                    Asked::Confirmed { left: left @ 2.. } => Some(Asked::Confirmed { left: left - 1 }),
                    Asked::AllConfirmed(topic) if self.subscriptions.of(topic) > 0 => Some(asked),
                    _ => None,
                };
                if self.open.is_none() {
                    self.answer = Answer::Complete;
                }
            }
        }
    }

    /// The place in a side's stream is lost.
    fn lost(&mut self, side: Side) {
        match side {
            Side::Request => {
                // Nobody knows how many there were, nor which answers are theirs, nor whether there are any.
                self.asked.lose();
                (self.request, self.replies) = (Request::Head, Replies::On);
            }
            Side::Response => (self.answer, self.open, self.is_unsure) = (Answer::Start, None, false),
        }
    }
}

/// A status that matters is not longer.
const STATUS_BYTES_MAX: usize = 64;
/// The first word of an error is not longer.
const CODE_BYTES_MAX: usize = 32;

/// The word that starts an error.
#[derive(Debug)]
enum Code {
    Partial,
    None,
    Of(String),
}

/// `-WRONGTYPE Operation against ...`, or the same as a string.
fn error(bytes: &[u8]) -> Code {
    let text = match bytes {
        [b'-', text @ ..] => text,
        [b'!', length @ ..] => match Length::read(length) {
            Length::Of { n: 0.., bytes } => length.get(bytes..).unwrap_or_default(),
            Length::Partial => return Code::Partial,
            _ => return Code::None,
        },
        _ => return Code::None,
    };
    let end = text.iter().take(CODE_BYTES_MAX).position(|byte| matches!(byte, b' ' | b'\r' | b'\n'));
    if end.is_none() && text.len() < CODE_BYTES_MAX {
        return Code::Partial;
    }
    let word = text.get(..end.unwrap_or_default()).unwrap_or_default();
    let is_code = !word.is_empty() && word.iter().all(u8::is_ascii_uppercase);
    // A script may say what it likes.
    let code = core::str::from_utf8(word).ok().filter(|_| is_code).unwrap_or("ERR");
    Code::Of(code.to_owned())
}

/// An answer can start with that.
fn may_answer(bytes: &[u8]) -> bool {
    matches!(bytes, [b'+' | b'-' | b':' | b'$' | b'*' | b'_' | b'#' | b',' | b'(' | b'!' | b'=' | b'%' | b'~', ..])
}

fn end(truncated: bool) -> Advance {
    at(0, Step::End(MessageEnd { body_bytes: None, truncated }))
}
