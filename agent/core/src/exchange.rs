//! Exchanges: a request with its response, from the request's first byte until nobody can refer to it any more.

use crate::causality::{Evidence, ExchangeId, RootReason, TokenOwner};
use crate::connection::{Address, Connection, Origin};
use crate::event::Tls;
use crate::join::Key;
use crate::limits::{EXCHANGES_MAX, HELD_BYTES_MAX};
use crate::map::HashMap;
use crate::protocol::{MessageEnd, RequestHead, ResponseHead};
use crate::span::{Parent, SpanId, SpanKind, TraceId};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use autospan_abi::Role;

/// Tokens of a request's body that are remembered: the carrier of a thread is always its latest.
const BODY_TOKENS_MAX: usize = 4;

#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) id: ExchangeId,
    pub(crate) connection: u64,
    pub(crate) address: Arc<Address>,
    pub(crate) tls: Option<Tls>,
    pub(crate) kind: SpanKind,
    pub(crate) origin: Origin,
    /// Taken when the span is emitted.
    pub(crate) request: Option<Box<RequestHead>>,
    pub(crate) request_end: MessageEnd,
    pub(crate) response: Option<Box<ResponseHead>>,
    pub(crate) response_end: MessageEnd,
    /// When the response's head was complete.
    pub(crate) first_byte: Option<u64>,
    /// HTTP/2: the error code with which either side gave it up.
    pub(crate) reset: Option<u32>,
    pub(crate) end: Option<u64>,
    /// Its answer may have been complete since then: nobody is taken to work on it or to wait for it.
    pub(crate) end_is_open: Option<u64>,
    /// Client: the request that it was made for. Server: the client end, once it is due.
    pub(crate) parent: Result<(ExchangeId, Evidence), RootReason>,
    /// Client: the request that waits for it, as far as that can be told. It need not be sure enough for a parent.
    pub(crate) waiting: Option<ExchangeId>,
    /// Server: calls that it waits for.
    pub(crate) open_calls: u32,
    /// Server: a call was made for it and answered, both by the thread that read it.
    pub(crate) has_waited: bool,
    /// Server: what went on from the turn of a response to it may have been another request.
    pub(crate) reuse_doubted: bool,
    /// Client: work that nobody waits for may have waited for the connection instead of the parent, which its end will show. Server: such
    /// a call was made for it.
    pub(crate) is_guess: bool,
    /// Server: a call was made for it more often than for any before it, one of which was not its own then.
    pub(crate) is_exceeded: bool,
    pub(crate) join: Option<Key>,
    /// Client: the thread that calls was made for the parent, as far as the thread's end will show.
    pub(crate) awaits_exit: bool,
    /// Decided once, when records that could change it have all arrived.
    pub(crate) context: Option<Context>,
    /// The context could be decided but for another's.
    pub(crate) is_due: bool,
    /// Exchanges whose contexts are decided after this one's.
    pub(crate) dependents: Vec<ExchangeId>,
    head_token: u64,
    body_tokens: [u64; BODY_TOKENS_MAX],
    body_token_count: usize,
}

/// Place of an exchange in its trace.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) trace_id: TraceId,
    pub(crate) span_id: SpanId,
    pub(crate) parent: Option<Parent>,
    pub(crate) trace_state: String,
    pub(crate) evidence: Result<Evidence, RootReason>,
}

/// Order of requests and responses on one connection.
#[derive(Debug, Default)]
pub(crate) struct Pairing {
    /// Requests without a response, oldest first; `None` stands for a request that was not kept.
    pub(crate) unanswered: VecDeque<Option<ExchangeId>>,
    /// Whose request is still being sent.
    pub(crate) request: Option<ExchangeId>,
    /// Whose response is being sent.
    pub(crate) response: Option<ExchangeId>,
}

/// A message until its end is seen.
const UNFINISHED: MessageEnd = MessageEnd { body_bytes: Some(0), truncated: true };

impl Exchange {
    pub(crate) fn new(id: ExchangeId, connection: &Connection, head: Box<RequestHead>, origin: Origin) -> Self {
        let kind = if connection.role == Role::Server { SpanKind::Server } else { SpanKind::Client };
        Self {
            id,
            connection: connection.id,
            address: Arc::clone(&connection.address),
            tls: connection.tls,
            kind,
            origin,
            request: Some(head),
            request_end: UNFINISHED,
            response: None,
            response_end: UNFINISHED,
            first_byte: None,
            reset: None,
            end: None,
            end_is_open: None,
            parent: Err(RootReason::Entry),
            waiting: None,
            open_calls: 0,
            has_waited: false,
            reuse_doubted: false,
            is_guess: false,
            is_exceeded: false,
            join: Key::new(connection, origin.sequence),
            awaits_exit: false,
            context: None,
            is_due: false,
            dependents: Vec::new(),
            head_token: 0,
            body_tokens: [0; BODY_TOKENS_MAX],
            body_token_count: 0,
        }
    }
}

impl Exchange {
    /// Since when nobody is taken to work on it or to wait for it. `None`: it is in flight.
    pub(crate) fn over(&self) -> Option<u64> {
        self.end_is_open.or(self.end)
    }

