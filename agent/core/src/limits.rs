//! Limits of every userspace table and buffer of the engine. Kernel-side ones are in `autospan_abi::limits`.

use alloc::string::String;

/// Connections tracked at once; past it the least recently used one is dropped and counted.
pub const CONNECTIONS_MAX: usize = 32_768;
/// Exchanges in flight or settling at once.
pub const EXCHANGES_MAX: usize = 32_768;
/// Requests without a response on one connection (pipelining depth).
pub const PIPELINE_MAX: usize = 1_024;
/// Bytes of one message head (request line or status line, and headers) before the message is given up.
pub const HEAD_BYTES_MAX: usize = 65_536;
/// Frames that continue one header block of HTTP/2.
pub const CONTINUATIONS_MAX: usize = 64;
/// Streams in flight on one connection of HTTP/2.
pub const STREAMS_MAX: usize = 1_024;
/// Bytes of the header tables of all connections of HTTP/2.
pub const TABLES_BYTES_MAX: usize = 64 << 20;
/// How long after a loss a stream in flight of HTTP/2 may be silent before its end counts as lost.
pub const STREAM_SILENT_NS: u64 = 10_000_000_000;
/// Calls of one process that a library was asked to send and that were not seen yet.
pub const UNSENT_MAX: usize = 256;
/// How long one of them may take, for all that is known.
pub const UNSENT_NS: u64 = 10_000_000_000;
/// Headers of one message.
pub const HEADERS_MAX: usize = 128;
/// Bytes of any string that goes into a span attribute; longer ones are cut at a character boundary.
pub const ATTRIBUTE_BYTES_MAX: usize = 4_096;
/// Bytes of response data kept for a request that has not been seen yet.
pub const EARLY_BYTES_MAX: usize = 65_536;
/// Bytes of incomplete heads and early responses kept over all connections.
pub const PENDING_BYTES_MAX: usize = 16 << 20;
/// Bytes of request heads kept over all exchanges.
pub const HELD_BYTES_MAX: usize = 32 << 20;
/// How long records may arrive out of order, and so how long after its start an exchange's parent is decided.
pub const SETTLE_NS: u64 = 100_000_000;
/// How long after its start a call of a thread that was made for a request waits for the thread's end, which shows its parent.
pub const EXIT_AWAITED_NS: u64 = 10_000_000_000;
/// How long after its start a call that may not be its request's waits for the end of that, which shows it.
pub const GUESS_AWAITED_NS: u64 = 10_000_000_000;
/// Calls of one request that wait for its end. More are told by what is known of them at once: most have been answered by then.
pub const GUESSES_AWAITED_MAX: usize = 1024;
/// Calls of one such thread that wait; with more, it is one of a pool's.
pub const EXIT_AWAITED_MAX: usize = 16;
/// A connection without traffic and without an exchange in flight is forgotten after this time.
pub const CONNECTION_IDLE_NS: u64 = 600_000_000_000;
/// A connection without traffic is forgotten after this time even if a message on it is awaited: its end was lost.
pub const CONNECTION_SILENT_NS: u64 = 6 * CONNECTION_IDLE_NS;
/// How long after ciphertext was seen its plaintext may turn up before the connection counts as unread.
pub const TLS_UNREAD_NS: u64 = 2_000_000_000;
/// Processes with facts known at once.
pub const PROCESSES_MAX: usize = 65_536;
/// Calls that come again and again, remembered over all processes.
pub const ROUTINES_MAX: usize = 16_384;
/// Those of one process; past it the one that was not seen for longest is forgotten.
pub const ROUTINES_PER_PROCESS_MAX: usize = 64;
/// Bytes of a `tracestate` that is passed on; a longer one is dropped.
pub const TRACESTATE_BYTES_MAX: usize = 512;
/// Members of a `tracestate`.
pub const TRACESTATE_MEMBERS_MAX: usize = 32;

/// Connections that went over to TLS and whose plaintext was not seen yet, of which something is remembered.
pub const INSIDE_TLS_MAX: usize = 1_024;
/// Prepared statements remembered on one connection; past it the oldest is forgotten.
pub const STATEMENTS_MAX: usize = 4_096;
/// Bytes of them.
pub const STATEMENTS_BYTES_MAX: usize = 1 << 20;

/// Cuts a string to [`ATTRIBUTE_BYTES_MAX`], at a character boundary.
pub fn cut_attribute(text: &mut String) {
    let mut end = text.len().min(ATTRIBUTE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}
