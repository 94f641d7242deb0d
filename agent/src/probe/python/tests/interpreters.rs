//! Real interpreters: what they say of their own contexts is found from outside.

use crate::probe::ProbeProgram::{
    PyContextCopied, PyContextEntered, PyDequeAppend, PyDequePopleft, PyFutureSet, PyQueueGot, PyQueuePut,
};
use crate::probe::{Libraries, ProbeChange, ProbeProgram};
use autospan_abi::{DequeHead, PythonRuntime};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::process::{Child, ChildStdout, Command, Stdio};

/// Three threads enter a context each and stay in it. A line per thread: thread pointer, context, a future that its
/// callback waits for.
const SCRIPT: &str = "
import _asyncio, _queue, asyncio, collections, contextvars, os, sys, threading
deque = collections.deque()
for n in range(100): deque.append(object())
for _ in range(70): deque.popleft()
os.write(1, b'%d %d\\n' % (id(deque), id(deque[0])))
def stay(context, leave):
    future = _asyncio.Future(loop=loop)
    future.add_done_callback(print, context=context)
    os.write(1, b'%d %d %d\\n' % (threading.get_ident(), id(context), id(future)))
    leave()
def enter(leave):
    context = contextvars.copy_context()
    context.run(stay, context, leave)
loop = asyncio.new_event_loop()
done = threading.Event()
threads = [threading.Thread(target=enter, args=(done.wait,)) for _ in range(2)]
for thread in threads: thread.start()
enter(sys.stdin.read)
done.set()
";

/// A thread in a context.
struct Stay {
    thread_pointer: u64,
    context: u64,
    future: u64,
}

/// A running script.
struct Interpreter {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Interpreter {
    /// `None`: there is no such interpreter.
    fn start(program: &str) -> Option<Self> {
        let mut command = Command::new(program);
        let command = command.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().ok()?;
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Some(Self { child, output })
    }

    fn numbers(&mut self) -> Vec<u64> {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line.split_whitespace().map(|number| number.parse().expect("a number")).collect()
    }

    fn stays(&mut self) -> Option<Vec<Stay>> {
        let line = |_| {
            let [thread_pointer, context, future] = self.numbers().try_into().ok()?;
            Some(Stay { thread_pointer, context, future })
        };
        (0..3).map(line).collect()
    }
}

impl Drop for Interpreter {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The memory of a process.
struct Memory(File);

impl Memory {
    fn word(&self, address: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, address).unwrap_or_else(|error| panic!("{address:#x}: {error}"));
        u64::from_le_bytes(bytes)
    }

    fn half(&self, address: u64) -> u64 {
        self.word(address) & u64::from(u32::MAX)
    }

    fn deque(&self, address: u64) -> DequeHead {
        let word = |n: u64| self.word(address + DequeHead::OFFSET + 8 * n);
        DequeHead {
            size: word(0),
            left_block: word(1),
            right_block: word(2),
            left_index: word(3),
            right_index: word(4),
            state: word(5),
            max_len: word(6).cast_signed(),
        }
    }

    /// As the kernel programs do it.
    fn context(&self, runtime: &PythonRuntime, thread_pointer: u64) -> u64 {
        let specific = thread_pointer + u64::from(runtime.specific);
        let slot = match (runtime.state_key, runtime.specific_entry) {
            (0, _) => thread_pointer.wrapping_add_signed(runtime.state_tls),
            (key, 16) => specific + self.half(key) * 16 + 8,
            (key, _) => self.word(specific) + self.half(key) * 8,
        };
        let state = self.word(slot);
        assert_eq!(self.word(state + u64::from(runtime.thread_id)), thread_pointer);
        self.word(state + u64::from(runtime.context))
    }
}

/// Is there such an interpreter? If so, all is found.
fn check(program: &str) -> bool {
    let Some(mut interpreter) = Interpreter::start(program) else { return false };
    let Ok([deque, first]) = <[u64; 2]>::try_from(interpreter.numbers()) else { return false };
    let Some(stays) = interpreter.stays() else { return false };
    let pid = interpreter.child.id();
    let mut libraries = Libraries::default();
    let changes = libraries.mapped(pid);
    let runtime = libraries.python(pid).unwrap_or_else(|| panic!("{program}: {changes:?}"));
    let memory = Memory(File::open(format!("/proc/{pid}/mem")).expect("memory of a child"));
    for stay in stays {
        assert_eq!(memory.context(&runtime, stay.thread_pointer), stay.context, "{program}");
        assert_eq!(memory.word(stay.context + 8), runtime.context_type, "{program}");
        assert_eq!(memory.half(stay.context + u64::from(runtime.entered)), 1, "{program}");
        assert_eq!(memory.word(stay.future + u64::from(runtime.future_context)), stay.context, "{program}");
    }
    let head = memory.deque(deque);
    assert_eq!((head.size, head.next_out(), head.next_in(), head.is_unlimited()), (30, 70, 100, true), "{program}");
    assert_eq!(head.first().map(|at| memory.word(at)), Some(first), "{program}");
    let (path, probes) = libraries.on_demand(pid).unwrap_or_else(|| panic!("{program}: no deque"));
    let programs: Vec<_> = probes.iter().map(|probe| probe.program).collect();
    assert!(programs.contains(&PyDequeAppend) && programs.contains(&PyDequePopleft), "{path:?}: {programs:?}");
    let attached = changes.iter().flat_map(|change| match change {
        ProbeChange::Attach { recognised, .. } => recognised.probes.as_slice(),
        ProbeChange::Detach { .. } => &[],
    });
    let programs: Vec<ProbeProgram> = attached.map(|probe| probe.program).collect();
    for wanted in [PyContextCopied, PyContextEntered, PyFutureSet, PyQueueGot, PyQueuePut] {
        assert!(programs.contains(&wanted), "{program}: {programs:?}");
    }
    true
}

#[test]
fn installed_interpreters() {
    assert!(check("python3"), "no python3; try cargo xtask setup");
    let others: Vec<_> = (8..=15).map(|minor| format!("python3.{minor}")).filter(|program| check(program)).collect();
    eprintln!("python3 and {others:?} were looked at");
}
