//! What only HTTP/1 has.

mod generated;
mod misdetection;
