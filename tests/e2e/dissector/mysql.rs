//! MySQL and MariaDB: text of statements or the name of the command, rows, number of the error.

use super::database;
use super::golden::Golden;
use super::tshark::Message;
use super::{Dissector, Exchanges};
use autospan_core::protocol::Side;
use autospan_core::sql::Dialect;
use std::collections::{HashMap, VecDeque};

pub(super) const DISSECTOR: Dissector =
    Dissector { name: "mysql", layer: "mysql", port: 3306, preferences: &[], theirs, ours: database::ours };

const UNKNOWN: &str = "<unknown>";
/// Stands for the number of the statement that was prepared last.
const LAST_PREPARED: u32 = u32::MAX;

/// The number of an error that is none: <https://mariadb.com/kb/en/progress-reporting/>.
const PROGRESS: &str = "65535";
/// Commands: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase.html>.
mod command {
    pub(super) const QUIT: u32 = 1;
    pub(super) const INIT_DB: u32 = 2;
    pub(super) const QUERY: u32 = 3;
    pub(super) const CHANGE_USER: u32 = 17;
    pub(super) const BINLOG_DUMP: u32 = 18;
    pub(super) const TABLE_DUMP: u32 = 19;
    pub(super) const PREPARE: u32 = 22;
    pub(super) const EXECUTE: u32 = 23;
    pub(super) const SEND_LONG_DATA: u32 = 24;
    pub(super) const CLOSE: u32 = 25;
    pub(super) const FETCH: u32 = 28;
    pub(super) const BINLOG_DUMP_GTID: u32 = 30;
    pub(super) const RESET_CONNECTION: u32 = 31;
    pub(super) const BULK_EXECUTE: u32 = 250;
}

/// Commands that carry no statement, as our parser calls them.
const NAMES: &[(u32, &str)] = &[
    (4, "FIELD LIST"),
    (5, "CREATE DATABASE"),
    (6, "DROP DATABASE"),
    (7, "REFRESH"),
    (8, "SHUTDOWN"),
    (9, "STATISTICS"),
    (10, "PROCESS INFO"),
    (12, "KILL"),
    (13, "DEBUG"),
    (14, "PING"),
    (17, "CHANGE USER"),
    (21, "REGISTER SLAVE"),
    (26, "RESET STATEMENT"),
    (27, "SET OPTION"),
    (31, "RESET CONNECTION"),
];

#[derive(Debug, Default)]
struct Connection {
    /// By number.
    statements: HashMap<u32, String>,
    last_prepared: Option<String>,
    asked: VecDeque<Asked>,
    answer: Option<Answer>,
    /// No answers come any more, but events.
    replicates: bool,
    seen: Exchanges,
}

/// What the server has to answer.
#[derive(Debug, Default)]
struct Asked {
    /// The statement that it prepares.
    prepares: Option<String>,
    /// Rows of a cursor. Their first byte is 0, and Wireshark takes them for OK.
    fetches: bool,
}

#[derive(Debug, Default)]
struct Answer {
    asked: Asked,
    rows: u64,
    error: Option<String>,
    /// Of the last packet.
    sequence: u8,
}

fn theirs(golden: &Golden, messages: &[Message]) -> Exchanges {
    let mut connection = Connection::default();
    for message in messages {
        match message.side {
            Side::Request => connection.client_says(message, golden),
            Side::Response => connection.server_says(message),
        }
    }
    connection.answered();
    connection.seen
}

/// The value of a field, decimal or hexadecimal.
fn number(message: &Message, name: &str) -> Option<u32> {
    let text = message.first(name)?;
    text.strip_prefix("0x").map_or_else(|| text.parse(), |digits| u32::from_str_radix(digits, 16)).ok()
}

impl Connection {
    fn client_says(&mut self, message: &Message, golden: &Golden) {
        if message.has("mysql.login_request") {
            // One that asks for TLS is repeated behind the handshake.
            return if number(message, "mysql.caps.sl") == Some(0) {
                self.asks("LOGIN".to_owned(), Asked::default())
            };
        }
        // With another number it is a part of a file, which Wireshark takes for a command.
        let code = number(message, "mysql.command").filter(|_| number(message, "mysql.packet_number") == Some(0));
        let Some(code) = code.filter(|_| !self.replicates) else { return };
        let text = || database::statement(message.first("mysql.query").unwrap_or_default(), Dialect::MySql, golden);
        match code {
            command::QUIT | command::SEND_LONG_DATA => {}
            command::CLOSE => drop(self.statements.remove(&number(message, "mysql.stmt_id").unwrap_or_default())),
            command::BINLOG_DUMP | command::TABLE_DUMP | command::BINLOG_DUMP_GTID => self.replicates = true,
            command::QUERY => self.asks(text(), Asked::default()),
            command::PREPARE => {
                self.last_prepared = Some(text());
                self.asks(text(), Asked { prepares: Some(text()), fetches: false });
            }
            command::EXECUTE | command::FETCH | command::BULK_EXECUTE => {
                let asked = Asked { prepares: None, fetches: code == command::FETCH };
                self.asks(self.prepared(message).unwrap_or(UNKNOWN).to_owned(), asked);
            }
            command::INIT_DB => {
                let name = database::escaped(message.first("mysql.schema").unwrap_or_default());
                self.asks(format!("USE {name}"), Asked::default());
            }
            other => {
                if matches!(other, command::CHANGE_USER | command::RESET_CONNECTION) {
                    self.statements.clear();
                }
                let name = NAMES.iter().find(|(code, _)| *code == other).map_or("COMMAND", |(_, name)| name);
                self.asks(name.to_owned(), Asked::default());
            }
        }
    }

    /// The statement that is executed.
    fn prepared(&self, message: &Message) -> Option<&str> {
        match number(message, "mysql.stmt_id")? {
            LAST_PREPARED => self.last_prepared.as_deref(),
            number => self.statements.get(&number).map(String::as_str),
        }
    }

    fn asks(&mut self, request: String, asked: Asked) {
        self.seen.requests.push(request);
        self.asked.push_back(asked);
    }

    fn server_says(&mut self, message: &Message) {
        if message.has("mysql.server_greeting") {
            return;
        }
        let sequence = message.first("mysql.packet_number").and_then(|number| number.parse().ok()).unwrap_or_default();
        // Numbers start anew with each answer; 1 follows on 0 only where 255 went before.
        let goes_on = self.answer.as_ref().is_some_and(|answer| sequence != 1 || answer.sequence == 0);
        if !goes_on {
            self.answered();
            let Some(asked) = self.asked.pop_front() else { return };
            self.answer = Some(Answer { asked, ..Answer::default() });
        }
        let Some(answer) = &mut self.answer else { return };
        answer.sequence = sequence;
        let error = message.first("mysql.error_code").filter(|code| *code != PROGRESS);
        answer.error = error.map(database::error).or(answer.error.take());
        let is_row = message.has("mysql.row.text") || message.has("mysql.row.nullbuffer");
        let is_fetched = answer.asked.fetches && number(message, "mysql.response_code") == Some(0);
        answer.rows += u64::from(is_row || is_fetched);
        if let (Some(number), Some(statement)) = (number(message, "mysql.stmt_id"), answer.asked.prepares.take()) {
            self.statements.insert(number, statement);
        }
    }

    fn answered(&mut self) {
        if let Some(Answer { rows, error, .. }) = self.answer.take() {
            self.seen.responses.push(error.unwrap_or_else(|| database::rows(rows)));
        }
    }
}
