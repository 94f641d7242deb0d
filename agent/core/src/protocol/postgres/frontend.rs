//! What the client says.

use super::asked::Kind;
use super::message::{HEADER_BYTES, Header, Partial, number, string};
use super::sniff::sniff;
use super::statements::{NAME_BYTES_MAX, TOO_LONG};
use super::strings;
use super::tail::Tail;
use super::{Session, at, pass};
use crate::limits::ATTRIBUTE_BYTES_MAX;
use crate::protocol::{
    Advance, DatabaseRequest, DatabaseSystem, Input, MessageEnd, ProtocolConfig, Reported, RequestHead, Side, Sniff,
    Step,
};
use crate::sql::{Backslashes, Dialect, Statement, Syntax};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;

/// Bytes of a statement's text that are looked at.
const TEXT_BYTES_MAX: usize = ATTRIBUTE_BYTES_MAX;
/// Bytes of a start-up message that are looked at: names of user and database and some settings.
const STARTUP_BYTES_MAX: usize = 4_096;
/// `MAX_STARTUP_PACKET_LENGTH` of `src/include/libpq/pqcomm.h`.
pub(super) const STARTUP_LENGTH_MAX: u32 = 10_000;
/// Codes in the place of a version (`src/include/libpq/pqcomm.h`).
pub(super) const CANCEL_REQUEST: u32 = 80_877_102;
pub(super) const SSL_REQUEST: u32 = 80_877_103;
pub(super) const GSS_REQUEST: u32 = 80_877_104;
/// The high half of a version.
pub(super) const MAJOR_VERSION: u32 = 3;

#[derive(Debug, Default)]
pub(super) struct Frontend {
    /// Behind a request's head.
    request: Option<Rest>,
    group: Group,
    copy: Copying,
}

/// What is left of a request.
#[derive(Debug)]
struct Rest {
    skip: u64,
}

/// What was sent since the last `Execute`, `Flush` or `Sync`.
#[derive(Debug, Default)]
struct Group {
    /// `Parse`
    parses: u32,
    /// `Parse`, `Bind` and `Describe`
    preparing: u32,
    /// `Close`
    closing: u32,
    /// Of the first of them; `None` as well where there are several.
    statement: Option<Arc<Statement>>,
}

/// Where the data of a COPY stands.
#[derive(Debug, Default)]
struct Copying {
    header: Partial,
    /// Its messages were lost among what was not captured.
    lost: Option<Tail>,
    /// The bytes offered are the first of a call.
    starts_call: bool,
}

/// What is asked, and how.
struct Request {
    kind: Kind,
    statement: Arc<Statement>,
    reported: Reported,
    consumed: usize,
    skip: u64,
}

impl Frontend {
    pub(super) fn advance(&mut self, session: &mut Session, input: Input<'_>, config: &ProtocolConfig) -> Advance {
        if let Some(step) = self.rest(input) {
            return at(0, step);
        }
        match input {
            _ if session.upgraded => at(0, Step::Upgraded),
            Input::Bytes { bytes, call_end } if session.copying => self.copy(session, bytes, call_end, config),
            Input::Bytes { bytes, .. } => self.message(session, bytes, config),
            Input::Gap(n) if session.copying => {
                self.copy = Copying { lost: Some(Tail::default()), ..Copying::default() };
                at(n, Step::Continue)
            }
            Input::Gap(n) => at(n, Step::Desync),
            Input::Closed { .. } => at(0, Step::NeedMore),
        }
    }

    /// What comes behind a request's head.
    fn rest(&mut self, input: Input<'_>) -> Option<Step> {
        let rest = self.request.as_mut()?;
        let skip = core::mem::take(&mut rest.skip);
        let truncated = match input {
            Input::Closed { unskipped } => unskipped.max(skip) > 0,
            Input::Bytes { .. } | Input::Gap(_) if skip > 0 => return Some(Step::Skip(skip)),
            Input::Bytes { .. } | Input::Gap(_) => false,
        };
        self.request = None;
        Some(Step::End(MessageEnd { body_bytes: None, truncated }))
    }

    fn message(&mut self, session: &mut Session, bytes: &[u8], config: &ProtocolConfig) -> Advance {
        // Only what starts a session has no kind; its length is less than 2^24.
        if bytes.first() == Some(&0) {
            return self.startup(session, bytes);
        }
        let Some((head, body)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return at(0, Step::NeedMore) };
        let Some(header) = Header::frontend(*head) else { return at(HEADER_BYTES as u64, Step::Desync) };
        let body = &body[..body.len().min(header.body as usize)];
        session.in_segment |= matches!(header.kind, b'P' | b'B' | b'D' | b'C' | b'E');
        let advance = match header.kind {
            b'Q' => self.query(session, header, body, config),
            b'P' => self.parse(session, header, body, config),
            b'B' => self.bind(session, header, body),
            b'D' => self.describe(session, header, body),
            b'C' => self.close(session, header, body),
            b'E' => self.execute(session, header, body),
            b'F' => Some(self.call(session, header)),
            b'H' => Some(self.flush(session)),
            b'S' => Some(self.sync(session)),
            _ => Some(pass(HEADER_BYTES, header.body.into())),
        };
        advance.unwrap_or_else(|| at(0, Step::NeedMore))
    }

