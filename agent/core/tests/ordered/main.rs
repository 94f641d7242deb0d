//! Protocols whose responses come in the order of their requests, against literal dialogs (`tests/golden/<protocol>`): whole, in
//! pieces, and with parts missing.

#![expect(unreachable_pub, reason = "a test binary exports nothing")]

mod dialog;
mod driver;
mod engine;
mod foreign;
mod golden;
mod goldens;
mod http1;
mod misdetection;
mod transcript;
