//! The load: threads with a keep-alive connection each, in this process, which serves nobody and is no target.

use super::mode::Mode;
use anyhow::{Context, Result, ensure};
use rig::{Address, Client, Response};
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

const CALLS_MAX: u64 = 3;

/// What to send.
#[derive(Debug)]
pub(super) struct Load<'a> {
    pub(super) address: &'a Address,
    pub(super) connections: usize,
    pub(super) modes: &'a [Mode],
    /// A number for each request, unlike any other of this run.
    pub(super) numbers: Range<u64>,
    /// Send an id with each request.
    pub(super) ids: bool,
}

impl Load<'_> {
    /// Sends everything and returns when the last answer is here.
    pub(super) fn drive(&self) -> Result<()> {
        let next = AtomicU64::new(self.numbers.start);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.connections).map(|_| scope.spawn(|| self.connection(&next))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().ok().context("a client panicked")?)
        })
    }

    fn connection(&self, next: &AtomicU64) -> Result<()> {
        let mut client = Client::connect(self.address)?;
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= self.numbers.end {
                return Ok(());
            }
            let response = self.request(&mut client, n).with_context(|| format!("request {n}"))?;
            ensure!(response.status == 200, "request {n}: {}: {}", response.status, response.text());
            if closes(&response) {
                client = Client::connect(self.address)?;
            }
        }
    }

    fn request(&self, client: &mut Client, n: u64) -> Result<Response> {
        let path = format!("/r/{n}?mode={}&calls={}", self.mode(n).name(), self.calls(n));
        if self.ids { client.get_with(&path, &[&format!("X-Request-Id: {}", request_id())]) } else { client.get(&path) }
    }

    /// How request `n` makes its calls: each mode as often as any other.
    pub(super) fn mode(&self, n: u64) -> Mode {
        self.modes[(n % self.modes.len() as u64) as usize]
    }

    /// How many calls request `n` makes: 1 to 3, each as often with each mode.
    fn calls(&self, n: u64) -> u64 {
        1 + n / self.modes.len() as u64 % CALLS_MAX
    }
}

fn closes(response: &Response) -> bool {
    response.headers.iter().any(|(name, value)| name == "connection" && value.eq_ignore_ascii_case("close"))
}

/// 32 random hex digits.
fn request_id() -> String {
    let random = || RandomState::new().hash_one(());
    format!("{:016x}{:016x}", random(), random())
}
