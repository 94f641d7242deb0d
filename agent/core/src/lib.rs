//! The engine: kernel records in, spans out.
//!
//! One type per step, each made from the one before, nothing pointing back:
//! [`event::Event`] → `connection` (two `stream`s) → [`protocol`] messages → `exchange`s → parents (`causality`,
//! `routine`, `join`) → [`span::Span`].
//!
//! The crate owns no clock, file, socket, thread or environment and cannot name them; the same input gives the same
//! output bytes. Everything it reads is untrusted: it never panics on it and never grows past [`limits`].
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod causality;
pub mod connection;
pub mod counter;
pub mod engine;
pub mod event;
pub mod evlog;
mod exchange;
pub mod fact;
mod ids;
mod jobs;
mod join;
pub mod limits;
mod map;
mod pool;
pub mod protocol;
mod routine;
pub mod semconv;
pub mod span;
pub mod sql;
mod stream;
pub mod trace_context;
mod turns;
mod unsent;
