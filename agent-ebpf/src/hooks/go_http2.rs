//! HTTP/2 in Go, in `net/http` or in `golang.org/x/net/http2`, which are the same but for their names: one goroutine reads a
//! server's connection, another one makes a goroutine for each stream, in the order that it likes: over the limit of
//! streams, when others are done. A client makes a goroutine for each stream as well, which writes its own head.

use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;

use crate::capture::read_user;
use crate::context::Context;
use crate::process;
use crate::registers::Frame;
use crate::tls::SessionKey;
use crate::{carrier, streams};

/// In `stream`, which begins with its `serverConn`. The same from Go 1.21 to 1.27.
const STREAM_ID: u64 = 8;

/// `func (sc *serverConn) readFrames()`
#[uprobe]
pub fn go_http2_read_frames(ctx: ProbeContext) -> u32 {
    let Some(thread) = process::current_target() else { return 0 };
    let frame = Frame::of(&ctx);
    streams::reads(SessionKey { session: frame.go_first(), tgid: thread.tgid, pad: 0 }, frame.goroutine());
    0
}

/// `func (sc *serverConn) runHandler(rw *responseWriter, …)`, in the goroutine that is made for it.
#[uprobe]
pub fn go_http2_run_handler(ctx: ProbeContext) -> u32 {
    let Some(thread) = process::current_target() else { return 0 };
    let frame = Frame::of(&ctx);
    let session = SessionKey { session: frame.go_first(), tgid: thread.tgid, pad: 0 };
    let context = Context::task(thread.tgid, frame.goroutine());
    let carrier = stream_of(frame).and_then(|stream| streams::of_handler(session, stream));
    match carrier {
        Some(carrier) => carrier::set(context, carrier),
        // What its maker carried is another's.
        None => carrier::forget(context),
    }
    0
}

/// `rw.rws.stream.id`, if that stream is one of the session's.
#[inline(always)]
fn stream_of(frame: Frame) -> Option<u32> {
    let state = read_user::<u64>(frame.go_second())?;
    let stream = read_user::<u64>(state)?;
    if read_user::<u64>(stream)? != frame.go_first() {
        return None;
    }
    read_user(stream + STREAM_ID)
}

/// `func (cc *ClientConn) writeHeaders(…)`: the goroutine was made for this request, and writes nobody else's head. (Before
/// 2021, it is the one that asked.)
#[uprobe]
pub fn go_http2_write_headers(ctx: ProbeContext) -> u32 {
    let Some(thread) = process::current_target() else { return 0 };
    let context = Context::task(thread.tgid, Frame::of(&ctx).goroutine());
    if let Some(carrier) = carrier::of(context) {
        carrier::set(context, carrier.writes_own_heads());
    }
    0
}
