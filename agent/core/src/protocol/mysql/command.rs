//! What a client says: a login, then commands.

use super::attributes;
use super::bulk::{BULK_BYTES_MAX, Sets, batch};
use super::login::{self, LOGIN_BYTES_MAX, LOGIN_BYTES_MIN, Login};
use super::mode::Mode;
use super::namespace::{self, Change};
use super::session::{LAST_PREPARED, Prepared};
use super::wire::{HEADER_BYTES, Header, Reader, capability};
use super::{Advance, Answer, Asked, Input, MySql, ProtocolConfig, Step, at};
use crate::limits::{ATTRIBUTE_BYTES_MAX, PIPELINE_MAX};
use crate::protocol::{DatabaseRequest, DatabaseSystem, MessageEnd, Reported, RequestHead};
use crate::sql::Statement;
use alloc::boxed::Box;
use alloc::sync::Arc;

/// First bytes of commands.
pub(super) mod code {
    pub(in super::super) const QUIT: u8 = 0x01;
    pub(in super::super) const INIT_DB: u8 = 0x02;
    pub(in super::super) const QUERY: u8 = 0x03;
    pub(in super::super) const FIELD_LIST: u8 = 0x04;
    pub(in super::super) const CREATE_DB: u8 = 0x05;
    pub(in super::super) const DROP_DB: u8 = 0x06;
    pub(in super::super) const REFRESH: u8 = 0x07;
    pub(in super::super) const SHUTDOWN: u8 = 0x08;
    pub(in super::super) const STATISTICS: u8 = 0x09;
    pub(in super::super) const PROCESS_INFO: u8 = 0x0a;
    pub(in super::super) const PROCESS_KILL: u8 = 0x0c;
    pub(in super::super) const DEBUG: u8 = 0x0d;
    pub(in super::super) const PING: u8 = 0x0e;
    pub(in super::super) const CHANGE_USER: u8 = 0x11;
    pub(in super::super) const BINLOG_DUMP: u8 = 0x12;
    pub(in super::super) const TABLE_DUMP: u8 = 0x13;
    pub(in super::super) const REGISTER_SLAVE: u8 = 0x15;
    pub(in super::super) const STMT_PREPARE: u8 = 0x16;
    pub(in super::super) const STMT_EXECUTE: u8 = 0x17;
    pub(in super::super) const STMT_SEND_LONG_DATA: u8 = 0x18;
    pub(in super::super) const STMT_CLOSE: u8 = 0x19;
    pub(in super::super) const STMT_RESET: u8 = 0x1a;
    pub(in super::super) const SET_OPTION: u8 = 0x1b;
    pub(in super::super) const STMT_FETCH: u8 = 0x1c;
    pub(in super::super) const BINLOG_DUMP_GTID: u8 = 0x1e;
    pub(in super::super) const RESET_CONNECTION: u8 = 0x1f;
    pub(in super::super) const STMT_BULK_EXECUTE: u8 = 0xfa;
}

/// Bytes of a statement that are looked at.
const TEXT_BYTES_MAX: usize = ATTRIBUTE_BYTES_MAX;

/// Lengths that the payload of a command can have, with its first byte.
pub(super) fn payload_bytes(command: u8) -> Option<core::ops::RangeInclusive<u64>> {
    let most = 2 * u64::from(u16::MAX);
    Some(match command {
        code::QUERY | code::STMT_PREPARE => 1..=u64::MAX,
        code::QUIT | code::STATISTICS | code::DEBUG | code::PING | code::PROCESS_INFO | code::RESET_CONNECTION => 1..=1,
        code::SHUTDOWN => 1..=2,
        code::REFRESH => 2..=2,
        code::SET_OPTION => 3..=3,
        code::STMT_CLOSE | code::STMT_RESET | code::PROCESS_KILL => 5..=5,
        code::STMT_FETCH => 9..=9,
        code::STMT_EXECUTE => 10..=u64::MAX,
        code::STMT_SEND_LONG_DATA | code::STMT_BULK_EXECUTE => 7..=u64::MAX,
        code::INIT_DB | code::FIELD_LIST | code::CREATE_DB | code::DROP_DB => 1..=1_024,
        code::CHANGE_USER => 3..=most,
        code::BINLOG_DUMP | code::TABLE_DUMP | code::REGISTER_SLAVE | code::BINLOG_DUMP_GTID => 3..=most,
        _ => return None,
    })
}

