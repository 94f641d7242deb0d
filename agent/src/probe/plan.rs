//! What is to be attached where.

use super::python::{Python, Unsupported};
use std::fmt;

/// The kernel programs that are attached to user code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProbeProgram {
    /// Entry of a read: (session, buffer, len) → bytes.
    TlsRead,
    /// Entry of a read: (session, buffer, len, *bytes) → 1.
    TlsReadEx,
    /// Entry of a write: (session, buffer, len) → bytes.
    TlsWrite,
    /// Entry of a write: (session, buffer, len, *bytes) → 1.
    TlsWriteEx,
    /// Entry of a write: (session, buffer, len, flags, *bytes) → 1.
    TlsWriteEx2,
    /// Entry of a handshake: (session).
    TlsHandshake,
    /// Return of any of the above.
    TlsReturn,
    /// Entry: (session).
    TlsFree,
    /// Entry: (session, file descriptor).
    TlsSetFd,
    /// Entry of `crypto/tls.(*Conn).Read`.
    GoTlsRead,
    /// Entry of `crypto/tls.(*Conn).Write`.
    GoTlsWrite,
    /// At every return instruction of those two: a return probe would break Go, whose stacks move.
    GoTlsReturn,
    /// Entry of `crypto/tls.(*Conn).clientHandshake` and `.serverHandshake`.
    GoTlsHandshake,
    /// At every return instruction of those.
    GoTlsHandshakeReturn,
    /// Entry of `runtime.newproc1`.
    GoNewproc,
    /// At every return instruction of it.
    GoNewprocReturn,
    /// Entry of `net/http.(*persistConn).roundTrip`.
    GoRoundTrip,
    /// Entry of `(*serverConn).readFrames` of an HTTP/2 server.
    GoHttp2ReadFrames,
    /// Entry of `(*serverConn).runHandler` of an HTTP/2 server.
    GoHttp2RunHandler,
    /// Entry of `(*ClientConn).writeHeaders` of an HTTP/2 client.
    GoHttp2WriteHeaders,
    /// Entry of `(*http2Server).HandleStreams` of grpc-go.
    GrpcGoServes,
    /// Entry of `(*http2Server).operateHeaders`.
    GrpcGoRequest,
    /// Entry of `(*Server).handleStream`.
    GrpcGoHandle,
    /// Entry of `(*http2Client).reader`.
    GrpcGoCalls,
    /// Entry of `(*http2Client).operateHeaders`.
    GrpcGoResponse,
    /// At every return instruction of `(*http2Client).NewStream`.
    GrpcGoStreamMade,
    /// Return of `PyContext_CopyCurrent`: → the new context.
    PyContextCopied,
    /// Entry of `PyContext_Enter`: (context).
    PyContextEntered,
    /// Entry of `_asyncio.Future.set_result`: (future, …).
    PyFutureSet,
    /// Entry of `_queue.SimpleQueue.put`: (queue, *[item, …], …).
    PyQueuePut,
    /// Return of `_queue.SimpleQueue.get`: → the item.
    PyQueueGot,
    /// Entry of `collections.deque.append`: (deque, item).
    PyDequeAppend,
    /// Entry of `collections.deque.popleft`: (deque).
    PyDequePopleft,
    /// Entry of a function of an event loop that begins callbacks for other reasons than what was read.
    TurnEnded,
    /// Entry of `node::Environment::CheckImmediate`: (handle). The same, and where Node's own numbers are.
    NodeChecks,
    /// Entry: (loop, work item).
    WorkSubmitted,
    /// Entry of `uv_queue_work`: (loop, request, …).
    WorkQueued,
    /// Entry: (work item), on the loop's thread.
    WorkDone,
    /// Entry of `nghttp2_session_mem_recv`: (session, …).
    Nghttp2Received,
    /// Return of it.
    Nghttp2ReceivedReturn,
    /// Entry of a callback: (session, frame, …).
    Nghttp2Frame,
    /// Entry of a callback: (session, flags, stream, …).
    Nghttp2Data,
    /// Entry of a callback: (session, stream, …).
    Nghttp2StreamClosed,
    /// Entry of `nghttp2_submit_request`: (session, …).
    Nghttp2Submit,
    /// Return of it: → the stream's number.
    Nghttp2SubmitReturn,
    /// Entry of `grpc_call_start_batch`: (call, *ops, number of ops, …).
    GrpcStartBatch,
    /// Return of it.
    GrpcStartBatchReturn,
}

