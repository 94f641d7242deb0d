//! What a test needs of the machine. Where it is missing the test is skipped, visibly; where `CI` is set it fails.

use std::io::Write;
use std::process::Command;

/// Returns from the test unless the kernel can be asked to trace here.
macro_rules! needs_root {
    () => {
        if !$crate::need::root() {
            return Ok(());
        }
    };
}
pub(crate) use needs_root;

pub(crate) fn root() -> bool {
    nix::unistd::geteuid().is_root() || skip("not root: no program can be loaded into the kernel")
}

/// Returns from the test unless Wireshark's dissectors are here.
macro_rules! needs_tshark {
    () => {
        if !$crate::need::tshark() {
            return Ok(());
        }
    };
}
pub(crate) use needs_tshark;

pub(crate) fn tshark() -> bool {
    let version = Command::new("tshark").arg("--version").output();
    version.is_ok_and(|output| output.status.success()) || skip("no tshark: `cargo xtask setup` installs it")
}

fn skip(reason: &str) -> bool {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    assert!(std::env::var_os("CI").is_none(), "{test} cannot be skipped where CI is set: {reason}");
    // Past the test harness, which keeps what passing tests print; nothing to do where even that fails.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
    false
}
