//! Node's HTTP/2, which is nghttp2's: frames that were read are given to the library, which calls back for each, by stream;
//! what JavaScript does in a callback, with all that it leaves to be done right after, is for that stream. Requests are
//! handed to the library when they are made, and written whenever there is time.

use aya_ebpf::macros::{uprobe, uretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};

use crate::capture::read_user;
use crate::carrier;
use crate::context::Context;
use crate::process::{self, Thread};
use crate::tls::SessionKey;
use crate::{pending, streams};

/// `nghttp2_frame.hd.stream_id`.
const FRAME_STREAM: u64 = 8;

/// `nghttp2_session_mem_recv(session, …)`
#[uprobe]
pub fn nghttp2_received(ctx: ProbeContext) -> u32 {
    if let (Some(thread), Some(session)) = (process::current_target(), ctx.arg::<u64>(0)) {
        streams::received(key(session, thread), thread);
    }
    0
}

/// Its return: whatever comes next in this turn is for no stream.
#[uretprobe]
pub fn nghttp2_received_return(_: RetProbeContext) -> u32 {
    if let Some(thread) = process::current_target() {
        carrier::forget(Context::thread(thread));
    }
    0
}

/// `Http2Session::OnFrameReceive(session, frame, …)`
#[uprobe]
pub fn nghttp2_frame(ctx: ProbeContext) -> u32 {
    let stream = ctx.arg::<u64>(1).and_then(|frame| read_user::<u32>(frame + FRAME_STREAM));
    works_on(&ctx, stream)
}

/// `Http2Session::OnStreamClose(session, stream, …)`
#[uprobe]
pub fn nghttp2_stream_closed(ctx: ProbeContext) -> u32 {
    works_on(&ctx, ctx.arg::<u64>(1).map(|stream| stream as u32))
}

/// `Http2Session::OnDataChunkReceived(session, flags, stream, …)`
#[uprobe]
pub fn nghttp2_data(ctx: ProbeContext) -> u32 {
    works_on(&ctx, ctx.arg::<u64>(2).map(|stream| stream as u32))
}

/// `nghttp2_submit_request(session, …)`
#[uprobe]
pub fn nghttp2_submit(ctx: ProbeContext) -> u32 {
    if let (Some(thread), Some(session)) = (process::current_target(), ctx.arg::<u64>(0)) {
        pending::enter(thread, session);
    }
    0
}

/// Its return: the stream's number, or an error.
#[uretprobe]
pub fn nghttp2_submit_return(ctx: RetProbeContext) -> u32 {
    let (Some(thread), stream) = (process::current_target(), ctx.ret::<u64>() as i32) else { return 0 };
    if let Some(session) = pending::leave(thread)
        && stream > 0
    {
        streams::asked(key(session, thread), stream as u32, thread);
    }
    0
}

#[inline(always)]
fn key(session: u64, thread: Thread) -> SessionKey {
    SessionKey { session, tgid: thread.tgid, pad: 0 }
}

#[inline(always)]
fn works_on(ctx: &ProbeContext, stream: Option<u32>) -> u32 {
    let (Some(thread), Some(session)) = (process::current_target(), ctx.arg::<u64>(0)) else { return 0 };
    let context = Context::thread(thread);
    match stream.and_then(|stream| streams::of_callback(key(session, thread), stream)) {
        Some(carrier) => carrier::set(context, carrier),
        None => carrier::forget(context),
    }
    0
}
