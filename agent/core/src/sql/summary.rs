//! What a statement does to what: `{operation} {target} {target} {operation} …`, in the order of the text.
//! <https://opentelemetry.io/docs/specs/semconv/db/database-spans/#generating-a-summary-of-the-query>
//!
//! No grammar: a state per bracket says what the next words may be. A word is an operation only where a statement may
//! begin, a name is a target only where one is due, and a target is dropped rather than guessed.

use super::keyword::Keyword;
use super::lexer::{Kind, Token};
use super::operation::{Operations, of_object, of_verb};
use super::{Dialect, SUMMARY_BYTES_MAX};
use alloc::string::String;
use alloc::vec::Vec;

/// Bytes that most summaries fit in.
const ROOM: usize = 48;
/// Brackets deeper than this are passed over.
const DEPTH_MAX: usize = 64;
/// Names that WITH gives to queries; where there are more, any name may be one.
const QUERY_NAMES_MAX: usize = 32;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A statement; one that writes, too.
    Statement {
        writes: bool,
    },
    /// The statement that EXPLAIN explains, behind options.
    Explained,
    /// The queries of WITH, and then the statement.
    With {
        recursive: bool,
        query: u8,
        due: With,
    },
    /// The FROM of SELECT.
    Select,
    /// The FROM of DELETE.
    Delete,
    /// The FROM of UPDATE.
    Update,
    Target(Target),
    /// More targets, behind a comma or JOIN.
    Targets,
    /// The rows of INSERT, or a query.
    Rows,
    /// Queries, if anything.
    Any,
    /// The ON of an index.
    Indexed,
    /// A keyword. Behind it is a statement; behind INTO a target.
    Until(Keyword),
    /// What kind of object the verb is for.
    Object(Keyword),
    /// Nothing, up to the semicolon.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum With {
    Name,
    As,
    Query,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// Of FROM and JOIN: tables, functions, queries, and those in brackets.
    From,
    /// Of USING: a table, a query, or columns in brackets.
    Using,
    /// Of INSERT and the like: one table.
    Into,
    /// Of `SELECT … INTO`.
    SelectInto,
    /// Of CREATE and ALTER.
    Table,
    /// Of TRUNCATE and the like: tables.
    Tables,
    /// Of COPY: a table, or a query in brackets.
    Copy,
    Procedure,
    Index,
    /// Anything else that has a name.
    Object,
}

impl Target {
    fn is_collection(self) -> bool {
        !matches!(self, Self::Procedure | Self::Index | Self::Object)
    }

    /// What is due behind it.
    fn then(self) -> State {
        match self {
            Self::From | Self::Using | Self::Tables => State::Targets,
            Self::Into => State::Rows,
            Self::SelectInto => State::Select,
            Self::Table | Self::Copy | Self::Procedure => State::Any,
            Self::Index => State::Indexed,
            Self::Object => State::Nothing,
        }
    }
}

/// A query that WITH gives a name.
#[derive(Clone, Copy, Debug)]
struct Query<'a> {
    name: &'a str,
    /// From its end on, or from its start where it is recursive: until then the name is a table's.
    known: bool,
}

/// A bracket that is open.
#[derive(Clone, Copy, Debug)]
struct Level {
    /// What is due behind it.
    state: State,
    /// Which of the queries of WITH it holds, counted from 1.
    query: u8,
    /// How many have names outside.
    queries: u8,
}

/// A target that may go on.
#[derive(Clone, Copy, Debug)]
struct Name<'a> {
    target: Target,
    /// Length of the summary without it.
    start: usize,
    first: &'a str,
    qualified: bool,
    /// A dot was last.
    dotted: bool,
}

/// One name, if there is no other.
#[derive(Clone, Copy, Debug, Default)]
struct Sole {
    /// Where it is in the summary.
    at: Option<(usize, usize)>,
    several: bool,
}

impl Sole {
    /// Adds what the summary ends with.
    fn add(&mut self, summary: &str, start: usize) {
        match self.at {
            None => self.at = Some((start, summary.len())),
            Some((from, to)) => self.several |= summary.get(from..to) != summary.get(start..),
        }
    }

    fn of(self, summary: &str) -> Option<String> {
        let (from, to) = self.at.filter(|_| !self.several)?;
        summary.get(from..to).map(String::from)
    }
}

