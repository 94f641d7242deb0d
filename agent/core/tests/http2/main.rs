//! HTTP/2: frames, header compression and the machine of one connection.

mod frames;
mod hpack;
mod stories;