/// Bytes of the payload that are looked at.
fn wanted_bytes(command: u8) -> usize {
    match command {
        code::QUERY | code::STMT_PREPARE => 1 + TEXT_BYTES_MAX,
        code::CHANGE_USER => LOGIN_BYTES_MAX,
        code::INIT_DB | code::FIELD_LIST | code::CREATE_DB | code::DROP_DB => 1_024,
        code::STMT_EXECUTE => 10,
        code::STMT_BULK_EXECUTE => 1 + BULK_BYTES_MAX,
        code::STMT_FETCH | code::STMT_CLOSE => 5,
        _ => 1,
    }
}

/// Where the client's side stands.
#[derive(Debug)]
pub(super) struct Side {
    place: Place,
    /// A login may come.
    is_fresh: bool,
    /// The number of the next packet of a file that the server asked for.
    file_sequence: Option<u8>,
    has_quit: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At the header of a packet.
    Boundary,
    /// So many bytes of a payload are left, which may go on in the next packet.
    Payload { left: u64, continues: bool, is_request: bool },
    /// At the header of a packet that goes on with a payload.
    Continuation { is_request: bool },
}

impl Default for Side {
    fn default() -> Self {
        Self { place: Place::Boundary, is_fresh: true, file_sequence: None, has_quit: false }
    }
}

impl Side {
    pub(super) fn behind_loss() -> Self {
        Self { is_fresh: false, ..Self::default() }
    }

    /// The server asked for a file, whose first packet has this number.
    pub(super) fn awaits_file(&mut self, sequence: u8) {
        if self.place == Place::Boundary {
            self.file_sequence = Some(sequence);
        }
    }

    pub(super) fn has_quit(&self) -> bool {
        self.has_quit
    }

    /// Behind the first `taken` bytes of a packet.
    fn behind(&mut self, header: Header, taken: usize, is_request: bool) {
        self.is_fresh = false;
        let left = (HEADER_BYTES as u64 + header.bytes).saturating_sub(taken as u64);
        self.place = Place::Payload { left, continues: header.continues(), is_request };
    }
}

impl MySql {
    pub(super) fn request(&mut self, input: Input<'_>, config: &ProtocolConfig) -> Advance {
        match (self.request.place, input) {
            (Place::Payload { left, .. }, Input::Closed { unskipped }) if left > 0 || unskipped > 0 => {
                self.request_closed()
            }
            (Place::Continuation { .. }, Input::Closed { .. }) => self.request_closed(),
            (Place::Payload { left: left @ 1.., continues, is_request }, _) => {
                self.request.place = Place::Payload { left: 0, continues, is_request };
                at(0, Step::Skip(left))
            }
            (Place::Payload { left: 0, continues, is_request }, input) => {
                self.payload_end(continues, is_request, input, config)
            }
            (_, Input::Closed { .. }) => at(0, Step::NeedMore),
            (_, Input::Gap(n)) => at(n, Step::Desync),
            (Place::Continuation { is_request }, Input::Bytes { bytes, .. }) => self.continuation(bytes, is_request),
            (Place::Boundary, Input::Bytes { bytes, .. }) => self.packet(bytes, config),
        }
    }

    fn request_closed(&mut self) -> Advance {
        let place = core::mem::replace(&mut self.request.place, Place::Boundary);
        let is_request =
            matches!(place, Place::Payload { is_request: true, .. } | Place::Continuation { is_request: true });
        let end = MessageEnd { body_bytes: None, truncated: true };
        at(0, if is_request { Step::End(end) } else { Step::NeedMore })
    }

