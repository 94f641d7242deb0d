//! Which bytes of a call are copied, and copying them: straight from user memory into the ring buffer.

use autospan_abi::limits::{
    EDGE_HEAD_BYTES, EDGE_TAIL_BYTES, HEAD_DEFAULT_BYTES, MESSAGE_SEGMENTS_MAX, PAYLOAD_CLASSES, PAYLOAD_MAX,
    POLICIES_MAX, SEGMENTS_MAX,
};
use autospan_abi::{Counter, Data, Direction, Policy, PolicyMode, RecordKind, Role, Sharing};
use aya_ebpf::helpers::generated::bpf_probe_read_user;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{LruHashMap, PerCpuArray};

use crate::bounds::at_most;
use crate::call::{self, Call, Layout};
use crate::connection::{Connection, Tls};
use crate::process::Thread;
use crate::{counter, ring};

/// Set by the agent, by connection id.
#[map]
static POLICIES: LruHashMap<u64, Policy> = LruHashMap::with_max_entries(POLICIES_MAX, 0);

/// A record with room for the payload of one size class.
#[repr(C)]
struct Slot<const BYTES: usize> {
    data: Data,
    payload: [u8; BYTES],
}

/// A call that moved bytes, on its way into records: one per segment, or more where all of a long one is wanted.
///
/// It lives in a map rather than on the stack. What the verifier reads back from a map is an unknown number to it, so
/// that it need not follow every size of one segment into the next; on the stack, sixteen segments exceed its patience.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Transfer {
    /// The next record, without its payload.
    data: Data,
    /// Bytes of the call that are not in a record yet.
    left: u64,
    /// Bytes that may still be copied in full; past them only the edges are.
    head_left: u64,
    /// User address and length of what is being recorded.
    base: u64,
    len: u64,
    /// The same of what is left of the segment behind that.
    rest: u64,
    rest_len: u64,
    /// User address of the next segment's iovec, and how many there are.
    iovecs: u64,
    iovecs_left: u64,
}

/// System calls do not interrupt one another on a CPU while a program runs.
#[map]
static TRANSFERS: PerCpuArray<Transfer> = PerCpuArray::with_max_entries(1, 0);

impl Transfer {
    pub(crate) const EMPTY: Self = {
        // SAFETY: integers all, for which zeros are values.
        unsafe { core::mem::zeroed() }
    };

