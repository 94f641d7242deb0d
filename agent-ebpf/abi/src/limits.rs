//! Sizes of every kernel table and buffer. The userspace tables have theirs in `autospan_core::limits`.

/// Ring buffer, shared by all CPUs. A power of two and a multiple of the page size.
pub const RING_BYTES: u32 = 8 << 20;
/// The agent is woken each time this much more lies unread in the ring buffer. Less than that waits until it looks by
/// itself: waking it for every record costs more than the record.
pub const RING_WAKE_BYTES: u32 = 128 << 10;
/// … which is after this many milliseconds.
pub const RING_POLL_MS: u64 = 50;
/// Kept free of payload, so that a ring full of it still takes the start and the end of connections and processes: the
/// engine knows by them what else was lost.
pub const RING_KEPT_BYTES: u32 = 256 << 10;
/// Connections the kernel side knows at once (LRU: the least recently used one is forgotten, then seen anew).
pub const CONNECTIONS_MAX: u32 = 32_768;
/// Capture policies set by the engine (LRU).
pub const POLICIES_MAX: u32 = 16_384;
/// Threads inside a traced system call at once.
pub const CALLS_MAX: u32 = 8_192;
/// Execution contexts that carry a token at once (LRU).
pub const CARRIERS_MAX: u32 = 16_384;
/// Listening sockets known, by network namespace and port.
pub const LISTENERS_MAX: u32 = 4_096;
/// Highest pid + 1 (`PID_MAX_LIMIT` of 64-bit kernels). The process table has a byte for each pid below the lesser of
/// this and the machine's `kernel.pid_max`.
pub const PIDS_MAX: u32 = 4 << 20;
/// Outgoing connections being made or open (LRU), of any process: who connected, on whose behalf.
pub const CONNECTS_MAX: u32 = 16_384;

/// Processes whose language runtime is known in detail (LRU).
pub const RUNTIMES_MAX: u32 = 1_024;
/// CPython contexts whose maker and connection are known (LRU).
pub const LINEAGES_MAX: u32 = 4_096;
/// Threads that are setting up a connection, and contexts whose TLS session has not sent its first message yet (LRU of each).
pub const BEGINNINGS_MAX: u32 = 1_024;
/// Threads between two steps of a runtime that belong together, of each kind (LRU).
pub const STEPS_MAX: u32 = 1_024;
/// Work handed from one context to another and not taken yet (LRU).
pub const HANDOVERS_MAX: u32 = 1_536;
/// Items in queues of CPython, or lent by them (LRU).
pub const QUEUED_MAX: u32 = 512;
/// Such queues (LRU).
pub const QUEUES_MAX: u32 = 256;
/// HTTP/2 sessions of libraries whose streams are handed to those that work on them (LRU).
pub const HTTP2_SESSIONS_MAX: u32 = 1_024;
/// Items in deques of CPython that are watched (LRU).
pub const JOBS_MAX: u32 = 768;
/// Deques through which threads hand work to one another (LRU).
pub const DEQUES_MAX: u32 = 256;
/// Threads that take it, or wait for something (LRU).
pub const TAKERS_MAX: u32 = 512;
/// Threads that run an event loop of Node (LRU).
pub const NODES_MAX: u32 = 64;
/// Turns of such a loop that are remembered: those of one iteration, and of some before it. A power of two.
pub const TURNS_MAX: u32 = 64;
/// Threads that are mapping a file executable at once (LRU).
pub const MAPPINGS_MAX: u32 = 512;
/// Threads and goroutines inside a call of a TLS library at once (LRU).
pub const TLS_CALLS_MAX: u32 = 2_048;
/// TLS sessions bound to a connection, or about to be (LRU).
pub const TLS_SESSIONS_MAX: u32 = 8_192;
/// Contexts that read ciphertext which no TLS call has consumed yet (LRU).
pub const TLS_READS_MAX: u32 = 2_048;
/// How often one connection's plaintext is tied to a TLS session before it is left alone.
pub const TLS_BINDINGS_MAX: u8 = 4;
/// How long after a read of ciphertext the TLS call that consumes it may come.
pub const TLS_READ_KEPT_NS: u64 = 1_000_000_000;
/// Calls of a connection in which a first TLS record is looked for, and then those in which its ServerHello is: some
/// protocols ask for TLS in the clear.
pub const TLS_HELLO_CALLS_MAX: u8 = 16;

/// iovec segments of one call that are captured, or records of them where they are gathered or split; the rest is only
/// counted.
pub const SEGMENTS_MAX: u32 = 16;
/// Messages of one `sendmmsg`/`recvmmsg` call that are recorded. Sockets with a stream see one or two; more are lost, as
/// a skipped segment in the counters. Each costs the verifier a tenth of a second when the agent starts.
pub const MESSAGES_MAX: u32 = 2;
/// iovec segments of each of those messages that are captured.
pub const MESSAGE_SEGMENTS_MAX: u32 = 4;

/// Payload bytes of the size classes that data records are reserved in.
pub const PAYLOAD_CLASSES: [u32; 4] = [256, 1024, 4096, 16_384];
/// Payload bytes of one data record at most.
pub const PAYLOAD_MAX: u32 = PAYLOAD_CLASSES[3];

/// Captured after each change of direction on a connection that the engine has not judged yet.
pub const HEAD_DEFAULT_BYTES: u32 = 16_384;
/// The same on a connection that clients send on without waiting: while more than [`PAYLOAD_MAX`] are left of it, short segments of
/// a write share records, of which there are many when it holds the requests of many.
pub const HEAD_PIPELINE_BYTES: u32 = 65_536;
/// Past the head, the first and last bytes of each call's data that are still captured, so that chunk headers and
/// message ends stay visible.
pub const EDGE_HEAD_BYTES: u32 = 64;
pub const EDGE_TAIL_BYTES: u32 = 32;

/// Bytes of a unix socket's path, as in `sockaddr_un`.
pub const UNIX_PATH_BYTES: usize = 108;

const _: () = assert!(RING_BYTES.is_power_of_two() && RING_BYTES.is_multiple_of(4096));
const _: () = assert!(TURNS_MAX.is_power_of_two());
const _: () = assert!(RING_KEPT_BYTES < RING_BYTES / 8);
const _: () = assert!(RING_WAKE_BYTES.is_power_of_two() && RING_WAKE_BYTES <= RING_BYTES / 8);
const _: () = assert!(EDGE_HEAD_BYTES + EDGE_TAIL_BYTES <= PAYLOAD_CLASSES[0]);
const _: () = assert!(HEAD_DEFAULT_BYTES <= PAYLOAD_MAX && HEAD_PIPELINE_BYTES > PAYLOAD_MAX);