    fn payload_end(&mut self, continues: bool, is_request: bool, input: Input<'_>, config: &ProtocolConfig) -> Advance {
        if continues {
            self.request.place = Place::Continuation { is_request };
            return self.request(input, config);
        }
        self.request.place = Place::Boundary;
        if is_request {
            return at(0, Step::End(MessageEnd { body_bytes: None, truncated: false }));
        }
        self.request(input, config)
    }

    fn continuation(&mut self, bytes: &[u8], is_request: bool) -> Advance {
        let Some(header) = Header::read(bytes) else { return at(0, Step::NeedMore) };
        self.request.behind(header, HEADER_BYTES, is_request);
        at(HEADER_BYTES as u64, Step::Continue)
    }

    /// At the start of a packet that starts something.
    fn packet(&mut self, bytes: &[u8], config: &ProtocolConfig) -> Advance {
        if self.session.is_opaque {
            return at(0, Step::Upgraded);
        }
        let Some(header) = Header::read(bytes) else { return at(0, Step::NeedMore) };
        if self.request.is_fresh && matches!(header.sequence, 1 | 2) {
            return self.login(header, bytes);
        }
        if header.sequence != 0 || self.request.file_sequence == Some(0) {
            return self.file(header);
        }
        self.request.file_sequence = None;
        if header.bytes == 0 {
            return at(HEADER_BYTES as u64, Step::Desync);
        }
        let Some(&command) = bytes.get(HEADER_BYTES) else { return at(0, Step::NeedMore) };
        if !payload_bytes(command).is_some_and(|lengths| lengths.contains(&header.bytes)) {
            return at(HEADER_BYTES as u64 + 1, Step::Desync);
        }
        let wanted = HEADER_BYTES + wanted_bytes(command).min(header.bytes as usize);
        let Some(packet) = bytes.get(..wanted) else { return at(0, Step::NeedMore) };
        let payload = packet.get(HEADER_BYTES + 1..).unwrap_or_default();
        self.command(header, command, payload, config)
    }

    /// A file that the server asked for, up to an empty packet; or what a login says behind its first packet.
    fn file(&mut self, header: Header) -> Advance {
        self.request.behind(header, HEADER_BYTES, false);
        self.request.file_sequence = (header.bytes > 0).then(|| header.sequence.wrapping_add(1));
        at(HEADER_BYTES as u64, Step::Continue)
    }

    fn login(&mut self, header: Header, bytes: &[u8]) -> Advance {
        let Some(start) = bytes.get(..HEADER_BYTES + LOGIN_BYTES_MIN) else {
            return at(0, Step::NeedMore);
        };
        if !login::is_login(start) {
            return at(HEADER_BYTES as u64, Step::Desync);
        }
        let wanted = HEADER_BYTES + LOGIN_BYTES_MAX.min(header.bytes as usize);
        let Some(packet) = bytes.get(..wanted) else { return at(0, Step::NeedMore) };
        let Some(login) = packet.get(HEADER_BYTES..).and_then(Login::read) else {
            return at(HEADER_BYTES as u64, Step::Desync);
        };
        if header.bytes == LOGIN_BYTES_MIN as u64 && login.capabilities & capability::TLS != 0 {
            (self.session.is_opaque, self.session.is_tls) = (true, true);
            return at(wanted as u64, Step::Upgraded);
        }
        let compressed = self.session.negotiated(login.capabilities, login.extended);
        let change = Some(Change::Namespace(login.namespace));
        let asked = Asked { answer: Answer::Login { compressed }, change };
        self.ask(header, wanted, Request::of_session(named("LOGIN")), asked)
    }