    // === the start of a session ===

    fn startup(&mut self, session: &mut Session, bytes: &[u8]) -> Advance {
        let (Some(length), Some(code)) = (number(bytes), bytes.get(4..).and_then(number)) else {
            return at(0, Step::NeedMore);
        };
        match code {
            SSL_REQUEST | GSS_REQUEST if length == 8 => {
                if session.asked.is_full() {
                    return at(8, Step::Desync);
                }
                session.asked.push(Kind::Encryption, 0);
                at(8, Step::Continue)
            }
            // Nothing is answered, and what is asked is about another connection.
            CANCEL_REQUEST if (16..=STARTUP_LENGTH_MAX).contains(&length) => pass(8, u64::from(length) - 8),
            _ if code >> 16 == MAJOR_VERSION && (9..=STARTUP_LENGTH_MAX).contains(&length) => {
                self.session(session, length as usize, bytes)
            }
            _ => at(8, Step::Desync),
        }
    }

    fn session(&mut self, session: &mut Session, length: usize, bytes: &[u8]) -> Advance {
        let consumed = length.min(STARTUP_BYTES_MAX);
        let Some(parameters) = bytes.get(8..consumed) else { return at(0, Step::NeedMore) };
        session.namespace = database(parameters);
        session.backslashes = Backslashes::Unknown;
        session.forget_names();
        let statement = Arc::new(operation("CONNECT"));
        let skip = (length - consumed) as u64;
        self.ask(session, Request { kind: Kind::Session, statement, reported: Reported::IfFailed, consumed, skip })
    }

    // === requests ===

    fn query(
        &mut self,
        session: &mut Session,
        header: Header,
        body: &[u8],
        config: &ProtocolConfig,
    ) -> Option<Advance> {
        let text = Text::read(body, header.body as usize)?;
        session.statements.run(text.bytes);
        let statement = text.statement(session, config);
        let (kind, reported) = (Kind::Query, Reported::Always);
        let (consumed, skip) = (HEADER_BYTES + text.consumed, header.body as u64 - text.consumed as u64);
        self.group = Group::default();
        // It ends a pipeline that was not, as far as that was seen.
        session.segment_ends();
        Some(self.ask(session, Request { kind, statement, reported, consumed, skip }))
    }

    fn call(&mut self, session: &mut Session, header: Header) -> Advance {
        let (kind, reported) = (Kind::Query, Reported::Always);
        let (consumed, skip) = (HEADER_BYTES, header.body.into());
        self.group = Group::default();
        session.segment_ends();
        self.ask(session, Request { kind, statement: Arc::new(operation("CALL")), reported, consumed, skip })
    }

    fn execute(&mut self, session: &mut Session, header: Header, body: &[u8]) -> Option<Advance> {
        let Name { name, .. } = Name::read(body, header.body as usize)?;
        let consumed = (header.body as usize).min(NAME_BYTES_MAX + 1 + 4);
        if body.len() < consumed {
            return None;
        }
        let statement = session.statements.portal(name.unwrap_or(TOO_LONG));
        let (consumed, skip) = (HEADER_BYTES + consumed, header.body as u64 - consumed as u64);
        if session.segment_doubtful {
            return Some(pass(consumed, skip));
        }
        let (kind, reported) = (Kind::Execute, Reported::Always);
        Some(self.ask(session, Request { kind, statement, reported, consumed, skip }))
    }

    // === what comes in front of requests ===

    fn parse(
        &mut self,
        session: &mut Session,
        header: Header,
        body: &[u8],
        config: &ProtocolConfig,
    ) -> Option<Advance> {
        let name = Name::read(body, header.body as usize)?;
        let text = Text::read(&body[name.consumed..], header.body as usize - name.consumed)?;
        let consumed = name.consumed + text.consumed;
        let statement = text.statement(session, config);
        self.group.parses += 1;
        self.group.prepares(&statement);
        // That of a name that is too long is found by nobody.
        let fits = session.statements.parse(name.name.unwrap_or(TOO_LONG), &statement);
        session.statements.run(text.bytes);
        let consumed = HEADER_BYTES + consumed;
        if !fits {
            return Some(at(consumed as u64, Step::Desync));
        }
        Some(pass(consumed, (HEADER_BYTES + header.body as usize - consumed) as u64))
    }

