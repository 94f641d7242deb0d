//! PostgreSQL: text of `Query` and `Execute`, rows, SQLSTATE.

use super::database;
use super::golden::Golden;
use super::tshark::Message;
use super::{Dissector, Exchanges};
use autospan_core::protocol::Side;
use autospan_core::sql::Dialect;
use std::collections::{HashMap, VecDeque};

pub(super) const DISSECTOR: Dissector =
    Dissector { name: "postgres", layer: "pgsql", port: 5432, preferences: &[], theirs, ours: database::ours };

const UNKNOWN: &str = "<unknown>";

/// What the server has to answer.
#[derive(Debug)]
enum Asked {
    /// Up to `ReadyForQuery`: the start of a session, a `Query`, a `FunctionCall`.
    Query,
    Execute,
    /// So many messages that prepare; if all of them close, nobody is told.
    Group {
        left: usize,
        is_told: bool,
    },
    Sync,
}

#[derive(Debug, Default)]
struct Client {
    statements: Statements,
    portals: HashMap<String, String>,
    /// What prepares, since the last `Execute`, `Flush` or `Sync`: the statement that it is about, if that is no `Close`.
    group: Vec<Option<String>>,
    asked: VecDeque<Asked>,
    requests: Vec<String>,
}

/// Prepared statements by name.
#[derive(Debug, Default)]
struct Statements {
    known: HashMap<String, String>,
    /// Of `Parse` without its `ParseComplete`: name, text and how many `Sync` were in front.
    unconfirmed: VecDeque<(String, String, usize)>,
    syncs: usize,
    syncs_answered: usize,
}

#[derive(Debug, Default)]
struct Server {
    /// Of what is asked first.
    answer: Option<Answer>,
    responses: Vec<String>,
}

#[derive(Debug, Default)]
struct Answer {
    rows: u64,
    copies_out: bool,
    error: Option<String>,
}

fn theirs(golden: &Golden, messages: &[Message]) -> Exchanges {
    let mut client = Client::default();
    let mut server = Server::default();
    for message in messages {
        match message.side {
            Side::Request => client.says(message, golden),
            Side::Response => server.says(message, &mut client),
        }
    }
    // The last one may be cut short.
    server.answered();
    Exchanges { requests: client.requests, responses: server.responses }
}

impl Statements {
    fn parse(&mut self, name: String, text: String) {
        if name.is_empty() {
            self.known.remove(&name);
        }
        self.unconfirmed.push_back((name, text, self.syncs));
    }

    fn confirm(&mut self) {
        if let Some((name, text, _)) = self.unconfirmed.pop_front() {
            self.known.insert(name, text);
        }
    }

    /// What was asked up to the next `Sync` is not done.
    fn fail(&mut self) {
        self.unconfirmed.retain(|(.., syncs)| *syncs > self.syncs_answered);
    }

    fn close(&mut self, name: &str) {
        self.known.remove(name);
        self.unconfirmed.retain(|(of, ..)| of != name);
    }

    /// What a statement in SQL takes away.
    fn forget(&mut self, text: &str) {
        let text = text.trim_end_matches([';', ' ']);
        match text.split_once(' ') {
            Some(("deallocate" | "discard", "all")) => self.known.clear(),
            Some(("deallocate", name)) => self.close(name.trim_start_matches("prepare ").trim_matches('"')),
            _ => {}
        }
    }

    fn get(&self, name: &str) -> String {
        let unconfirmed = self.unconfirmed.iter().rev().find(|(of, ..)| of == name).map(|(_, text, _)| text);
        unconfirmed.or_else(|| self.known.get(name)).cloned().unwrap_or_else(|| UNKNOWN.to_owned())
    }
}

impl Client {
    fn says(&mut self, message: &Message, golden: &Golden) {
        let field = |name: &str| message.first(name).unwrap_or_default().to_owned();
        let text = || database::statement(&field("pgsql.query"), Dialect::PostgreSql, golden);
        let portal =
            |portals: &HashMap<String, String>, name| portals.get(name).cloned().unwrap_or_else(|| UNKNOWN.to_owned());
        match message.first("pgsql.type").unwrap_or_default() {
            "Startup message" => self.asks("CONNECT".to_owned(), Asked::Query),
            "Simple query" => {
                self.statements.forget(&field("pgsql.query").to_ascii_lowercase());
                self.asks(text(), Asked::Query);
            }
            "Function call" => self.asks("CALL".to_owned(), Asked::Query),
            "Parse" => {
                self.statements.parse(field("pgsql.statement"), text());
                self.group.push(Some(text()));
            }
            "Bind" => {
                let statement = self.statements.get(&field("pgsql.statement"));
                self.portals.insert(field("pgsql.portal"), statement.clone());
                self.group.push(Some(statement));
            }
            "Describe" => {
                let of_portal = message.first("pgsql.portal").map(|name| portal(&self.portals, name));
                self.group.push(of_portal.or_else(|| Some(self.statements.get(&field("pgsql.statement")))));
            }
            "Close" => {
                match message.first("pgsql.portal") {
                    Some(name) => drop(self.portals.remove(name)),
                    None => self.statements.close(&field("pgsql.statement")),
                }
                self.group.push(None);
            }
            "Execute" => self.asks(portal(&self.portals, &field("pgsql.portal")), Asked::Execute),
            "Flush" => self.prepared(),
            "Sync" => {
                self.prepared();
                self.statements.syncs += 1;
                self.asked.push_back(Asked::Sync);
            }
            _ => {}
        }
    }

