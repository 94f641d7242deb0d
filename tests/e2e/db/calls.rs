//! What a request must have called, and what the spans of those calls must say.

use rig::database::{self, Server, Transport};
use rig::{Database, Kind, Span};
use std::collections::BTreeMap;

/// What a statement or command was, as its span tells. Two of a request may be alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Call {
    /// `db.query.text`
    pub text: String,
    /// `db.operation.name`
    pub operation: String,
    /// `db.collection.name`; empty where there is none.
    pub collection: String,
    /// `db.response.status_code` and `error.type`; empty where it went well.
    pub error: &'static str,
}

/// One that goes well, on no collection.
pub(super) fn call(operation: &str, text: &str) -> Call {
    Call { text: text.to_owned(), operation: operation.to_owned(), ..Call::default() }
}

impl Call {
    pub(super) fn on(self, collection: &str) -> Self {
        Self { collection: collection.to_owned(), ..self }
    }

    pub(super) fn failing(self, error: &'static str) -> Self {
        Self { error, ..self }
    }

    /// A statement whose text cannot be known.
    pub(super) fn unknown() -> Self {
        call("", UNKNOWN)
    }

    pub(super) fn of(span: &Span) -> Self {
        let text = |key| span.text(key).to_owned();
        let error = ["23505", "1062", "WRONGTYPE", ""].into_iter().find(|error| *error == span.text("error.type"));
        Self {
            text: text("db.query.text"),
            operation: text("db.operation.name"),
            collection: text("db.collection.name"),
            error: error.unwrap_or("another"),
        }
    }
}

/// Where calls go, and what is known of it.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub database: &'a Database,
    pub transport: Transport,
    /// Were the connections made before the agent's eyes? What the client said then is not known otherwise.
    pub seen_from_start: bool,
    /// May one have been made anew since?
    pub reopens: bool,
}

impl Target<'_> {
    /// What each span of a call says.
    pub(super) fn check(&self, span: &Span) {
        let said = span.text("db.system.name");
        let system = match self.database.server {
            Server::Postgres => "postgresql",
            // The server says so when a session starts, in front of TLS, and never again. Of some clients' plaintext it shows as well,
            // and what was said in front of it is known for most.
            Server::MariaDb if self.transport == Transport::Tls && said == "mariadb" => "mariadb",
            Server::MariaDb if self.seen_from_start && self.transport != Transport::Tls => "mariadb",
            Server::MariaDb => "mysql",
            Server::Redis => "redis",
        };
        assert_eq!(said, system, "{span:#?}");
        self.check_place(span);
        self.check_names(span);
        // Each of the queries has one row.
        let rows = returns_row(span).then_some(1);
        assert_eq!(span.number("db.response.returned_rows"), rows, "{span:#?}");
        assert_eq!(span.text("error.type"), span.text("db.response.status_code"), "{span:#?}");
        assert_eq!(span.status.code, if span.text("error.type").is_empty() { 0 } else { 2 }, "{span:#?}");
        // As for the database, the handshake must have been seen.
        let has_version = span.attributes.contains_key("tls.protocol.version");
        let tls = self.transport == Transport::Tls && (self.seen_from_start || self.reopens && has_version);
        assert_eq!(has_version, tls, "{span:#?}");
        let values = span.attributes.values().map(ToString::to_string);
        assert!(!values.chain([span.name.clone()]).any(|value| tells_secrets(&value)), "{span:#?}");
    }

    fn check_place(&self, span: &Span) {
        let socket = self.database.socket().display().to_string();
        let (address, transport) = match self.transport {
            Transport::Unix => (socket.as_str(), "unix"),
            Transport::Tcp | Transport::Tls => ("127.0.0.1", "tcp"),
        };
        let port = self.database.port(self.transport).map(i64::from);
        assert_eq!((span.text("server.address"), span.number("server.port")), (address, port), "{span:#?}");
        assert_eq!(span.text("network.transport"), transport, "{span:#?}");
        assert_eq!((span.text("network.peer.address"), span.number("network.peer.port")), (address, port), "{span:#?}");
    }

    fn check_names(&self, span: &Span) {
        let namespace = match self.database.server {
            Server::Postgres | Server::MariaDb => database::NAME,
            Server::Redis => database::INDEX,
        };
        let is_known = self.seen_from_start || self.reopens && !span.text("db.namespace").is_empty();
        assert_eq!(span.text("db.namespace"), if is_known { namespace } else { "" }, "{span:#?}");
        let (operation, collection) = (span.text("db.operation.name"), span.text("db.collection.name"));
        if span.text("db.query.text") != UNKNOWN {
            assert!(span.name.starts_with(operation) && span.name.contains(collection), "{span:#?}");
        }
        match self.database.server {
            Server::Redis => assert_eq!(span.text("db.query.summary"), "", "{span:#?}"),
            Server::Postgres | Server::MariaDb => {
                assert!(
                    span.name == span.text("db.query.summary") || span.text("db.query.text") == UNKNOWN,
                    "{span:#?}"
                );
            }
        }
    }
}

