//! The rig: real services, a real OTLP receiver, the real agent, and nothing of the agent's own code.
//!
//! `cargo xtask setup` installs what the services need under `target/rig`.

pub mod address;
pub mod agent;
pub mod authority;
pub mod blackhole;
pub mod caller;
pub mod client;
pub mod database;
pub mod h2load;
pub mod interpreter;
pub mod netns;
pub mod nginx;
pub mod paths;
pub mod process;
pub mod receiver;
pub mod service;
pub mod span;
pub mod tls;
pub mod wait;
pub mod wrk;

pub use address::Address;
pub use agent::Agent;
pub use authority::Authority;
pub use caller::Caller;
pub use client::{Client, Response};
pub use database::{Database, Server, Transport};
pub use interpreter::Interpreter;
pub use netns::Netns;
pub use nginx::Nginx;
pub use process::Process;
pub use receiver::Receiver;
pub use service::{App, Service};
pub use span::{Kind, Span};
pub use tls::Connector;