#[derive(Debug)]
pub(super) struct Summary<'a> {
    text: String,
    /// Something did not fit.
    full: bool,
    dialect: Dialect,
    state: State,
    levels: [Level; DEPTH_MAX],
    depth: usize,
    name: Option<Name<'a>>,
    previous: Keyword,
    earlier: Keyword,
    queries: Vec<Query<'a>>,
    /// Others have names as well.
    more_queries: bool,
    operations: Operations,
    /// Of the first statement.
    operation: Option<&'static str>,
    statements: usize,
    begun: bool,
    /// What follows is the body of a function.
    body: bool,
    /// … once its name is read.
    body_follows: bool,
    collections: Sole,
    procedures: Sole,
}

/// What a reader gets.
#[derive(Debug)]
pub(super) struct Summarised {
    pub(super) text: String,
    pub(super) operation: Option<&'static str>,
    pub(super) collection: Option<String>,
    pub(super) procedure: Option<String>,
}

impl<'a> Summary<'a> {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            text: String::with_capacity(ROOM),
            full: false,
            dialect,
            state: State::Statement { writes: true },
            levels: [Level { state: State::Nothing, query: 0, queries: 0 }; DEPTH_MAX],
            depth: 0,
            name: None,
            previous: Keyword::Other,
            earlier: Keyword::Other,
            queries: Vec::new(),
            more_queries: false,
            operations: Operations::default(),
            operation: None,
            statements: 0,
            begun: false,
            body: false,
            body_follows: false,
            collections: Sole::default(),
            procedures: Sole::default(),
        }
    }

    pub(super) fn token(&mut self, token: &Token<'a>) {
        if self.body || self.name_goes_on(token) {
            return;
        }
        if let Some(name) = self.name.take() {
            self.finish_name(name, Some(token));
        }
        match token.kind {
            Kind::Open => self.open(),
            Kind::Close => self.close(),
            Kind::Semicolon => self.finish_statement(),
            // Deeper than anybody looks.
            _ if self.depth > DEPTH_MAX => {}
            _ => self.inside(token),
        }
        self.begun |= token.kind != Kind::Semicolon;
        (self.earlier, self.previous) = (self.previous, token.keyword);
    }

    pub(super) fn finish(mut self, truncated: bool) -> Summarised {
        if let Some(name) = self.name.take() {
            self.finish_name(name, None);
        }
        self.finish_statement();
        // What was cut off may act on others.
        let collection = self.collections.of(&self.text).filter(|_| !truncated && !self.full);
        let procedure = self.procedures.of(&self.text);
        let operation = self.operation.filter(|_| self.statements == 1);
        Summarised { text: self.text, operation, collection, procedure }
    }

    fn inside(&mut self, token: &Token<'a>) {
        match token.kind {
            Kind::Word => self.word(token),
            Kind::Comma => self.comma(),
            _ => self.other(token),
        }
    }
}

// === impl Summary: brackets and statements ===

impl<'a> Summary<'a> {
    fn open(&mut self) {
        let (inside, behind) = self.bracket();
        let query = if let State::With { query, due: With::Query, .. } = self.state { query } else { 0 };
        self.state = behind;
        if let Some(level) = self.levels.get_mut(self.depth) {
            *level = Level { state: behind, query, queries: self.queries.len() as u8 };
            self.state = inside;
        }
        self.depth += 1;
    }

    /// What is due inside a bracket, and behind it.
    fn bracket(&self) -> (State, State) {
        let query = State::Statement { writes: false };
        match self.state {
            State::Nothing => (State::Nothing, State::Nothing),
            State::Statement { writes } => (State::Statement { writes }, State::Any),
            State::Target(Target::From) => (self.state, State::Targets),
            State::Target(Target::Using) => (query, State::Targets),
            State::Target(Target::Copy) => (State::Statement { writes: true }, State::Any),
            State::With { recursive, query, due: With::Query } => {
                (State::Statement { writes: true }, State::With { recursive, query, due: With::As })
            }
            behind => (query, behind),
        }
    }

