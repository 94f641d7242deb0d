//! Limits of the export side, in one place. Sizes relate to each other by the asserts at the end.

use std::time::Duration;

/// Spans waiting for export. At about 1.2 KiB each this is 20 MiB, reached only while a collector is away.
pub(crate) const QUEUE_SPANS_MAX: usize = 16_384;
/// Spans of one batch. At about 0.6 KiB encoded each it stays well below the 4 MiB that a gRPC server takes by default.
pub(crate) const BATCH_SPANS_MAX: usize = 2_048;
/// How long the first span of a batch waits for more.
pub(crate) const BATCH_DELAY: Duration = Duration::from_millis(200);

const _: () = assert!(BATCH_SPANS_MAX <= QUEUE_SPANS_MAX);