/// Programs that only make sense together: half of them would see half of the bytes, or of the tasks. The kernel takes or
/// refuses each family for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProbeFamily {
    Tls,
    GoTls,
    Goroutines,
    GoHttp2,
    GrpcGo,
    PyContexts,
    PyQueues,
    PyDeques,
    EventLoops,
    Nghttp2,
    Grpc,
}

/// A program at a place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probe {
    /// From the start of the file.
    pub offset: u64,
    pub program: ProbeProgram,
}

/// A piece of software that a file contains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// `OpenSSL`, `GnuTLS`, `Go crypto/tls`.
    pub name: &'static str,
    /// As much as is known of it.
    pub version: Option<String>,
}

/// What was recognised in one ELF file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recognised {
    /// What has the probes.
    pub what: Vec<Component>,
    /// Sorted; no two at one place.
    pub probes: Vec<Probe>,
    /// Those that fire often and that few processes need: attached to such processes alone (docs/adr/0019).
    pub on_demand: Vec<Probe>,
    /// One line: what there is besides that has none, and why.
    pub loss: Option<String>,
    /// A CPython interpreter, or why nothing can be known of its contexts.
    pub python: Option<Result<Python, Unsupported>>,
    /// This is uvloop, a loop for CPython that reads before it enters a context.
    pub uvloop: bool,
}

// === impl ProbeProgram ===

impl ProbeProgram {
    pub const ALL: [Self; 47] = [
        Self::TlsRead,
        Self::TlsReadEx,
        Self::TlsWrite,
        Self::TlsWriteEx,
        Self::TlsWriteEx2,
        Self::TlsHandshake,
        Self::TlsReturn,
        Self::TlsFree,
        Self::TlsSetFd,
        Self::GoTlsRead,
        Self::GoTlsWrite,
        Self::GoTlsReturn,
        Self::GoTlsHandshake,
        Self::GoTlsHandshakeReturn,
        Self::GoNewproc,
        Self::GoNewprocReturn,
        Self::GoRoundTrip,
        Self::GoHttp2ReadFrames,
        Self::GoHttp2RunHandler,
        Self::GoHttp2WriteHeaders,
        Self::GrpcGoServes,
        Self::GrpcGoRequest,
        Self::GrpcGoHandle,
        Self::GrpcGoCalls,
        Self::GrpcGoResponse,
        Self::GrpcGoStreamMade,
        Self::PyContextCopied,
        Self::PyContextEntered,
        Self::PyFutureSet,
        Self::PyQueuePut,
        Self::PyQueueGot,
        Self::PyDequeAppend,
        Self::PyDequePopleft,
        Self::TurnEnded,
        Self::NodeChecks,
        Self::WorkSubmitted,
        Self::WorkQueued,
        Self::WorkDone,
        Self::Nghttp2Received,
        Self::Nghttp2ReceivedReturn,
        Self::Nghttp2Frame,
        Self::Nghttp2Data,
        Self::Nghttp2StreamClosed,
        Self::Nghttp2Submit,
        Self::Nghttp2SubmitReturn,
        Self::GrpcStartBatch,
        Self::GrpcStartBatchReturn,
    ];

