//! HTTP/2: frames, header compression and the machine of one connection.

#![expect(unreachable_pub, reason = "a test binary exports nothing")]

mod calls;
mod driver;
mod engine;
#[path = "../ordered/foreign.rs"]
mod foreign;
mod frames;
mod golden;
mod hpack;
mod illegal;
mod misdetection;
mod stories;
