//! Engine counters: every loss and every decision has a name.

use crate::protocol::http2::Broken;

autospan_abi::counters! {
    /// An engine counter.
    enum Counter;

    /// Records consumed.
    Records = "engine.records",
    /// Records that could not be parsed.
    RecordsInvalid = "engine.records_invalid",
    /// Data records of a connection whose opening record was lost.
    RecordsUnknownConnection = "engine.records_unknown_connection",
    /// Spans emitted.
    Spans = "spans",
    /// Exchanges that went well and that nobody asked for, of which no span is made: logins, pings, preparations of statements.
    ExchangesUnreported = "exchanges.unreported",
    /// Requests that never became a span: their response was lost on the way to the engine.
    DroppedResponseLost = "dropped.response_lost",
    /// Responses that never became a span: their request was lost, or came before the agent.
    DroppedRequestLost = "dropped.request_lost",
    /// Exchanges that never became a span: all their records were lost on the way to the engine.
    DroppedExchangeLost = "dropped.exchange_lost",
    /// Exchanges dropped because a table was full.
    DroppedTableFull = "dropped.table_full",
    /// Messages given up because all incomplete messages together held too many bytes.
    DroppedBuffersFull = "dropped.buffers_full",
    /// Messages given up: not valid HTTP, or over a limit.
    DroppedMalformed = "dropped.malformed",
    /// Bytes missing inside a stream because a record was lost.
    StreamGapBytes = "stream.gap_bytes",
    /// Places where a parser lost the message boundary and had to search for the next one.
    StreamDesyncs = "stream.desyncs",
    /// Connections whose protocol is not known; not looked at any more.
    ConnectionsUnknownProtocol = "connections.unknown_protocol",
    /// HTTP/2 connections given up: a frame that must not be there.
    Http2Protocol = "connections.http2_protocol",
    /// HTTP/2 connections given up: a frame of a size that was not agreed on.
    Http2FrameSize = "connections.http2_frame_size",
    /// HTTP/2 connections given up: a header block that is none.
    Http2Compression = "connections.http2_compression",
    /// HTTP/2 connections given up: a header block that is too long, or in too many parts.
    Http2HeadTooLong = "connections.http2_head_too_long",
    /// HTTP/2 connections given up: too many streams at once.
    Http2TooManyStreams = "connections.http2_too_many_streams",
    /// HTTP/2 connections that were followed from their middle on.
    Http2Joined = "connections.http2_joined",
    /// Requests with a method or path that was said before the agent came, or was lost.
    UnknownNames = "http2.unknown_names",
    /// TLS connections that nobody reads: not through a known TLS library, or its probes are missing.
    ConnectionsTlsUnread = "connections.tls_unread",
    /// Connections forgotten because the table was full.
    ConnectionsEvicted = "connections.evicted",
    /// Parents by the thread that read the request.
    ParentThread = "parent.thread",
    /// Parents by the goroutine, CPython context or other task that works on the request.
    ParentTask = "parent.task",
    /// Parents by the turn of the event loop in which the request, or a response to it, was read.
    ParentTurn = "parent.turn",
    /// Parents because only one request was in flight in the process, and requests were seen to make such calls.
    ParentOnlyRequest = "parent.only_request",
    /// Parents by an incoming trace context header.
    ParentHeader = "parent.header",
    /// Server spans joined to the client span at the other end of the same connection.
    ParentJoin = "parent.join",
    /// Roots: no request was in flight, or the task of the call works for none.
    RootNoRequest = "root.no_request",
    /// Roots: requests were in flight and nothing told which it was, if any.
    RootAmbiguous = "root.ambiguous",
    /// Roots: the request that the thread last read had been answered already.
    RootAnswered = "root.answered",
    /// Server spans with no header and no client end on this host.
    RootEntry = "root.entry",
}

impl Counter {
    /// Why an HTTP/2 connection is not followed any more.
    pub(crate) const fn of(why: Broken) -> Self {
        match why {
            Broken::Protocol => Self::Http2Protocol,
            Broken::FrameSize => Self::Http2FrameSize,
            Broken::Compression => Self::Http2Compression,
            Broken::HeadTooLong => Self::Http2HeadTooLong,
            Broken::TooManyStreams => Self::Http2TooManyStreams,
        }
    }
}