    fn close(&mut self) {
        let Some(depth) = self.depth.checked_sub(1) else { return };
        self.depth = depth;
        let Some(level) = self.levels.get(depth) else { return };
        self.state = level.state;
        self.queries.truncate(usize::from(level.queries));
        if let Some(query) = usize::from(level.query).checked_sub(1).and_then(|i| self.queries.get_mut(i)) {
            query.known = true;
        }
    }

    fn finish_statement(&mut self) {
        // Brackets that are open say nothing of what is in front of them.
        let outer = self.levels.iter().take(self.depth).map(|level| level.state);
        if let Some(State::Object(verb)) = outer.chain([self.state]).find(|state| matches!(state, State::Object(_))) {
            self.depth = 0;
            self.operate(of_verb(verb));
        }
        if self.begun {
            self.statements += 1;
            self.operation = self.operations.sole();
        }
        self.operations = Operations::default();
        self.queries.clear();
        self.more_queries = false;
        (self.state, self.depth, self.begun) = (State::Statement { writes: true }, 0, false);
    }

    fn operate(&mut self, operation: Option<&'static str>) {
        let Some(operation) = operation else { return };
        self.operations.add(operation, self.depth > 0);
        let start = self.text.len();
        self.push(operation);
        self.full |= self.text.len() == start;
    }

    /// Adds a word to the summary, if there is room.
    fn push(&mut self, word: &str) -> bool {
        let blank = if self.text.is_empty() { "" } else { " " };
        let fits = !self.full && self.text.len() + blank.len() + word.len() <= SUMMARY_BYTES_MAX;
        if fits {
            self.text.push_str(blank);
            self.text.push_str(word);
        }
        fits
    }
}

// === impl Summary: words ===

impl<'a> Summary<'a> {
    fn word(&mut self, token: &Token<'a>) {
        let keyword = token.keyword;
        match self.state {
            State::Statement { writes } => self.statement(keyword, writes),
            State::Explained if is_explained(keyword) => self.verb(keyword),
            State::With { .. } => self.with(token),
            State::Target(target) => self.target(token, target),
            State::Targets => self.targets(keyword),
            State::Until(awaited) if keyword == awaited => self.awaited(keyword),
            State::Object(verb) => self.object(verb, keyword),
            State::Select | State::Delete | State::Update => self.columns(keyword),
            State::Rows => self.rows(keyword),
            State::Any => self.any(keyword),
            State::Indexed if keyword == Keyword::On => self.state = State::Target(Target::Table),
            State::Explained | State::Until(_) | State::Indexed | State::Nothing => {}
        }
    }

    fn comma(&mut self) {
        self.state = match self.state {
            State::Targets => State::Target(Target::From),
            State::Indexed => State::Target(Target::Index),
            State::With { recursive, query, due: With::As } => State::With { recursive, query, due: With::Name },
            same => same,
        };
    }

    /// A name in quotes, or what is neither word nor name.
    fn other(&mut self, token: &Token<'a>) {
        match self.state {
            State::Target(target) if token.kind == Kind::Quoted => self.start_name(token, target),
            State::Target(target) => self.state = target.then(),
            State::With { due: With::Name, .. } if token.kind == Kind::Quoted => self.with(token),
            State::Statement { .. } if self.depth > 0 => self.state = State::Any,
            _ => {}
        }
    }

    fn statement(&mut self, keyword: Keyword, writes: bool) {
        let nested = self.depth > 0;
        let begins = match keyword {
            Keyword::Select | Keyword::With => true,
            Keyword::Insert | Keyword::Update | Keyword::Delete | Keyword::Merge => writes,
            _ => !nested,
        };
        match begins {
            true => self.verb(keyword),
            false => self.state = State::Any,
        }
    }

    /// Begins a statement. None is known by another word.
    fn verb(&mut self, verb: Keyword) {
        use Keyword::*;
        if !matches!(verb, Create | Drop | Alter | Start) {
            self.operate(of_verb(verb));
        }
        self.state = match verb {
            Select => State::Select,
            Delete => State::Delete,
            Insert | Replace => State::Target(Target::Into),
            Update | Merge => State::Target(Target::From),
            With => State::With { recursive: false, query: 0, due: self::With::Name },
            Create | Drop | Alter | Start => State::Object(verb),
            Analyze | Check | Desc | Describe | Lock | Optimize | Refresh | Rename | Repair | Table | Truncate
            | Vacuum => State::Target(Target::Tables),
            Copy => State::Target(Target::Copy),
            Call | Exec => State::Target(Target::Procedure),
            Use => State::Target(Target::Object),
            Explain => State::Explained,
            Prepare => State::Until(As),
            Declare => State::Until(For),
            Load => State::Until(Into),
            Set | Values => State::Any,
            _ => State::Nothing,
        };
    }