    /// `payload`: what is known of it behind the command.
    fn command(&mut self, header: Header, command: u8, payload: &[u8], config: &ProtocolConfig) -> Advance {
        let taken = HEADER_BYTES + 1 + payload.len();
        match command {
            code::QUIT | code::STMT_SEND_LONG_DATA | code::STMT_CLOSE => self.unanswered(header, command, payload),
            code::BINLOG_DUMP | code::BINLOG_DUMP_GTID | code::TABLE_DUMP => {
                self.session.is_opaque = true;
                at(taken as u64, Step::Upgraded)
            }
            code::QUERY => {
                let Prepared { statement, change, .. } = self.query(header, payload, config);
                self.ask(header, taken, Request::of(statement), results(change))
            }
            code::STMT_PREPARE => {
                let prepared = self.prepare(header, payload, config);
                let statement = Arc::clone(&prepared.statement);
                let asked = Asked { answer: Answer::Prepared(prepared), change: None };
                self.ask(header, taken, Request::of_session(statement), asked)
            }
            code::STMT_EXECUTE | code::STMT_BULK_EXECUTE | code::STMT_FETCH => self.execute(header, command, payload),
            code::INIT_DB => {
                let name = namespace::shared(payload);
                let asked = packet(Some(Change::Namespace(Some(Arc::clone(&name)))));
                self.ask(header, taken, Request::of(choice(&name)), asked)
            }
            _ => {
                let asked = self.session_command(command, payload);
                self.ask(header, taken, Request::of_session(named(name(command))), asked)
            }
        }
    }

    /// What the session needs.
    fn session_command(&mut self, command: u8, payload: &[u8]) -> Asked {
        if matches!(command, code::CHANGE_USER | code::RESET_CONNECTION) {
            self.session.forget_statements();
            self.session.mode = Mode::start();
            self.doubt_asked();
        }
        match command {
            code::CHANGE_USER => {
                let change = Some(Change::Namespace(login::changed_user(payload)));
                Asked { answer: Answer::Login { compressed: false }, change }
            }
            code::FIELD_LIST => Asked { answer: Answer::Columns, change: None },
            code::PROCESS_INFO => results(None),
            _ => packet(None),
        }
    }

    /// A packet that nobody answers.
    fn unanswered(&mut self, header: Header, command: u8, payload: &[u8]) -> Advance {
        match (command, Reader(payload).u32()) {
            (code::QUIT, _) => self.request.has_quit = true,
            (code::STMT_CLOSE, Some(number)) => self.session.closed(number),
            _ => {}
        }
        let taken = HEADER_BYTES + 1 + payload.len();
        self.request.behind(header, taken, false);
        at(taken as u64, Step::Continue)
    }

    /// A prepared statement, or more rows of one.
    fn execute(&mut self, header: Header, command: u8, payload: &[u8]) -> Advance {
        const CURSOR_FLAGS: u8 = 1 | 2 | 4;
        let mut reader = Reader(payload);
        let (number, flags) = (reader.u32().unwrap_or_default(), reader.u8().unwrap_or_default());
        if number == LAST_PREPARED || command == code::STMT_BULK_EXECUTE {
            self.session.system = DatabaseSystem::MariaDb;
        }
        let Prepared { statement, change, parameters } = self.session.statement(number);
        let cut = header.bytes > 1 + payload.len() as u64;
        let sets = parameters.filter(|_| command == code::STMT_BULK_EXECUTE);
        let sets = sets.and_then(|parameters| Sets::count(payload, parameters, cut)).filter(|sets| sets.is_batch());
        let (statement, asked) = match command {
            _ if sets.is_some() => (Arc::new(batch(&statement)), results(change)),
            code::STMT_FETCH => (fetch(&statement), Asked { answer: Answer::Rows, change: None }),
            code::STMT_EXECUTE if flags & CURSOR_FLAGS != 0 => {
                (statement, Asked { answer: Answer::Results { cursor: true }, change })
            }
            _ => (statement, results(change)),
        };
        let request = Request { batch_size: sets.and_then(Sets::size), ..Request::of(statement) };
        self.ask(header, HEADER_BYTES + 1 + payload.len(), request, asked)
    }

    /// The text of a query, with attributes in front of it.
    fn query(&mut self, header: Header, payload: &[u8], config: &ProtocolConfig) -> Prepared {
        let truncated = header.bytes > 1 + payload.len() as u64;
        match attributes::text(payload) {
            Some(text) => self.read(text, truncated, config),
            None => {
                self.session.mode.doubt();
                Prepared::unknown()
            }
        }
    }

