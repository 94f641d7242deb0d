//! Numbered kernel-side counters: one variant per thing that can happen to an event. Index into the per-CPU array map
//! `COUNTERS`.

/// Defines a numbered set of counters: `enum Counter`, all of them in order, their names and what they count. The kernel
/// side, the engine and the export each have one.
#[macro_export]
macro_rules! counters {
    (
        $(#[$attribute:meta])* enum Counter;
        $( $(#[doc = $doc:literal])+ $name:ident = $text:literal, )+
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter { $( $(#[doc = $doc])+ $name, )+ }

        impl Counter {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Self] = &[ $( Self::$name, )+ ];

            /// Name shown to the user.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$name => $text, )+ }
            }

            /// What it counts, in a sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $( Self::$name => concat!($( $doc ),+).trim_ascii_start(), )+ }
            }
        }
    };
}

counters! {
    /// A kernel-side counter.
    #[repr(u32)]
    enum Counter;

    /// Calls of targets that were looked at.
    Calls = "calls",
    /// Calls of targets whose file descriptor is not a stream socket.
    CallsNotSocket = "calls.not_socket",
    /// Calls of targets on a connection with policy `Ignore`.
    CallsIgnored = "calls.ignored",
    /// Data records written.
    DataRecords = "data.records",
    /// Payload bytes copied into data records.
    DataBytesCopied = "data.bytes_copied",
    /// Bytes that moved through traced connections, copied or not.
    DataBytesSeen = "data.bytes_seen",
    /// Records lost: the ring buffer was full.
    LostRingFull = "lost.ring_full",
    /// Payload lost: user memory could not be read (paged out, or the address is bad).
    LostUserRead = "lost.user_read",
    /// Calls lost: a kernel struct could not be read.
    LostKernelRead = "lost.kernel_read",
    /// Calls lost: the table of calls in progress was full.
    LostCallsFull = "lost.calls_full",
    /// Connections lost: the connection table refused an entry.
    LostConnectionsFull = "lost.connections_full",
    /// Carriers lost: the carrier table refused an entry.
    LostCarriersFull = "lost.carriers_full",
    /// Exits of calls whose entry was not seen (in progress when the agent attached); harmless once per thread.
    ExitsWithoutEntry = "calls.exit_without_entry",
    /// Segments beyond `SEGMENTS_MAX` of one call: counted in the stream, not captured.
    SegmentsSkipped = "data.segments_skipped",
    /// Connections whose kernel address was reused without a close being seen.
    ConnectionsReused = "connections.reused",
    /// Connections reported.
    Connections = "connections",
    /// Tokens minted.
    Tokens = "tokens",
    /// TLS sessions bound to their connection.
    TlsBound = "tls.bound",
    /// TLS sessions unbound again: what was seen of them contradicted itself.
    TlsConflicts = "tls.conflicts",
    /// Calls of TLS libraries by targets: one for each probe that fired, entry and return.
    TlsProbes = "tls.probes",
    /// Calls on ciphertext, which is not copied.
    TlsCiphertextCalls = "tls.ciphertext_calls",
    /// Plaintext bytes lost: their TLS session is not bound to a connection yet.
    LostTlsUnbound = "lost.tls_unbound",
    /// Calls lost: a table of TLS calls or sessions refused an entry.
    LostTlsFull = "lost.tls_full",
}
