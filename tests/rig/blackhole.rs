//! An OTLP/HTTP collector that takes everything and keeps nothing, for measurements: it costs next to nothing itself.

use anyhow::Result;
use std::io::{BufRead, BufReader, Read, Write, copy, sink};
use std::net::{TcpListener, TcpStream};

/// Accepts for as long as the process lives.
pub fn accept(listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        // A client that leaves ends its thread, and that is all there is to it.
        std::thread::spawn(move || answer(&stream).ok());
    }
}

fn answer(stream: &TcpStream) -> Result<()> {
    let mut input = BufReader::new(stream);
    let mut output = stream;
    while let Some(length) = content_length(&mut input)? {
        copy(&mut (&mut input).take(length), &mut sink())?;
        output.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n")?;
    }
    Ok(())
}

/// Reads a request's head; `None` at the end of the connection.
fn content_length(input: &mut impl BufRead) -> Result<Option<u64>> {
    let mut length = 0;
    for line in input.lines() {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            return Ok(Some(length));
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    Ok(None)
}