    fn read(&mut self, text: &[u8], truncated: bool, config: &ProtocolConfig) -> Prepared {
        self.session.mode.asks(text, self.asked.len() + usize::from(self.response.is_answering()));
        let statement = Statement::read(text, self.session.mode.syntax(), config.query_text, truncated);
        Prepared { statement: Arc::new(statement), change: namespace::change(text, truncated), parameters: None }
    }

    fn prepare(&mut self, header: Header, payload: &[u8], config: &ProtocolConfig) -> Prepared {
        let truncated = header.bytes > 1 + payload.len() as u64;
        let prepared = self.read(payload, truncated, config);
        self.session.last_prepared = Some(prepared.clone());
        prepared
    }

    /// A request whose head are the first `taken` bytes of its packet.
    fn ask(&mut self, header: Header, taken: usize, request: Request, asked: Asked) -> Advance {
        if self.asked.len() >= PIPELINE_MAX {
            return at(taken as u64, Step::Desync);
        }
        // An answer that is still to come may have another database take its place.
        let is_sure = !self.asked.iter().any(|asked| asked.change.is_some());
        let namespace = self.session.namespace.clone().filter(|_| is_sure);
        self.asked.push_back(asked);
        self.request.behind(header, taken, true);
        let Request { statement, reported, batch_size } = request;
        let request = DatabaseRequest { system: self.session.system, statement, namespace, batch_size, reported };
        at(taken as u64, Step::Request(Box::new(RequestHead::Database(request))))
    }
}

/// What is asked for.
#[derive(Debug)]
struct Request {
    statement: Arc<Statement>,
    reported: Reported,
    batch_size: Option<u32>,
}

impl Request {
    fn of(statement: Arc<Statement>) -> Self {
        Self { statement, reported: Reported::Always, batch_size: None }
    }

    fn of_session(statement: Arc<Statement>) -> Self {
        Self { reported: Reported::IfFailed, ..Self::of(statement) }
    }
}

/// More rows of a statement that has been executed.
fn fetch(statement: &Statement) -> Arc<Statement> {
    let summary = statement.collection.as_ref().map_or_else(|| "FETCH".into(), |name| alloc::format!("FETCH {name}"));
    Arc::new(Statement { summary, operation: Some("FETCH".into()), ..statement.clone() })
}

fn packet(change: Option<Change>) -> Asked {
    Asked { answer: Answer::Packet, change }
}

fn results(change: Option<Change>) -> Asked {
    Asked { answer: Answer::Results { cursor: false }, change }
}

/// Of the session's database.
fn choice(name: &str) -> Arc<Statement> {
    let summary = alloc::format!("USE {name}");
    Arc::new(Statement { text: None, summary, operation: Some("USE".into()), ..Statement::default() })
}

/// A command that has no text.
fn named(name: &'static str) -> Arc<Statement> {
    Arc::new(Statement { text: None, summary: name.into(), operation: Some(name.into()), ..Statement::default() })
}

fn name(command: u8) -> &'static str {
    match command {
        code::FIELD_LIST => "FIELD LIST",
        code::PROCESS_INFO => "PROCESS INFO",
        code::CHANGE_USER => "CHANGE USER",
        code::RESET_CONNECTION => "RESET CONNECTION",
        code::CREATE_DB => "CREATE DATABASE",
        code::DROP_DB => "DROP DATABASE",
        code::REFRESH => "REFRESH",
        code::SHUTDOWN => "SHUTDOWN",
        code::STATISTICS => "STATISTICS",
        code::PROCESS_KILL => "KILL",
        code::DEBUG => "DEBUG",
        code::PING => "PING",
        code::REGISTER_SLAVE => "REGISTER SLAVE",
        code::STMT_RESET => "RESET STATEMENT",
        code::SET_OPTION => "SET OPTION",
        _ => "COMMAND",
    }
}
