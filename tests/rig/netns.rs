//! Network namespaces.

use crate::process::output;
use anyhow::Result;
use std::sync::atomic::{AtomicU32, Ordering};

/// A network namespace with a loopback device, deleted when dropped.
#[derive(Debug)]
pub struct Netns {
    pub name: String,
}

impl Netns {
    pub fn new() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("autospan-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        output("ip", ["netns", "add", &name])?;
        let netns = Self { name };
        output("ip", ["-n", &netns.name, "link", "set", "lo", "up"])?;
        Ok(netns)
    }

    /// Runs curl inside and returns what it printed.
    pub fn curl(&self, url: &str) -> Result<String> {
        output("ip", ["netns", "exec", &self.name, "curl", "--silent", "--show-error", "--fail", url])
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // What cannot be deleted goes with the machine.
        let _ = output("ip", ["netns", "delete", &self.name]);
    }
}
