//! HTTP/1 against literal dialogs (`tests/golden/http1`), whole, in pieces, and with parts missing.

#![expect(unreachable_pub, reason = "a test binary exports nothing")]

mod dialog;
mod driver;
mod engine;
mod foreign;
mod generated;
mod golden;
mod misdetection;
mod transcript;
