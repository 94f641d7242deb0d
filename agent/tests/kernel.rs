//! The kernel programs on the kernel that runs this test: what a small Python program does is what the records say.
//!
//! Needs root; says so and passes where it is not.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use autospan::kernel::{Kernel, KernelError, LoadOptions};

const DEADLINE: Duration = Duration::from_secs(20);

/// A Python program that runs one line of ours at a time.
struct Python {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Python {
    fn start() -> Self {
        let program = "import sys, socket, os, threading\nfor line in sys.stdin:\n    exec(line)\n    print('done', flush=True)\n";
        let mut command = Command::new("python3");
        command.args(["-u", "-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 is installed");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, output }
    }

    fn run(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("piped");
        writeln!(input, "{line}").expect("python is alive");
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("python is alive");
        assert_eq!(answer.trim(), "done", "{line}");
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn load(options: &LoadOptions) -> Option<Kernel> {
    match Kernel::load(options) {
        Ok(kernel) => Some(kernel),
        Err(error @ KernelError::NotRoot { .. }) => {
            println!("SKIP: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_loopback_exchange_is_recorded() {
    let Some(mut kernel) = load(&LoadOptions { auto: true, follow_forks: true, ..LoadOptions::default() }) else {
        return;
    };
    for capability in kernel.capabilities().iter().filter(|capability| !capability.works()) {
        println!("{capability:?}");
    }
    let mut python = Python::start();
    python.run("s=socket.socket(); s.bind(('127.0.0.1', 21001)); s.listen()");
    python.run("c=socket.create_connection(('127.0.0.1', 21001)); a,_=s.accept()");
    python.run("c.send(b'GET / HTTP/1.1')");
    python.run("a.recv(100); a.sendall(b'x'*100000) if 0 else a.send(b'y'*60000)");
    python.run("c.recv(100000); c.close(); a.close()");
    let deadline = Instant::now() + DEADLINE;
    let mut closed = 0;
    while closed < 2 {
        assert!(Instant::now() < deadline, "two closes");
        kernel.drain(1000, |record| {
            let event = autospan_core::event::Event::parse(record).expect("a valid record");
            let ours = event.tgid == python.child.id();
            closed += usize::from(ours && matches!(event.kind, autospan_core::event::EventKind::Closed { .. }));
        });
    }
}