    fn with(&mut self, token: &Token<'a>) {
        let State::With { recursive, query, due } = self.state else { return };
        self.state = match (due, token.keyword) {
            (With::Name, Keyword::Recursive) => State::With { recursive: true, query, due },
            (With::Name, _) => self.name_query(token, recursive),
            (With::As, Keyword::As) => State::With { recursive, query, due: With::Query },
            (With::As, keyword) if is_explained(keyword) => return self.verb(keyword),
            _ => return,
        };
    }

    fn name_query(&mut self, token: &Token<'a>, recursive: bool) -> State {
        self.more_queries |= self.queries.len() == QUERY_NAMES_MAX;
        let query = if self.more_queries {
            0
        } else {
            self.queries.push(Query { name: without_quotes(token.text), known: recursive });
            self.queries.len() as u8
        };
        State::With { recursive, query, due: With::As }
    }

    fn awaited(&mut self, keyword: Keyword) {
        self.state = match keyword {
            Keyword::Into => State::Target(Target::Into),
            _ => State::Statement { writes: true },
        };
    }

    fn object(&mut self, verb: Keyword, object: Keyword) {
        use Keyword::*;
        let Some(operation) = of_object(verb, object) else { return };
        // `CREATE EVENT TRIGGER`
        if object == Event && self.dialect == Dialect::PostgreSql {
            return;
        }
        self.operate(Some(operation));
        self.body_follows = verb == Create && matches!(object, Event | Function | Procedure | Trigger);
        self.state = match object {
            Table | View if verb == Drop => State::Target(Target::Tables),
            Table | View => State::Target(Target::Table),
            Index => State::Target(Target::Index),
            // People, and what has no name.
            Default | Role | System | Transaction | User => State::Nothing,
            _ => State::Target(Target::Object),
        };
    }

    fn select(&mut self, keyword: Keyword) {
        if keyword == Keyword::Select {
            self.verb(keyword);
        }
    }

    /// Behind `SELECT`, `DELETE` or `UPDATE … SET`.
    fn columns(&mut self, keyword: Keyword) {
        let compares = self.previous == Keyword::Distinct && matches!(self.earlier, Keyword::Is | Keyword::Not);
        let into = self.state == State::Select && self.dialect == Dialect::PostgreSql;
        match keyword {
            // `SELECT a AS from`
            _ if self.previous == Keyword::As => {}
            Keyword::From if !compares => self.state = State::Target(Target::From),
            Keyword::Into if into => self.state = State::Target(Target::SelectInto),
            _ => self.select(keyword),
        }
    }

    fn targets(&mut self, keyword: Keyword) {
        use Keyword::*;
        match keyword {
            // `USE INDEX FOR JOIN (…)`
            Join | StraightJoin if self.previous != For => self.state = State::Target(Target::From),
            Using => self.state = State::Target(Target::Using),
            Set => self.state = State::Update,
            Except | Fetch | Group | Having | Intersect | Into | Limit | Of | Offset | Order | Returning | Union
            | Values | When | Where | Window => self.state = State::Any,
            _ => self.any(keyword),
        }
    }

    fn rows(&mut self, keyword: Keyword) {
        use Keyword::*;
        match keyword {
            Default | On | Returning | Set | Values => self.state = State::Any,
            Select | Table | With => self.verb(keyword),
            _ => {}
        }
    }

    fn any(&mut self, keyword: Keyword) {
        match keyword {
            Keyword::With if self.previous == Keyword::As => self.verb(keyword),
            _ => self.select(keyword),
        }
    }
}

// === impl Summary: targets ===

