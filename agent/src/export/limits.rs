//! Limits of the export side, in one place. Sizes relate to each other by the asserts at the end.

use std::time::Duration;

/// Spans waiting for export. At about 1.2 KiB each this is 20 MiB, reached only while a collector is away.
pub(crate) const QUEUE_SPANS_MAX: usize = 16_384;
/// The most that `OTEL_BSP_MAX_QUEUE_SIZE` may ask for.
pub(crate) const QUEUE_SPANS_CEILING: usize = 1 << 20;
/// Spans of one batch. At about 0.6 KiB encoded each it stays well below the 4 MiB that a gRPC server takes by default.
pub(crate) const BATCH_SPANS_MAX: usize = 2_048;
/// How long the first span of a batch waits for more.
pub(crate) const BATCH_DELAY: Duration = Duration::from_millis(200);
/// How long a batch is tried again before it is dropped: a collector restart loses nothing, and one that stays away does
/// not hold old spans before new ones for ever.
pub(crate) const RETRY_TIME_MAX: Duration = Duration::from_secs(30);
/// Spans that the terminal holds back until their traces are complete.
pub(crate) const TERMINAL_SPANS_MAX: usize = 8_192;
/// Traces that the terminal has shown and remembers, to mark late spans.
pub(crate) const TERMINAL_TRACES_REMEMBERED: usize = 4_096;

const _: () = assert!(BATCH_SPANS_MAX <= QUEUE_SPANS_MAX);
const _: () = assert!(QUEUE_SPANS_MAX <= QUEUE_SPANS_CEILING);