    pub fn family(self) -> ProbeFamily {
        match self {
            Self::TlsRead
            | Self::TlsReadEx
            | Self::TlsWrite
            | Self::TlsWriteEx
            | Self::TlsWriteEx2
            | Self::TlsHandshake
            | Self::TlsReturn
            | Self::TlsFree
            | Self::TlsSetFd => ProbeFamily::Tls,
            Self::GoTlsRead
            | Self::GoTlsWrite
            | Self::GoTlsReturn
            | Self::GoTlsHandshake
            | Self::GoTlsHandshakeReturn => ProbeFamily::GoTls,
            Self::GoNewproc | Self::GoNewprocReturn | Self::GoRoundTrip => ProbeFamily::Goroutines,
            Self::GoHttp2ReadFrames | Self::GoHttp2RunHandler | Self::GoHttp2WriteHeaders => ProbeFamily::GoHttp2,
            Self::GrpcGoServes
            | Self::GrpcGoRequest
            | Self::GrpcGoHandle
            | Self::GrpcGoCalls
            | Self::GrpcGoResponse
            | Self::GrpcGoStreamMade => ProbeFamily::GrpcGo,
            Self::PyContextCopied | Self::PyContextEntered | Self::PyFutureSet => ProbeFamily::PyContexts,
            Self::PyQueuePut | Self::PyQueueGot => ProbeFamily::PyQueues,
            Self::PyDequeAppend | Self::PyDequePopleft => ProbeFamily::PyDeques,
            Self::TurnEnded | Self::NodeChecks | Self::WorkSubmitted | Self::WorkQueued | Self::WorkDone => {
                ProbeFamily::EventLoops
            }
            Self::Nghttp2Received
            | Self::Nghttp2ReceivedReturn
            | Self::Nghttp2Frame
            | Self::Nghttp2Data
            | Self::Nghttp2StreamClosed
            | Self::Nghttp2Submit
            | Self::Nghttp2SubmitReturn => ProbeFamily::Nghttp2,
            Self::GrpcStartBatch | Self::GrpcStartBatchReturn => ProbeFamily::Grpc,
        }
    }

    /// Name of the program in the kernel object.
    pub fn name(self) -> &'static str {
        match self {
            Self::TlsRead => "tls_read",
            Self::TlsReadEx => "tls_read_ex",
            Self::TlsWrite => "tls_write",
            Self::TlsWriteEx => "tls_write_ex",
            Self::TlsWriteEx2 => "tls_write_ex2",
            Self::TlsHandshake => "tls_handshake",
            Self::TlsReturn => "tls_return",
            Self::TlsFree => "tls_free",
            Self::TlsSetFd => "tls_set_fd",
            Self::GoTlsRead => "go_tls_read",
            Self::GoTlsWrite => "go_tls_write",
            Self::GoTlsReturn => "go_tls_return",
            Self::GoTlsHandshake => "go_tls_handshake",
            Self::GoTlsHandshakeReturn => "go_tls_handshake_return",
            Self::GoNewproc => "go_newproc",
            Self::GoNewprocReturn => "go_newproc_return",
            Self::GoRoundTrip => "go_round_trip",
            Self::GoHttp2ReadFrames => "go_http2_read_frames",
            Self::GoHttp2RunHandler => "go_http2_run_handler",
            Self::GoHttp2WriteHeaders => "go_http2_write_headers",
            Self::GrpcGoServes => "grpc_go_serves",
            Self::GrpcGoRequest => "grpc_go_request",
            Self::GrpcGoHandle => "grpc_go_handle",
            Self::GrpcGoCalls => "grpc_go_calls",
            Self::GrpcGoResponse => "grpc_go_response",
            Self::GrpcGoStreamMade => "grpc_go_stream_made",
            Self::PyContextCopied => "python_context_copied",
            Self::PyContextEntered => "python_context_entered",
            Self::PyFutureSet => "python_future_set",
            Self::PyQueuePut => "python_queue_put",
            Self::PyQueueGot => "python_queue_got",
            Self::PyDequeAppend => "python_deque_append",
            Self::PyDequePopleft => "python_deque_popleft",
            Self::TurnEnded => "turn_ended",
            Self::NodeChecks => "node_checks",
            Self::WorkSubmitted => "work_submitted",
            Self::WorkQueued => "work_queued",
            Self::WorkDone => "work_done",
            Self::Nghttp2Received => "nghttp2_received",
            Self::Nghttp2ReceivedReturn => "nghttp2_received_return",
            Self::Nghttp2Frame => "nghttp2_frame",
            Self::Nghttp2Data => "nghttp2_data",
            Self::Nghttp2StreamClosed => "nghttp2_stream_closed",
            Self::Nghttp2Submit => "nghttp2_submit",
            Self::Nghttp2SubmitReturn => "nghttp2_submit_return",
            Self::GrpcStartBatch => "grpc_start_batch",
            Self::GrpcStartBatchReturn => "grpc_start_batch_return",
        }
    }
}