    fn asks(&mut self, request: String, asked: Asked) {
        self.group.clear();
        self.requests.push(request);
        self.asked.push_back(asked);
    }

    /// No `Execute` follows.
    fn prepared(&mut self) {
        let group = std::mem::take(&mut self.group);
        if group.is_empty() {
            return;
        }
        let mut statements = group.iter().flatten();
        let first = statements.next();
        let is_one = statements.all(|statement| Some(statement) == first);
        self.requests.extend(first.map(|first| if is_one { first.clone() } else { UNKNOWN.to_owned() }));
        self.asked.push_back(Asked::Group { left: group.len(), is_told: first.is_some() });
    }
}

impl Server {
    fn says(&mut self, message: &Message, client: &mut Client) {
        let kind = message.first("pgsql.type").unwrap_or_default();
        // At any time, and of nothing that was asked.
        if matches!(kind, "Parameter status" | "Notice" | "Notification" | "Backend key data") {
            return;
        }
        match kind {
            "Parse completion" => client.statements.confirm(),
            // Until the data has come, the server does not look at it.
            "CopyIn response" if matches!(client.asked.get(1), Some(Asked::Sync)) => {
                client.asked.remove(1);
                client.statements.syncs_answered += 1;
            }
            "Error" => client.statements.fail(),
            _ => {}
        }
        if let (Some(Asked::Sync), "Error", Some(last)) = (client.asked.front(), kind, self.responses.last_mut()) {
            // What `Sync` commits was refused: so was what came last.
            *last = message.first("pgsql.code").map(database::error).unwrap_or_default();
        }
        let Some(front) = client.asked.front_mut() else { return };
        let is_prepared = ["Parse completion", "Bind completion", "Close completion", "Row description", "No data"];
        let (is_over, is_told) = match front {
            Asked::Query => (kind == "Ready for query", true),
            Asked::Sync => (kind == "Ready for query", false),
            Asked::Execute => {
                (["Command completion", "Empty query", "Portal suspended", "Error"].contains(&kind), true)
            }
            Asked::Group { left, is_told } => {
                *left -= usize::from(is_prepared.contains(&kind));
                (*left == 0 || kind == "Error", *is_told)
            }
        };
        if is_told {
            self.answer.get_or_insert_default().take(kind, message);
        }
        if is_over {
            self.answered();
            client.statements.syncs_answered += usize::from(matches!(front, Asked::Sync));
            client.asked.pop_front();
        }
        if is_over && kind == "Error" {
            self.pass_over(&mut client.asked);
        }
    }

    fn answered(&mut self) {
        if let Some(Answer { rows, error, .. }) = self.answer.take() {
            self.responses.push(error.unwrap_or_else(|| database::rows(rows)));
        }
    }

    /// What else was asked in front of `Sync` is not done after an error.
    fn pass_over(&mut self, asked: &mut VecDeque<Asked>) {
        let n = asked.iter().take_while(|asked| matches!(asked, Asked::Execute | Asked::Group { .. })).count();
        let told = asked.drain(..n).filter(|asked| !matches!(asked, Asked::Group { is_told: false, .. }));
        self.responses.extend(told.map(|_| database::error("pipeline_aborted")));
    }
}

impl Answer {
    fn take(&mut self, kind: &str, message: &Message) {
        match kind {
            "Data row" => self.rows += 1,
            "CopyOut response" => self.copies_out = true,
            "Command completion" if std::mem::take(&mut self.copies_out) => {
                let tag = message.first("pgsql.tag").unwrap_or_default();
                self.rows += tag.rsplit(' ').next().and_then(|rows| rows.parse().ok()).unwrap_or(0);
            }
            "Error" if self.error.is_none() => self.error = message.first("pgsql.code").map(database::error),
            _ => {}
        }
    }
}