    fn bind(&mut self, session: &mut Session, header: Header, body: &[u8]) -> Option<Advance> {
        let portal = Name::read(body, header.body as usize)?;
        let statement = Name::read(&body[portal.consumed..], header.body as usize - portal.consumed)?;
        let consumed = portal.consumed + statement.consumed;
        if let Some(portal) = portal.name {
            let statement = session.statements.bind(portal, statement.name.unwrap_or(TOO_LONG));
            self.group.prepares(&statement);
        }
        Some(pass(HEADER_BYTES + consumed, header.body as u64 - consumed as u64))
    }

    fn describe(&mut self, session: &mut Session, header: Header, body: &[u8]) -> Option<Advance> {
        let (kind, name, consumed) = subject(header, body)?;
        let statement = match (kind, name) {
            (b'S', Some(name)) => session.statements.statement(name),
            (b'P', Some(name)) => session.statements.portal(name),
            _ => session.statements.unknown(),
        };
        self.group.prepares(&statement);
        Some(pass(HEADER_BYTES + consumed, header.body as u64 - consumed as u64))
    }

    fn close(&mut self, session: &mut Session, header: Header, body: &[u8]) -> Option<Advance> {
        let (kind, name, consumed) = subject(header, body)?;
        match (kind, name) {
            (b'S', Some(name)) => session.statements.close(name),
            (b'P', Some(name)) => session.statements.close_portal(name),
            _ => {}
        }
        self.group.closing += 1;
        Some(pass(HEADER_BYTES + consumed, header.body as u64 - consumed as u64))
    }

    // === what comes behind them ===

    fn flush(&mut self, session: &mut Session) -> Advance {
        if session.segment_doubtful {
            self.group = Group::default();
            return pass(HEADER_BYTES, 0);
        }
        self.prepared(session, true).unwrap_or_else(|| pass(HEADER_BYTES, 0))
    }

    fn sync(&mut self, session: &mut Session) -> Advance {
        let is_doubtful = session.segment_doubtful;
        session.segment_ends();
        let advance = if is_doubtful { None } else { self.prepared(session, false) };
        self.group = Group::default();
        session.asked.push_sync();
        advance.unwrap_or_else(|| pass(HEADER_BYTES, 0))
    }

    /// What was sent in front of this `Flush` or `Sync` is answered now, with no `Execute`.
    fn prepared(&mut self, session: &mut Session, is_flush: bool) -> Option<Advance> {
        let Group { preparing, closing, ref statement, .. } = self.group;
        let left = preparing.saturating_add(closing);
        if preparing == 0 {
            if is_flush && left > 0 && !session.asked.is_full() {
                session.asked.push(Kind::Replies { left, is_reported: false }, 0);
            }
            self.group = Group::default();
            return None;
        }
        let kind = Kind::Replies { left, is_reported: true };
        let statement = statement.clone().unwrap_or_else(|| session.statements.unknown());
        let (consumed, skip) = (HEADER_BYTES, 0);
        Some(self.ask(session, Request { kind, statement, reported: Reported::IfFailed, consumed, skip }))
    }

    fn ask(&mut self, session: &mut Session, request: Request) -> Advance {
        let Request { kind, statement, reported, consumed, skip } = request;
        if session.asked.is_full() {
            return at(consumed as u64, Step::Desync);
        }
        let group = core::mem::take(&mut self.group);
        session.asked.push(kind, group.parses);
        self.request = Some(Rest { skip });
        let (system, namespace) = (DatabaseSystem::PostgreSql, session.namespace.clone());
        let head = DatabaseRequest { system, statement, namespace, batch_size: None, reported };
        at(consumed as u64, Step::Request(Box::new(RequestHead::Database(head))))
    }

    // === COPY ===

    fn copy(&mut self, session: &mut Session, bytes: &[u8], call_end: bool, config: &ProtocolConfig) -> Advance {
        if self.copy.lost.is_some() {
            return self.copy_lost(session, bytes, call_end, config);
        }
        match bytes.first() {
            None => return at(0, Step::NeedMore),
            Some(b'd' | b'c' | b'f' | b'S' | b'H') => {}
            Some(_) if !self.copy.header.is_empty() => {}
            // The server gave it up.
            Some(_) => {
                session.copying = false;
                return self.message(session, bytes, config);
            }
        }
        let (consumed, header) = self.copy.header.fill(bytes);
        let Some(head) = header else { return at(consumed as u64, Step::NeedMore) };
        let Some(header) = Header::frontend(head) else { return at(consumed as u64, Step::Desync) };
        session.copying = !matches!(header.kind, b'c' | b'f');
        pass(consumed, header.body.into())
    }

