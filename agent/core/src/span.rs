//! What is exported: OpenTelemetry's span, without a resource (the shell knows the processes).

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

pub type TraceId = [u8; 16];
pub type SpanId = [u8; 8];

#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub parent: Option<Parent>,
    /// `tracestate` of the incoming request, verbatim; empty where there was none.
    pub trace_state: String,
    pub name: Cow<'static, str>,
    pub kind: SpanKind,
    /// Unix time, ns.
    pub start_unix_ns: u64,
    pub end_unix_ns: u64,
    pub attributes: Vec<Attribute>,
    pub status: Status,
    /// Process that the span belongs to, in the initial pid namespace.
    pub tgid: u32,
    /// Thread that read (server) or wrote (client) the start of the request.
    pub tid: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    pub span_id: SpanId,
    /// The parent came from a header, not from a span of ours.
    pub remote: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    Client,
    Server,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    Unset,
    /// With a description, which may be empty.
    Error(Cow<'static, str>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    pub key: Cow<'static, str>,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    String(Cow<'static, str>),
    Int(i64),
    Bool(bool),
    Strings(Vec<String>),
}

impl Attribute {
    pub fn new(key: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        Self { key: key.into(), value: value.into() }
    }
}

impl Span {
    /// The string value of an attribute, for sinks that show a few of them.
    pub fn attribute(&self, key: &str) -> Option<&Value> {
        self.attributes.iter().find(|a| a.key == key).map(|a| &a.value)
    }
}

impl From<&'static str> for Value {
    fn from(value: &'static str) -> Self {
        Self::String(Cow::Borrowed(value))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::String(Cow::Owned(value))
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u64> for Value {
    /// OpenTelemetry has no unsigned integers; sizes past `i64::MAX` do not occur.
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<u16> for Value {
    fn from(value: u16) -> Self {
        Self::Int(i64::from(value))
    }
}

impl From<Vec<String>> for Value {
    fn from(values: Vec<String>) -> Self {
        Self::Strings(values)
    }
}