    /// Accounts for a system call that moved `bytes`. `None`: nobody wants to see them.
    #[inline(always)]
    pub(crate) fn begin(
        connection: &mut Connection,
        call: &Call,
        thread: Thread,
        bytes: u64,
    ) -> Option<&'static mut Self> {
        // SAFETY: this CPU's own slot.
        let slot = unsafe { &mut *TRANSFERS.get_ptr_mut(0)? };
        Self::begin_in(slot, connection, call, thread, bytes)
    }

    /// The same in a slot of the caller's, which must be in a map.
    #[inline(always)]
    pub(crate) fn begin_in<'t>(
        transfer: &'t mut Self,
        connection: &mut Connection,
        call: &Call,
        thread: Thread,
        bytes: u64,
    ) -> Option<&'t mut Self> {
        counter::add(Counter::DataBytesSeen, bytes);
        connection.ensure_reported(call.socket().sock, thread);
        let mut policy = policy(connection);
        let inbound = call.direction == Direction::Inbound as u8;
        if policy.sharing == Sharing::Pipeline as u32 {
            connection.pipelines(thread);
        } else if policy.sharing == Sharing::Streams as u32 || is_preface(connection, call, inbound) {
            connection.multiplexes(thread);
        }
        // The engine's verdict comes after the next calls, of which all must be seen.
        if policy.mode == PolicyMode::Head as u32 && connection.is_multiplexed() {
            policy = Policy::full(Role::Unknown);
        }
        let token = if inbound { connection.carry_after_read(call.socket().sock, thread) } else { 0 };
        turn(connection, call.direction, policy);
        let position = advance(connection, inbound, bytes);
        if policy.mode == PolicyMode::Ignore as u32 {
            counter::bump(Counter::CallsIgnored);
            return None;
        }
        transfer.left = bytes;
        transfer.head_left = spend_head(connection, policy, bytes);
        transfer.data = Data {
            header: ring::header(RecordKind::Data, size_of::<Data>() as u32, thread),
            connection: connection.id(),
            position,
            entered: call.entered,
            token,
            cause: call.cause.token,
            sequence: call.sequence,
            total: 0,
            head: 0,
            tail: 0,
            direction: call.direction,
            flags: call.has_sequence | ((call.cause.trail as u8) << Data::TRAIL_SHIFT),
            turn: connection.turns as u16,
        };
        if inbound {
            read_sequence(&mut transfer.data, call, bytes);
        }
        Some(transfer)
    }

    /// Records the bytes of one call. `GATHERS`: short segments share a record. That costs the verifier a multiple of its time,
    /// and only writes come in so many.
    #[inline(always)]
    pub(crate) fn run<const GATHERS: bool>(&mut self, call: &Call) {
        (self.rest_len, self.iovecs_left) = (0, 0);
        if call.layout == Layout::Buffer as u8 {
            (self.rest, self.rest_len) = (call.source, self.left);
        } else if call.layout == Layout::Vector as u8 {
            (self.iovecs, self.iovecs_left) = (call.source, call.count);
        }
        self.pieces::<{ SEGMENTS_MAX as u64 }, GATHERS>();
    }

    /// Records the bytes of one call that has them in one buffer, as those of TLS libraries do.
    #[inline(always)]
    pub(crate) fn run_buffer(&mut self, call: &Call) {
        (self.rest, self.rest_len, self.iovecs_left) = (call.source, self.left, 0);
        for _ in 0..BUFFER_PIECES {
            if self.left != 0 && self.rest_len != 0 {
                self.piece();
            }
        }
        if self.left != 0 && self.rest_len != 0 {
            counter::bump(Counter::SegmentsSkipped);
        }
        self.unseen();
    }

    /// Records the bytes of one message of `sendmmsg` or `recvmmsg`.
    #[inline(always)]
    pub(crate) fn message(&mut self, iovecs: u64, count: u64) {
        (self.rest_len, self.iovecs, self.iovecs_left) = (0, iovecs, count);
        self.pieces::<{ MESSAGE_SEGMENTS_MAX as u64 }, false>();
    }

    /// Records the segments, in no more than `RECORDS` records, and moves on behind them.
    #[inline(always)]
    fn pieces<const RECORDS: u64, const GATHERS: bool>(&mut self) {
        let mut records = 0;
        while records < RECORDS && self.left != 0 && !self.is_at_end() {
            if GATHERS {
                write_some_gathered(self)
            } else {
                write_some(self)
            }
            records += PIECES_AT_ONCE;
        }
        if self.left != 0 && !self.is_at_end() {
            counter::bump(Counter::SegmentsSkipped);
        }
        self.unseen();
    }

    #[inline(always)]
    fn is_at_end(&self) -> bool {
        self.rest_len == 0 && self.iovecs_left == 0
    }

    /// Finds the next segment where the last one is done. False: its place cannot be read.
    #[inline(always)]
    fn find_segment(&mut self) -> bool {
        if self.rest_len != 0 {
            return true;
        }
        let Some([base, len]) = read_user::<[u64; 2]>(self.iovecs) else {
            self.iovecs_left = 0;
            counter::bump(Counter::LostUserRead);
            return false;
        };
        (self.rest, self.rest_len) = (base, len);
        self.iovecs += IOVEC_BYTES;
        self.iovecs_left -= 1;
        true
    }

    /// Records the next bytes of the segment: all, or as many as a record can hold where all are wanted.
    #[inline(always)]
    fn piece(&mut self) {
        const WHOLE: u64 = PAYLOAD_MAX as u64;
        let len = if self.rest_len < self.left { self.rest_len } else { self.left };
        let len = if len > WHOLE && self.head_left > WHOLE { WHOLE } else { len };
        (self.base, self.len) = (self.rest, len);
        self.rest += len;
        self.rest_len -= len;
        if self.len != 0 {
            write_segment(self);
        }
    }

    /// A short segment with others behind it, of a call of which all is wanted: HTTP/2 writes its frames' headers so.
    #[inline(always)]
    fn is_gathered(&self) -> bool {
        self.head_left > PAYLOAD_MAX as u64 && self.iovecs_left != 0 && self.rest_len <= GATHER_BYTES
    }

    /// Puts the next segment behind the `len` bytes that are in the payload. False: it is too long, or not there.
    #[inline(always)]
    fn gather<const BYTES: usize, const SEGMENT: usize>(&mut self, payload: *mut [u8; BYTES]) -> bool {
        if self.is_at_end() || self.len >= self.left || !self.find_segment() {
            return false;
        }
        let left = self.left - self.len;
        let len = if self.rest_len < left { self.rest_len } else { left };
        let at = self.len;
        let (at_max, len_max) = ((BYTES - SEGMENT) as u64, SEGMENT as u64);
        if len > len_max || at > at_max {
            return false;
        }
        let at = at_most(at, at_max);
        let bytes = at_most(len, len_max);
        // SAFETY: the helper checks the source; `at + bytes` bytes fit.
        let to = unsafe { payload.cast::<u8>().add(at as usize) };
        // SAFETY: as above.
        if unsafe { bpf_probe_read_user(to.cast(), bytes as u32, self.rest as *const _) } != 0 {
            return false;
        }
        self.len = at + bytes;
        self.rest_len = 0;
        true
    }

    /// What was not copied for whichever reason is still part of the stream.
    #[inline(always)]
    fn unseen(&mut self) {
        if self.left != 0 {
            self.len = self.left;
            write_unseen(self);
        }
    }
}