    /// It was in flight still at that time.
    pub(crate) fn is_open(&self, at: u64) -> bool {
        self.over().is_none_or(|end| end > at)
    }

    /// See [`RequestHead::is_of_session`].
    pub(crate) fn is_of_session(&self) -> bool {
        self.request.as_deref().is_some_and(RequestHead::is_of_session)
    }

    /// Whether the thread that called was there for the parent alone is not known.
    pub(crate) fn is_not_proven(&mut self) {
        (self.awaits_exit, self.parent) = (false, Err(RootReason::Ambiguous));
    }
}

/// All exchanges in flight or settling, and the tokens that lead to them.
#[derive(Debug, Default)]
pub(crate) struct Exchanges {
    by_id: HashMap<ExchangeId, Exchange>,
    tokens: HashMap<u64, TokenOwner>,
    /// Bytes of all request heads.
    held_bytes: usize,
    last_id: ExchangeId,
}

impl Exchanges {
    pub(crate) fn next_id(&mut self) -> ExchangeId {
        self.last_id += 1;
        self.last_id
    }

    /// One more exchange with this request would be too many.
    pub(crate) fn is_full(&self, request: &RequestHead) -> bool {
        self.by_id.len() >= EXCHANGES_MAX || self.held_bytes + request.held_bytes() > HELD_BYTES_MAX
    }

    pub(crate) fn insert(&mut self, exchange: Exchange) {
        self.held_bytes += exchange.request.as_ref().map_or(0, |r| r.held_bytes());
        self.by_id.insert(exchange.id, exchange);
    }

    pub(crate) fn get(&self, id: ExchangeId) -> Option<&Exchange> {
        self.by_id.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: ExchangeId) -> Option<&mut Exchange> {
        self.by_id.get_mut(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn token_count(&self) -> usize {
        self.tokens.len()
    }

    pub(crate) fn owner(&self, token: u64) -> Option<TokenOwner> {
        self.tokens.get(&token).copied()
    }

    /// The call with this token completed the head of this request.
    pub(crate) fn bind_head(&mut self, token: u64, id: ExchangeId) {
        if token == 0 {
            return;
        }
        self.bind(token, id);
        if let Some(exchange) = self.by_id.get_mut(&id) {
            exchange.head_token = token;
        }
    }

    /// The call with this token read more of this request.
    pub(crate) fn bind_body(&mut self, token: u64, id: ExchangeId) {
        let Some(exchange) = self.by_id.get_mut(&id) else { return };
        let slot = exchange.body_token_count % BODY_TOKENS_MAX;
        exchange.body_token_count += 1;
        let forgotten = core::mem::replace(&mut exchange.body_tokens[slot], token);
        self.tokens.remove(&forgotten);
        self.bind(token, id);
    }

    fn bind(&mut self, token: u64, id: ExchangeId) {
        let owner = self.tokens.entry(token).or_insert(TokenOwner::One(id));
        if *owner != TokenOwner::One(id) {
            *owner = TokenOwner::Many;
        }
    }

    /// The call with this token read a part of another request as well, one that nobody knows.
    pub(crate) fn doubt(&mut self, token: u64) {
        if let Some(owner) = self.tokens.get_mut(&token) {
            *owner = TokenOwner::Many;
        }
    }

    /// The call with this token read answers to calls that were made for this request, or may have been, or for none, and before them
    /// (`before`) those of others.
    pub(crate) fn bind_answer(&mut self, token: u64, owner: Option<TokenOwner>, before: Option<Option<TokenOwner>>) {
        match (before, owner) {
            (None, Some(owner)) => self.bind_answered(token, owner),
            (Some(before), owner) if before == owner => {}
            (Some(Some(before)), Some(owner)) if before.request() == owner.request() => {
                let perhaps = before.request().map_or(TokenOwner::Many, TokenOwner::Perhaps);
                self.tokens.entry(token).and_modify(|owner| *owner = owner.and(perhaps));
            }
            (Some(_), _) => self.doubt(token),
            (None, None) => {}
        }
    }

    fn bind_answered(&mut self, token: u64, owner: TokenOwner) {
        if let Some(id) = owner.request() {
            self.bind_body(token, id);
            self.tokens.entry(token).and_modify(|known| *known = known.and(owner));
        }
    }

    /// Takes the request's head out of an exchange, once.
    pub(crate) fn take_request(&mut self, id: ExchangeId) -> Option<Box<RequestHead>> {
        let request = self.by_id.get_mut(&id)?.request.take()?;
        self.held_bytes -= request.held_bytes();
        Some(request)
    }

    /// Forgets the exchange and its tokens.
    pub(crate) fn remove(&mut self, id: ExchangeId) -> Option<Exchange> {
        let exchange = self.by_id.remove(&id)?;
        self.held_bytes -= exchange.request.as_ref().map_or(0, |r| r.held_bytes());
        for token in exchange.body_tokens.iter().chain([&exchange.head_token]).filter(|t| **t != 0) {
            self.tokens.remove(token);
        }
        Some(exchange)
    }
}
