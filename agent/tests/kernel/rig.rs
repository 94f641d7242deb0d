//! A traced Python program that does what it is told, and the records of what it did.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use autospan::kernel::{Kernel, KernelError, LoadOptions};
use autospan_core::event::{Data, Event, EventKind, Opened};
use tokio::runtime::{Builder, Runtime};

const DEADLINE: Duration = Duration::from_secs(20);

/// Runs one line of code after another, and says so after each.
const INTERPRETER: &str = "
import sys, socket, os, threading
for line in sys.stdin:
    exec(line)
    print('done', flush=True)
";

pub(crate) struct Python {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Python {
    pub(crate) fn start() -> Self {
        let mut command = Command::new("python3");
        command.args(["-u", "-c", INTERPRETER]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 is installed");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut python = Self { child, output };
        // A `python3` that is a script starts many others on its way to the real one.
        python.run("pass");
        python
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn run(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("piped");
        writeln!(input, "{line}").expect("python is alive");
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("python is alive");
        assert_eq!(answer.trim(), "done", "{line}");
    }

    /// Ends the program by itself.
    pub(crate) fn finish(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().expect("python is a child");
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Kernel programs, a Python program, and what the former saw of the latter.
pub(crate) struct Rig {
    pub(crate) kernel: Kernel,
    pub(crate) python: Python,
    runtime: Runtime,
    records: Vec<Vec<u8>>,
}

impl Rig {
    /// With Python as a target. `None`, and a line saying so, where this machine cannot run it.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(LoadOptions::default())
    }

    /// The same, with these options.
    pub(crate) fn start_with(options: LoadOptions) -> Option<Self> {
        let mut rig = Self::with(&LoadOptions { follow_forks: true, ..options })?;
        rig.kernel.add_target(rig.python.pid());
        Some(rig)
    }

    pub(crate) fn with(options: &LoadOptions) -> Option<Self> {
        let kernel = match Kernel::load(options) {
            Ok(kernel) => kernel,
            Err(error @ KernelError::NotRoot { .. }) => {
                println!("SKIP: {error}");
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        Some(Self { kernel, python: Python::start(), runtime, records: Vec::new() })
    }

    pub(crate) fn run(&mut self, line: &str) {
        self.python.run(line);
    }

    /// Reads records until `seen` is content with them.
    pub(crate) fn wait(&mut self, what: &str, seen: impl Fn(&[Event]) -> bool) {
        let Self { kernel, runtime, records, .. } = self;
        let outcome = runtime.block_on(async {
            let reading = async {
                while !seen(&parse(records)) {
                    kernel.readable().await.expect("the ring can be watched");
                    kernel.drain(64, |record| records.push(record.to_vec()));
                }
            };
            tokio::time::timeout(DEADLINE, reading).await
        });
        let foreign = |event: &Event<'_>| matches!(event.kind, EventKind::Executed);
        let seen = || parse(records).into_iter().filter(|event| !foreign(event)).collect::<Vec<_>>();
        assert!(outcome.is_ok(), "not seen: {what}, only {:?}", seen());
    }

    /// Waits for this many bytes in the records of Python, both directions of all connections together.
    pub(crate) fn wait_for_bytes(&mut self, bytes: u64) {
        let pid = self.python.pid();
        self.wait(&format!("{bytes} bytes"), |events| {
            data_of(events, pid).map(|data| u64::from(data.total)).sum::<u64>() >= bytes
        });
    }

    /// Waits for this many records of what passed inside TLS.
    pub(crate) fn wait_for_plaintext(&mut self, records: usize) {
        self.wait(&format!("{records} records of plaintext"), |events| {
            let inside = |id| {
                events
                    .iter()
                    .any(|event| matches!(event.kind, EventKind::Opened(o) if o.connection == id && o.tls.is_some()))
            };
            let data =
                events.iter().filter(|event| matches!(event.kind, EventKind::Data(data) if inside(data.connection)));
            data.count() >= records
        });
    }

    pub(crate) fn events(&self) -> Vec<Event<'_>> {
        parse(&self.records)
    }

    pub(crate) fn opened(&self) -> Vec<Opened<'_>> {
        let pid = self.python.pid();
        let of_python = self.events().into_iter().filter(move |event| event.tgid == pid);
        of_python
            .filter_map(|event| if let EventKind::Opened(opened) = event.kind { Some(opened) } else { None })
            .collect()
    }

    pub(crate) fn data(&self) -> Vec<Data<'_>> {
        data_of(&self.events(), self.python.pid()).collect()
    }
}

fn parse(records: &[Vec<u8>]) -> Vec<Event<'_>> {
    records.iter().map(|record| Event::parse(record).expect("a valid record")).collect()
}

fn data_of<'a>(events: &[Event<'a>], pid: u32) -> impl Iterator<Item = Data<'a>> {
    let of_python = events.iter().filter(move |event| event.tgid == pid);
    of_python.filter_map(|event| if let EventKind::Data(data) = event.kind { Some(data) } else { None })
}