const IOVEC_BYTES: u64 = 16;

#[inline(always)]
pub(crate) fn read_user<T: Copy>(from: u64) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    // SAFETY: the helper checks the address and writes no more than `T`.
    let failed = unsafe { bpf_probe_read_user(value.as_mut_ptr().cast(), size_of::<T>() as u32, from as *const _) };
    // SAFETY: all of it was written.
    if failed == 0 { Some(unsafe { value.assume_init() }) } else { None }
}

#[inline(always)]
fn policy(connection: &mut Connection) -> Policy {
    // SAFETY: copied at once.
    let Some(policy) = (unsafe { POLICIES.get(connection.id()) }).copied() else {
        return Policy::head(HEAD_DEFAULT_BYTES, Role::Unknown);
    };
    if policy.role != 0 {
        connection.role = policy.role as u8;
    }
    policy
}

/// What a client of HTTP/2 starts with (RFC 9113, section 3.4), as far as no request of HTTP/1 does.
#[inline(always)]
fn is_preface(connection: &Connection, call: &Call, inbound: bool) -> bool {
    let position = if inbound { connection.inbound } else { connection.outbound };
    position == 0 && read_user::<[u8; 6]>(start_of(call)) == Some(*b"PRI * ")
}

/// User address of the first byte of a call; 0: not known.
#[inline(always)]
pub(crate) fn start_of(call: &Call) -> u64 {
    if call.layout == Layout::Buffer as u8 {
        call.source
    } else if call.layout == Layout::Vector as u8 {
        read_user(call.source).unwrap_or(0)
    } else {
        0
    }
}

/// A change of direction opens a new head.
#[inline(always)]
fn turn(connection: &mut Connection, direction: u8, policy: Policy) {
    if connection.direction != direction {
        connection.direction = direction;
        connection.turns = connection.turns.wrapping_add(1);
        connection.head_left = policy.head_bytes;
    }
}

/// Moves the stream position on and returns where the call began.
#[inline(always)]
fn advance(connection: &mut Connection, inbound: bool, bytes: u64) -> u64 {
    let position = if inbound { &mut connection.inbound } else { &mut connection.outbound };
    let begin = *position;
    *position = begin + bytes;
    begin
}

/// Bytes of this call that may be copied in full.
#[inline(always)]
fn spend_head(connection: &mut Connection, policy: Policy, bytes: u64) -> u64 {
    // Of ciphertext, the start of each call tells all that there is to know.
    if connection.tls.state == Tls::SEEN {
        return 0;
    }
    if policy.mode == PolicyMode::Full as u32 {
        return u64::MAX;
    }
    let head_left = u64::from(connection.head_left);
    connection.head_left = head_left.saturating_sub(bytes) as u32;
    head_left
}

/// A read leaves the socket's position behind its bytes. After several messages that says nothing about each.
#[inline(always)]
fn read_sequence(data: &mut Data, call: &Call, bytes: u64) {
    if call.layout == Layout::Messages as u8 || call.plaintext != 0 {
        return;
    }
    if let Some(after) = call::tcp_sequence(call.socket().sock, Direction::Inbound) {
        data.sequence = after.wrapping_sub(bytes as u32);
        data.flags = Data::FLAG_SEQUENCE;
    }
}