fn returns_row(span: &Span) -> bool {
    let text = span.text("db.query.text");
    let returns =
        text.starts_with("SELECT") || text.starts_with("WITH") || text.contains("RETURNING") || text == UNKNOWN;
    span.text("db.system.name") != "redis" && span.text("error.type").is_empty() && returns
}

/// Text of a statement that was prepared before the agent came.
pub(super) const UNKNOWN: &str = "<unknown>";

/// The password, and values of statements and commands of `tests/apps/db`.
fn tells_secrets(value: &str) -> bool {
    [database::PASSWORD, "Eve", "tea", "milk", "sugar"].iter().any(|secret| value.contains(secret))
}

/// Is a number of a request in its text, as `r17` in what `tests/apps/db` asks?
pub(super) fn is_marked(span: &Span) -> bool {
    let words = span.text("db.query.text").split(|c: char| !c.is_ascii_alphanumeric());
    words.filter_map(|word| word.strip_prefix('r')).any(|rest| rest.parse::<usize>().is_ok())
}

/// The calls of each request to `path`, all in the order in which they started.
pub(super) fn requests<'a>(spans: &'a [Span], path: &str) -> Vec<Vec<&'a Span>> {
    let is_it = |span: &&Span| span.kind == Kind::Server && span.text("url.path") == path;
    let in_order = |mut spans: Vec<&'a Span>| -> Vec<&'a Span> {
        spans.sort_by_key(|span| span.start_unix_ns);
        spans
    };
    let requests = in_order(spans.iter().filter(is_it).collect());
    let calls = |request: &&Span| in_order(spans.iter().filter(|span| span.is_child_of(request)).collect());
    requests.iter().map(calls).collect()
}

/// The calls that are expected of `who` without those that were made, in whatever order they were seen to start: commands of a
/// pipeline start at once. Panics where there is any other.
fn without(who: &str, spans: &[&Span], made: &[Call], mut expected: Vec<Call>) -> Vec<Call> {
    for call in made {
        let place = expected.iter().position(|expected| expected == call);
        let place = place.unwrap_or_else(|| panic!("{who}: not expected, or not once more: {call:?} {}", Lines(spans)));
        expected.swap_remove(place);
    }
    expected
}

/// What some requests together must have called: `without` of a hundred calls may have no parent, where nobody can tell whose they
/// are.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub without: usize,
    count: usize,
    lacking: Vec<Call>,
}

impl Account {
    pub(super) fn new(without: usize) -> Self {
        Self { without, ..Self::default() }
    }

    /// `made` is what the children of the request to `path` are, as the test sees them. Panics where there is any that is not `expected`.
    pub(super) fn request(&mut self, path: &str, children: &[&Span], made: &[Call], expected: Vec<Call>) {
        self.count += expected.len();
        self.lacking.extend(without(path, children, made, expected));
    }

    /// What has no parent is what requests lack, but for as many calls as were not seen, and says why. Returns it, and how many
    /// were not seen.
    pub(super) fn close(self, spans: &[Span], see: impl Fn(&Span) -> Call, unseen: usize) -> (Vec<&Span>, usize) {
        let roots = spans.iter().filter(|span| span.kind == Kind::Client && span.parent_span_id.is_empty());
        let mut strays: Vec<_> = roots.filter(|span| is_marked(span) || self.lacking.contains(&see(span))).collect();
        // A statement is unknown as well if its preparation was not seen.
        let is_unknown = |call: &Call| call.text == UNKNOWN;
        let expected = self.lacking.iter().filter(|call| is_unknown(call)).count();
        let mut unknown = 0;
        strays.retain(|span| {
            unknown += usize::from(is_unknown(&see(span)));
            !is_unknown(&see(span)) || unknown <= expected || unknown > expected + unseen
        });
        let calls: Vec<_> = strays.iter().map(|span| see(span)).collect();
        let (lacking, count) = (self.lacking.len(), self.count);
        let lost = without("who has no parent", &strays, &calls, self.lacking);
        let is_lost = |span: &&Span| lost.contains(&see(span));
        let others = || Lines(&spans.iter().filter(is_lost).collect::<Vec<_>>()).to_string();
        assert!(lost.len() <= unseen, "neither children nor without a parent: {lost:?} {}", others());
        assert!(strays.iter().all(|span| !span.text("autospan.parent.reason").is_empty()), "{}", Lines(&strays));
        let mut reasons = BTreeMap::new();
        strays.iter().for_each(|span| *reasons.entry(span.text("autospan.parent.reason")).or_insert(0) += 1);
        println!("{lacking} of {count} calls have no parent, {} of which no span: {reasons:?}", lost.len());
        assert!(
            100 * (lacking - lost.len()) <= self.without * count,
            "{lacking} of {count} have no parent: {}",
            Lines(&strays)
        );
        (strays, lost.len())
    }
}

/// One line for each span, for the reader of a failed test.
pub(super) struct Lines<'a>(pub &'a [&'a Span]);

impl std::fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|span| {
            let (trace, parent) = (&span.trace_id, &span.parent_span_id);
            let reason = span.text("autospan.parent.reason");
            write!(f, "\n{trace} {parent:16} {reason} {:?} {} {:?}", span.kind, span.name, Call::of(span))
        })
    }
}
