//! The rig: real services, a real OTLP receiver, the real agent, and nothing of the agent's own code.
//!
//! `cargo xtask setup` installs what the services need under `target/rig`.

pub mod address;
pub mod agent;
pub mod authority;
pub mod blackhole;
pub mod client;
pub mod netns;
pub mod nginx;
pub mod paths;
pub mod process;
pub mod receiver;
pub mod service;
pub mod span;
pub mod wait;
pub mod wrk;

pub use address::Address;
pub use agent::Agent;
pub use client::{Client, Response};
pub use netns::Netns;
pub use nginx::Nginx;
pub use process::Process;
pub use receiver::Receiver;
pub use service::{App, Service};
pub use span::{Kind, Span};