/// How many bytes of a segment are copied from its start and from its end.
#[inline(always)]
fn plan(len: u64, head_left: u64) -> (u64, u64) {
    const EDGE_HEAD: u64 = EDGE_HEAD_BYTES as u64;
    const EDGE_TAIL: u64 = EDGE_TAIL_BYTES as u64;
    const HEAD_MAX: u64 = PAYLOAD_MAX as u64 - EDGE_TAIL;
    if len <= head_left && len <= u64::from(PAYLOAD_MAX) {
        return (len, 0);
    }
    let wanted = if head_left > EDGE_HEAD { head_left } else { EDGE_HEAD };
    let wanted = if wanted < HEAD_MAX { wanted } else { HEAD_MAX };
    let head = if wanted < len { wanted } else { len };
    let tail = len - head;
    (head, if tail < EDGE_TAIL { tail } else { EDGE_TAIL })
}

/// One record of the smallest size class that holds what is copied.
#[inline(never)]
fn write_segment(transfer: *mut Transfer) {
    const CLASSES: [usize; 4] = {
        let [a, b, c, d] = PAYLOAD_CLASSES;
        [a as usize, b as usize, c as usize, d as usize]
    };
    // SAFETY: the caller's own, in the map.
    let transfer = unsafe { &mut *transfer };
    plan_segment(transfer);
    match usize::from(transfer.data.head) + usize::from(transfer.data.tail) {
        bytes if bytes <= CLASSES[0] => write::<{ CLASSES[0] }>(transfer),
        bytes if bytes <= CLASSES[1] => write::<{ CLASSES[1] }>(transfer),
        bytes if bytes <= CLASSES[2] => write::<{ CLASSES[2] }>(transfer),
        _ => write::<{ CLASSES[3] }>(transfer),
    }
    step(transfer);
}

/// Records of a buffer that a TLS library was given.
const BUFFER_PIECES: u64 = 8;
/// Records per call of `write_some`. One loop over all of them is beyond the verifier of Linux 6.1.
const PIECES_AT_ONCE: u64 = 4;
const _: () = assert!(SEGMENTS_MAX as u64 % PIECES_AT_ONCE == 0 && MESSAGE_SEGMENTS_MAX as u64 % PIECES_AT_ONCE == 0);

/// The next few pieces of the call.
#[inline(never)]
fn write_some(transfer: *mut Transfer) {
    write_pieces::<false>(transfer);
}

#[inline(never)]
fn write_some_gathered(transfer: *mut Transfer) {
    write_pieces::<true>(transfer);
}

#[inline(always)]
fn write_pieces<const GATHERS: bool>(transfer: *mut Transfer) {
    // SAFETY: the caller's own, in the map.
    let transfer = unsafe { &mut *transfer };
    for _ in 0..PIECES_AT_ONCE {
        if transfer.is_at_end() || transfer.left == 0 || !transfer.find_segment() {
            return;
        }
        if !GATHERS || !transfer.is_gathered() || write_gathered(transfer) == 0 {
            transfer.piece();
        }
    }
}

/// The longest segment that is gathered.
const GATHER_BYTES: u64 = 512;
/// Segments in one such record, at most.
const GATHER_SEGMENTS: u64 = 8;

/// One record of the next short segments, all of each. Returns how many bytes that makes: 0 where the first cannot be read.
#[inline(never)]
fn write_gathered(transfer: *mut Transfer) -> u64 {
    // What is left of the call, and a segment behind it, as far as the verifier knows.
    const SHORT: usize = PAYLOAD_CLASSES[0] as usize;
    // SAFETY: the caller's own, in the map.
    let transfer = unsafe { &mut *transfer };
    match transfer.left {
        left if left <= SHORT as u64 => gather_in::<{ 2 * SHORT }, SHORT>(transfer),
        _ => gather_in::<{ PAYLOAD_CLASSES[2] as usize }, { GATHER_BYTES as usize }>(transfer),
    }
}