    /// Waits for the end of the data, or for what nobody says in the midst of it.
    fn copy_lost(&mut self, session: &mut Session, bytes: &[u8], call_end: bool, config: &ProtocolConfig) -> Advance {
        let Some(tail) = &mut self.copy.lost else { return at(0, Step::NeedMore) };
        if bytes.is_empty() {
            return at(0, Step::NeedMore);
        }
        if self.copy.starts_call {
            match sniff(Side::Request, bytes) {
                Sniff::Yes => {
                    self.copy = Copying::default();
                    session.copying = false;
                    session.forget_names();
                    return self.message(session, bytes, config);
                }
                Sniff::Undecided if !call_end => return at(0, Step::NeedMore),
                _ => {}
            }
        }
        tail.push(bytes);
        self.copy.starts_call = call_end;
        if let Some(syncs) = tail.copy_done().filter(|_| call_end) {
            self.copy = Copying::default();
            session.copying = false;
            if syncs {
                session.asked.push_sync();
            }
        }
        at(bytes.len() as u64, Step::Continue)
    }
}

impl Group {
    fn prepares(&mut self, statement: &Arc<Statement>) {
        let same = self.statement.as_ref().is_none_or(|known| Arc::ptr_eq(known, statement));
        self.statement = (same && (self.preparing == 0 || self.statement.is_some())).then(|| Arc::clone(statement));
        self.preparing = self.preparing.saturating_add(1);
    }
}

/// A name at the start of some bytes.
struct Name<'a> {
    /// `None`: too long.
    name: Option<&'a [u8]>,
    /// With the zero at its end, as far as it is looked at.
    consumed: usize,
}

impl<'a> Name<'a> {
    /// `length`: bytes that the message has from here on. `None`: more of them are needed.
    fn read(bytes: &'a [u8], length: usize) -> Option<Self> {
        let most = length.min(NAME_BYTES_MAX + 1);
        let seen = &bytes[..bytes.len().min(most)];
        match string(seen) {
            Some(name) => Some(Self { name: Some(name), consumed: name.len() + 1 }),
            None => (seen.len() == most).then_some(Self { name: None, consumed: most }),
        }
    }
}

/// A statement's text at the start of some bytes.
struct Text<'a> {
    bytes: &'a [u8],
    /// With the zero at its end, as far as it is looked at.
    consumed: usize,
    truncated: bool,
}

impl<'a> Text<'a> {
    /// As [`Name::read`].
    fn read(bytes: &'a [u8], length: usize) -> Option<Self> {
        let most = length.min(TEXT_BYTES_MAX);
        let seen = &bytes[..bytes.len().min(most)];
        match string(seen) {
            Some(text) => Some(Self { bytes: text, consumed: text.len() + 1, truncated: false }),
            None => (seen.len() == most).then_some(Self { bytes: seen, consumed: most, truncated: true }),
        }
    }

    /// All of a text is read as the session was when it came, whatever its first statement changes.
    fn statement(&self, session: &mut Session, config: &ProtocolConfig) -> Arc<Statement> {
        let syntax = Syntax { backslashes: session.backslashes, ..Dialect::PostgreSql.into() };
        if strings::may_change(self.bytes) {
            session.backslashes = Backslashes::Unknown;
        }
        Arc::new(Statement::read(self.bytes, syntax, config.query_text, self.truncated))
    }
}

/// What a `Describe` or `Close` is about: `S` or `P`, the name, and how much of the body that is.
fn subject(header: Header, body: &[u8]) -> Option<(u8, Option<&[u8]>, usize)> {
    let (kind, body) = body.split_first()?;
    let name = Name::read(body, header.body as usize - 1)?;
    Some((*kind, name.name, 1 + name.consumed))
}

/// One that has no text.
fn operation(name: &'static str) -> Statement {
    Statement { operation: Some(Cow::Borrowed(name)), ..Statement::default() }
}

/// The database of a start-up message: pairs of names and values, each ended by a zero. It is called as the user if it is not named.
fn database(parameters: &[u8]) -> Option<Arc<str>> {
    let mut strings = parameters.split(|byte| *byte == 0);
    let (mut user, mut database) = (None, None);
    while let (Some(name), Some(value)) = (strings.next().filter(|name| !name.is_empty()), strings.next()) {
        match name {
            b"user" => user = Some(value),
            b"database" => database = Some(value),
            _ => {}
        }
    }
    let name = database.or(user).filter(|name| !name.is_empty() && name.len() <= NAME_BYTES_MAX)?;
    Some(Arc::from(String::from_utf8_lossy(name).as_ref()))
}
