//! grpc-go: one goroutine reads a connection. On a server it makes another for each stream, or hands the stream to one of a
//! pool. On a client whoever calls asks for a stream, and another goroutine writes the heads of all.

use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;

use crate::capture::read_user;
use crate::context::Context;
use crate::process::{self, Thread};
use crate::registers::Frame;
use crate::tls::SessionKey;
use crate::{carrier, streams};

/// A stream's object has its number, and names its transport's; that transport has been seen, which is the check of the layout.
/// In words, from grpc-go 1.33 to 1.83:
///
/// - until 1.68, `Stream`: the number in half a word, the server's transport (an interface), the client's (until 1.65 a pointer);
/// - until 1.76, `ServerStream` or `ClientStream`: a pointer to a `Stream`, which begins with the number, and the transport;
/// - since, that holds a `Stream`, which holds an interface that is the whole itself, and the number behind a state.
type Words = [u64; 14];

/// `Stream.st`, and `ServerStream.st` until 1.76.
const SERVER_TRANSPORT: usize = 2;
/// `Stream.ct`, until 1.65 and until 1.68.
const CLIENT_TRANSPORT: [usize; 2] = [3, 4];
/// `ClientStream.ct` until 1.76.
const CLIENT_TRANSPORT_OF_POINTER: usize = 1;
/// `Stream.readRequester`.
const ITSELF: usize = 9;
/// `Stream.state` and `Stream.id`.
const STATE_AND_ID: usize = 13;
/// `ServerStream.st` and `ClientStream.ct` of those that hold a `Stream`, in bytes.
const SERVER_TRANSPORT_BEHIND: u64 = 0x150;
const CLIENT_TRANSPORT_BEHIND: u64 = 0x148;
/// Values of `streamState`.
const STATES: u32 = 4;

#[inline(always)]
fn key(transport: u64, thread: Thread) -> SessionKey {
    SessionKey { session: transport, tgid: thread.tgid, pad: 0 }
}

/// `func (t *http2Server) HandleStreams(…)`
#[uprobe]
pub fn grpc_go_serves(ctx: ProbeContext) -> u32 {
    let Some(thread) = process::current_target() else { return 0 };
    let frame = Frame::of(&ctx);
    streams::reads(key(frame.go_first(), thread), frame.goroutine());
    0
}

/// `func (t *http2Server) operateHeaders(…)`, right after they were read.
#[uprobe]
pub fn grpc_go_request(ctx: ProbeContext) -> u32 {
    let Some(thread) = process::current_target() else { return 0 };
    let frame = Frame::of(&ctx);
    streams::has_read(key(frame.go_first(), thread), frame.goroutine());
    0
}

/// `func (s *Server) handleStream(t transport.ServerTransport, stream *transport.Stream, …)`, in the goroutine that works on it.
#[uprobe]
pub fn grpc_go_handle(ctx: ProbeContext) -> u32 {
    let Some(thread) = process::current_target() else { return 0 };
    let frame = Frame::of(&ctx);
    let (transport, stream) = (frame.go_third(), frame.go_fourth());
    let context = Context::task(thread.tgid, frame.goroutine());
    let number = served(stream, transport);
    match number.and_then(|number| streams::of_handler(key(transport, thread), number)) {
        Some(carrier) => carrier::set(context, carrier),
        // What it carried before was its maker's, or an older stream's.
        None => carrier::forget(context),
    }
    0
}

/// The number of a stream of a server's transport.
#[inline(always)]
fn served(stream: u64, transport: u64) -> Option<u32> {
    let words = read_user::<Words>(stream)?;
    if words[SERVER_TRANSPORT] == transport {
        return pointed_at(words[0]);
    }
    let is_its = words[ITSELF] == stream && read_user::<u64>(stream + SERVER_TRANSPORT_BEHIND)? == transport;
    if is_its { held(&words) } else { None }
}

/// `func (t *http2Client) reader(…)`
#[uprobe]
pub fn grpc_go_calls(ctx: ProbeContext) -> u32 {
    let Some(thread) = process::current_target() else { return 0 };
    let frame = Frame::of(&ctx);
    streams::watch(key(frame.go_first(), thread), frame.goroutine());
    0
}

/// `func (t *http2Client) operateHeaders(…)`, in the goroutine that reads: the connection may be older than the agent.
#[uprobe]
pub fn grpc_go_response(ctx: ProbeContext) -> u32 {
    let Some(thread) = process::current_target() else { return 0 };
    let frame = Frame::of(&ctx);
    streams::watch_unless_known(key(frame.go_first(), thread), frame.goroutine());
    0
}

/// Each `ret` of `func (t *http2Client) NewStream(…) (*Stream, error)`, in the goroutine that calls. The head may have been
/// written by then.
#[uprobe]
pub fn grpc_go_stream_made(ctx: ProbeContext) -> u32 {
    let Some(thread) = process::current_target() else { return 0 };
    let frame = Frame::of(&ctx);
    let (stream, error) = (frame.go_first(), frame.go_second());
    if error == 0
        && let Some((transport, number)) = asked(stream, thread)
        && let Some(carrier) = carrier::of(Context::task(thread.tgid, frame.goroutine()))
    {
        streams::asked_by(transport, number, carrier, thread);
    }
    0
}

/// A client's transport that has been seen, and the number of its stream.
#[inline(always)]
fn asked(stream: u64, thread: Thread) -> Option<(SessionKey, u32)> {
    let words = read_user::<Words>(stream)?;
    let seen = |transport: u64| Some(key(transport, thread)).filter(|key| streams::is_watched(*key));
    if words[ITSELF] == stream {
        let transport = seen(read_user::<u64>(stream + CLIENT_TRANSPORT_BEHIND)?)?;
        return Some((transport, held(&words)?));
    }
    let number = pointed_at(words[0])?;
    let transport = if is_pointer(words[0]) {
        seen(words[CLIENT_TRANSPORT_OF_POINTER])
    } else {
        let [pointer, interface] = CLIENT_TRANSPORT;
        seen(words[pointer]).or_else(|| seen(words[interface]))
    };
    Some((transport?, number))
}

/// The number that `word` is, or that is where it points.
#[inline(always)]
fn pointed_at(word: u64) -> Option<u32> {
    number(if is_pointer(word) { read_user(word)? } else { word })
}

/// Go's heap begins far above.
#[inline(always)]
fn is_pointer(word: u64) -> bool {
    word > u64::from(u32::MAX)
}

#[inline(always)]
fn held(words: &Words) -> Option<u32> {
    let word = words[STATE_AND_ID];
    if (word as u32) < STATES { number(word >> 32) } else { None }
}

/// Those of a client's requests are odd, and of 31 bits.
#[inline(always)]
fn number(word: u64) -> Option<u32> {
    if word & 1 == 1 && word <= i32::MAX as u64 { Some(word as u32) } else { None }
}