// === impl ProbeFamily ===

impl ProbeFamily {
    pub const ALL: [Self; 11] = [
        Self::Tls,
        Self::GoTls,
        Self::Goroutines,
        Self::GoHttp2,
        Self::GrpcGo,
        Self::PyContexts,
        Self::PyQueues,
        Self::PyDeques,
        Self::EventLoops,
        Self::Nghttp2,
        Self::Grpc,
    ];

    pub fn programs(self) -> impl Iterator<Item = ProbeProgram> {
        ProbeProgram::ALL.into_iter().filter(move |program| program.family() == self)
    }

    /// What it lets the agent see, in words for users.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tls => "probes: TLS libraries",
            Self::GoTls => "probes: TLS of Go",
            Self::Goroutines => "probes: goroutines",
            Self::GoHttp2 => "probes: HTTP/2 of Go",
            Self::GrpcGo => "probes: gRPC of Go",
            Self::PyContexts => "probes: asyncio",
            Self::PyQueues => "probes: thread pools of Python",
            Self::PyDeques => "probes: queues of Python",
            Self::EventLoops => "probes: event loops",
            Self::Nghttp2 => "probes: HTTP/2 of Node",
            Self::Grpc => "probes: gRPC of Python",
        }
    }

    /// What is not seen without it.
    pub fn without(self) -> &'static str {
        match self {
            Self::Tls => "what passes inside TLS connections of OpenSSL, BoringSSL and GnuTLS",
            Self::GoTls => "what passes inside TLS connections of Go programs",
            Self::Goroutines => {
                "nothing is missed, but calls of Go have no parent where several requests are in flight"
            }
            Self::GoHttp2 => {
                "nothing is missed, but calls of Go over or below HTTP/2 have no parent where several requests are in flight"
            }
            Self::GrpcGo => {
                "nothing is missed, but calls of grpc-go, and those below its servers, have no parent where several requests are \
                 in flight"
            }
            Self::PyContexts => {
                "nothing is missed, but calls of asyncio have no parent where several requests are in flight"
            }
            Self::PyQueues => {
                "nothing is missed, but what ThreadPoolExecutor runs has no parent where several requests are in flight"
            }
            Self::PyDeques => {
                "nothing is missed, but what passes through queue.Queue has no parent where several requests are in flight"
            }
            Self::EventLoops => {
                "nothing is missed, but calls of Node and uvloop have no parent where several requests are in flight"
            }
            Self::Nghttp2 => {
                "nothing is missed, but calls of Node over or below HTTP/2 have no parent where several requests are in flight"
            }
            Self::Grpc => {
                "nothing is missed, but calls of Python's gRPC have no parent where several requests are in flight"
            }
        }
    }
}

// === impl Recognised ===

impl Recognised {
    /// Is there nothing to attach and nothing to say?
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

// === impl Component ===

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{} {version}", self.name),
            None => f.write_str(self.name),
        }
    }
}
