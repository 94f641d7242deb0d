//! tracefs: where the kernel lists its tracepoints. Mounted where nobody did so yet.

use std::io;
use std::path::Path;

use nix::mount::{MsFlags, mount};

const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// # Errors
/// tracefs is not mounted and cannot be.
pub(crate) fn ensure_mounted() -> io::Result<()> {
    if is_mounted() {
        return Ok(());
    }
    mount(Some("tracefs"), PLACES[0], Some("tracefs"), MsFlags::empty(), None::<&str>)?;
    if is_mounted() { Ok(()) } else { Err(io::Error::other("tracefs was mounted, yet lists no events")) }
}

fn is_mounted() -> bool {
    PLACES.iter().any(|place| Path::new(place).join("events").is_dir())
}