/// In a record with room for `BYTES`, segments of at most `SEGMENT` bytes.
#[inline(always)]
fn gather_in<const BYTES: usize, const SEGMENT: usize>(transfer: &mut Transfer) -> u64 {
    let Some(mut entry) = ring::reserve_payload::<Slot<BYTES>>() else { return 0 };
    let slot = entry.as_mut_ptr();
    transfer.len = 0;
    for _ in 0..GATHER_SEGMENTS {
        // SAFETY: a part of the reserved record.
        if !transfer.gather::<BYTES, SEGMENT>(unsafe { &raw mut (*slot).payload }) {
            break;
        }
    }
    transfer.data.total = transfer.len as u32;
    (transfer.data.head, transfer.data.tail) = (transfer.len as u16, 0);
    if transfer.len == 0 {
        ring::discard(entry);
        return 0;
    }
    // SAFETY: as above.
    unsafe {
        (*slot).data = transfer.data;
        (*slot).data.header.len = (size_of::<Data>() as u64 + transfer.len) as u32;
    }
    ring::submit(entry);
    counter::add(Counter::DataBytesCopied, transfer.len);
    counter::bump(Counter::DataRecords);
    step(transfer);
    transfer.data.total.into()
}

/// A function of its own, so that its branches end before the size classes begin.
#[inline(never)]
fn plan_segment(transfer: *mut Transfer) {
    // SAFETY: the caller's own, in the map.
    let transfer = unsafe { &mut *transfer };
    let (head, tail) = plan(transfer.len, transfer.head_left);
    transfer.data.total = transfer.len as u32;
    transfer.data.head = head as u16;
    transfer.data.tail = tail as u16;
}

/// Moves on by the record that was just written, or lost.
#[inline(never)]
fn step(transfer: *mut Transfer) {
    // SAFETY: the caller's own, in the map.
    let transfer = unsafe { &mut *transfer };
    let bytes = transfer.len;
    transfer.data.position += bytes;
    transfer.data.sequence = transfer.data.sequence.wrapping_add(bytes as u32);
    transfer.left -= bytes;
    transfer.head_left = transfer.head_left.saturating_sub(bytes);
}

#[inline(always)]
fn write<const BYTES: usize>(transfer: &Transfer) {
    let Some(mut entry) = ring::reserve_payload::<Slot<BYTES>>() else { return };
    let slot = entry.as_mut_ptr();
    // SAFETY: `slot` is a reserved record, of which all but the payload is written here.
    let copied = unsafe {
        (*slot).data = transfer.data;
        copy_payload(&raw mut (*slot).payload, transfer)
    };
    // SAFETY: as above.
    let data = unsafe { &mut (*slot).data };
    match copied {
        Some(bytes) => {
            data.header.len = (size_of::<Data>() as u64 + bytes) as u32;
            counter::add(Counter::DataBytesCopied, bytes);
        }
        None => {
            (data.head, data.tail) = (0, 0);
            counter::bump(Counter::LostUserRead);
        }
    }
    ring::submit(entry);
    counter::bump(Counter::DataRecords);
}

/// Copies the head and the tail of the segment. Returns how many bytes that makes; `None`: not all could be read.
#[inline(always)]
unsafe fn copy_payload<const BYTES: usize>(payload: *mut [u8; BYTES], transfer: &Transfer) -> Option<u64> {
    const TAIL_MAX: u64 = EDGE_TAIL_BYTES as u64;
    let payload = payload.cast::<u8>();
    // SAFETY: a field in the map; read anew, so that the verifier knows nothing about it yet.
    let planned = unsafe { (&raw const transfer.data.head).read_volatile() };
    let head = at_most(u64::from(planned), BYTES as u64);
    // SAFETY: the helper checks the source; `head` bytes fit.
    if unsafe { bpf_probe_read_user(payload.cast(), head as u32, transfer.base as *const _) } != 0 {
        return None;
    }
    if transfer.data.tail == 0 {
        return Some(head);
    }
    let at = at_most(u64::from(planned), BYTES as u64 - TAIL_MAX);
    let tail = at_most(u64::from(transfer.data.tail), TAIL_MAX);
    let from = transfer.base + transfer.len - tail;
    // SAFETY: the helper checks the source; `at + tail` bytes fit.
    let failed = unsafe { bpf_probe_read_user(payload.add(at as usize).cast(), tail as u32, from as *const _) };
    if failed == 0 { Some(head + tail) } else { None }
}

/// A record that says how many bytes went by, and nothing about them.
#[inline(never)]
fn write_unseen(transfer: *mut Transfer) {
    // SAFETY: the caller's own, in the map.
    let transfer = unsafe { &mut *transfer };
    transfer.data.total = transfer.len as u32;
    (transfer.data.head, transfer.data.tail) = (0, 0);
    if ring::emit(transfer.data) {
        counter::bump(Counter::DataRecords);
    }
    step(transfer);
}
