//! The engine on lists of system calls: what goes in is what the kernel programs write, what comes out are trees.

mod answers;
mod databases;
mod flow;
mod http2;
mod jobs;
mod loss;
mod only_request;
mod pipelined;
mod reuse;
mod spawned;
mod tls;
mod unsent;
mod world;

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n")
}