impl<'a> Summary<'a> {
    fn target(&mut self, token: &Token<'a>, target: Target) {
        match token.keyword {
            Keyword::Select | Keyword::With => self.verb(token.keyword),
            Keyword::On if target == Target::Index => self.state = State::Target(Target::Table),
            keyword if self.passes(keyword, target) => {}
            keyword if ends_targets(keyword) => {
                self.state = target.then();
                self.word(token);
            }
            _ => self.start_name(token, target),
        }
    }

    /// Whether the word may stand in front of a name.
    fn passes(&self, keyword: Keyword, target: Target) -> bool {
        use Keyword::*;
        match keyword {
            Into | Lateral | Only | Table => true,
            Delayed | HighPriority | Ignore | LowPriority | Quick => self.dialect == Dialect::MySql,
            Concurrently | Exists | If | Not => target != Target::From,
            Analyze | Freeze | Full | Materialized | Tables | Verbose | View => target == Target::Tables,
            _ => false,
        }
    }

    fn start_name(&mut self, token: &Token<'a>, target: Target) {
        let (start, first) = (self.text.len(), without_quotes(token.text));
        let dual = self.dialect == Dialect::MySql && token.keyword == Keyword::Dual;
        self.state = target.then();
        if dual {
            return;
        }
        self.full |= !self.push(plain(token.text));
        self.name = Some(Name { target, start, first, qualified: false, dotted: false });
    }

    /// Takes `.name` behind a name.
    fn name_goes_on(&mut self, token: &Token<'a>) -> bool {
        let Some(name) = &mut self.name else { return false };
        match token.kind {
            Kind::Dot if !name.dotted => name.dotted = true,
            Kind::Word | Kind::Quoted if name.dotted => {
                (name.dotted, name.qualified) = (false, true);
                let start = name.start;
                self.qualify(start, plain(token.text));
            }
            _ => return false,
        }
        true
    }

    fn qualify(&mut self, start: usize, part: &str) {
        self.full |= self.text.len() + 1 + part.len() > SUMMARY_BYTES_MAX;
        if self.full {
            self.text.truncate(start);
        } else {
            self.text.push('.');
            self.text.push_str(part);
        }
    }

    /// `next` is what shows that the name is complete.
    fn finish_name(&mut self, name: Name, next: Option<&Token<'a>>) {
        self.body = self.body_follows;
        let called = next.is_some_and(|next| next.kind == Kind::Open);
        // `FROM ROWS FROM (…)`
        let from = next.is_some_and(|next| next.keyword == Keyword::From);
        let lists = matches!(name.target, Target::From | Target::Using);
        if name.dotted || lists && (called || from) || name.target.is_collection() && self.is_query(&name) {
            self.text.truncate(name.start);
            return;
        }
        // Behind the blank; there is nothing where it did not fit.
        let start = name.start + 1;
        match name.target {
            _ if start > self.text.len() => {}
            Target::Procedure => self.procedures.add(&self.text, start),
            target if target.is_collection() => self.collections.add(&self.text, start),
            _ => {}
        }
    }

    fn is_query(&self, name: &Name) -> bool {
        let named = |query: &Query| query.known && query.name.eq_ignore_ascii_case(name.first);
        !name.qualified && (self.more_queries || self.queries.iter().any(named))
    }
}

/// Whether a statement that begins with the word may stand behind EXPLAIN, and behind the queries of WITH.
fn is_explained(keyword: Keyword) -> bool {
    use Keyword::*;
    matches!(
        keyword,
        Create | Declare | Delete | Execute | Insert | Merge | Replace | Select | Table | Update | Values | With
    )
}

/// Words that are no names without quotes, in either dialect.
fn ends_targets(keyword: Keyword) -> bool {
    use Keyword::*;
    matches!(
        keyword,
        Except | For | From | Group | Having | Intersect | Join | Limit | On | Order | Union | Using | Where | Values
    )
}

fn without_quotes(name: &str) -> &str {
    let quoted = |quote| name.strip_prefix(quote)?.strip_suffix(quote);
    quoted('"').or_else(|| quoted('`')).unwrap_or(name)
}

/// The name without quotes, where it can be read without.
fn plain(name: &str) -> &str {
    let inner = without_quotes(name);
    let needs_quotes = |b: u8| b <= b' ' || matches!(b, b'"' | b'`' | b'\'' | b'.' | 0x7f);
    if inner.is_empty() || inner.bytes().any(needs_quotes) { name } else { inner }
}
