//! Standard output for the text sinks. Writes happen off the runtime's workers: a reader that stops reading (a pager,
//! a slow pipe) holds up the export task, never the engine.

use super::worker::Closed;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use tokio::task::spawn_blocking;

/// Where text goes: shared, because a write runs on another thread.
#[derive(Clone)]
pub(crate) struct Output(Arc<Mutex<dyn Write + Send>>);

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Output")
    }
}

impl Output {
    pub(crate) fn stdout() -> Self {
        Self::new(io::stdout())
    }

    pub(crate) fn new(write: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(write)))
    }

    /// Writes all of `text` and flushes, then empties it. `Closed` where the reader is gone; any other failure means the
    /// same, after one line that says which.
    pub(crate) async fn write(&self, text: &mut Vec<u8>) -> Result<(), Closed> {
        let target = Arc::clone(&self.0);
        let bytes = std::mem::take(text);
        let written = spawn_blocking(move || write_all(&target, bytes)).await;
        match written {
            Ok(Ok(bytes)) => {
                *text = bytes;
                text.clear();
                Ok(())
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Err(Closed),
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot write spans to standard output; tracing ends");
                Err(Closed)
            }
            Err(_panicked_or_runtime_gone) => Err(Closed),
        }
    }
}

fn write_all(target: &Mutex<dyn Write + Send>, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut target = target.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    target.write_all(&bytes)?;
    target.flush()?;
    Ok(bytes)
}
