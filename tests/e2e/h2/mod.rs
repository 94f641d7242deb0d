//! HTTP/2 and gRPC: the same spans as those of HTTP/1.

mod grpc;
mod http;
mod illegal;
mod late;
mod load;

use anyhow::Result;
use rig::agent::Options;
use rig::{Agent, Caller, Receiver};

/// Of somebody else.
const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT_ID: &str = "b7ad6b7169203331";

/// An agent that watches these servers and clients, and nothing else.
fn watching(receiver: &Receiver, servers: &[u32], callers: &[Caller]) -> Result<Agent> {
    let pids: Vec<_> = callers.iter().map(Caller::pid).chain(servers.iter().copied()).collect();
    let arguments: Vec<_> = pids.iter().flat_map(|pid| ["--pid".to_owned(), pid.to_string()]).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    Options::new().arguments(&arguments).grpc(receiver).start()
}
