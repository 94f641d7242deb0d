//! A world that runs: system calls that the kernel programs see, and the agent that reads what they write.

use crate::agent::{Agent, Session};
use crate::clock::Clock;
use crate::events::Events;
use crate::kernel::{Kernel, Traits, Who};
use crate::network::{Fd, Network, Socket};
use crate::plan::{Model, Plan};
use crate::random::Random;
use crate::{blocking, event_loop, message};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

/// Process of the first service; the next ones follow.
const FIRST_TGID: u32 = 1_000;
/// The process that asks, not traced.
pub(crate) const STRANGER: Who = Who { tgid: 1, tid: 1, task: 0 };

pub(crate) struct World {
    pub(crate) clock: Rc<Clock>,
    pub(crate) plan: Plan,
    kernel: RefCell<Kernel>,
    pub(crate) network: RefCell<Network>,
    agent: RefCell<Option<Agent>>,
    sessions: RefCell<Vec<Session>>,
    tids: Cell<u32>,
    tasks: Cell<u64>,
    /// Services that were killed.
    dead: RefCell<Vec<usize>>,
    clients_left: Cell<usize>,
    /// Threads that go on for others while one job of theirs is held up, which no thread can: they are not.
    shared_threads: RefCell<HashSet<u32>>,
    /// Threads that are held up, and until when.
    busy: RefCell<HashMap<u32, u64>>,
}

/// Lets the world of `plan` happen. Returns what each run of the agent was told.
pub(crate) fn run(plan: Plan) -> Vec<Session> {
    let world = Rc::new(World {
        clock: Clock::new(Random::new(plan.seed ^ 0x5eed)),
        kernel: RefCell::default(),
        network: RefCell::default(),
        agent: RefCell::new(None),
        sessions: RefCell::default(),
        tids: Cell::new(5_000),
        tasks: Cell::new(0xc000_0000_0000),
        dead: RefCell::default(),
        clients_left: Cell::new(plan.clients.len()),
        shared_threads: RefCell::default(),
        busy: RefCell::default(),
        plan,
    });
    world.start();
    world.clock.run();
    world.end();
    world.clock.stop();
    world.sessions.take()
}

impl World {
    fn start(self: &Rc<Self>) {
        if self.plan.attach_at[0] == 0 {
            self.attach();
        }
        for (index, at) in self.plan.attach_at.iter().copied().enumerate() {
            let world = Rc::clone(self);
            if index > 0 || at > 0 {
                self.clock.spawn(async move {
                    world.clock.sleep(at).await;
                    world.attach();
                });
            }
        }
        for (index, service) in self.plan.services.iter().enumerate() {
            if service.model.is_loop() {
                event_loop::start(self, index);
            } else {
                blocking::start(self, index);
            }
        }
        for client in 0..self.plan.clients.len() {
            blocking::start_client(self, client);
        }
        if let Some((service, at)) = self.plan.kill {
            let world = Rc::clone(self);
            self.clock.spawn(async move {
                world.clock.sleep(at).await;
                world.kill(service);
            });
        }
        let world = Rc::clone(self);
        self.clock.spawn(async move { world.poll_ring().await });
    }

    /// All connections are closed, then all processes exit.
    fn end(&self) {
        let open = self.network.borrow().open_ends();
        open.into_iter().for_each(|fd| self.close(STRANGER, fd));
        for service in 0..self.plan.services.len() {
            let who = Who { tgid: tgid_of(service), tid: tgid_of(service), task: 0 };
            self.kernel(|kernel| kernel.exited(who));
        }
        self.drain();
        self.finish_session();
    }

    // === the agent ===

    /// The agent starts, or starts again: it knows nothing of before.
    fn attach(&self) {
        self.drain();
        self.finish_session();
        let targets: Vec<(u32, Traits)> = self.services().map(|(i, m)| (tgid_of(i), traits(m))).collect();
        let ports: Vec<u16> = (0..self.plan.services.len()).map(port_of).collect();
        let run = self.sessions.borrow().len() + 1;
        let inodes = self.network.borrow().last_inode();
        self.kernel.replace(Kernel::attach(run, self.plan.exit_only, &targets, &ports, inodes));
        let secret = self.sessions.borrow().len() as u8 + 1;
        let facts = self.services().map(|(i, m)| (tgid_of(i), m));
        self.agent.replace(Some(Agent::new([secret; 16], self.clock.now(), facts)));
    }

    /// The living services that are traced.
    fn services(&self) -> impl Iterator<Item = (usize, Model)> {
        let models = self.plan.services.iter().map(|s| s.model).enumerate();
        models.filter(|(i, model)| *model != Model::Foreign && !self.dead.borrow().contains(i))
    }

    fn finish_session(&self) {
        let Some(agent) = self.agent.take() else { return };
        let origins = std::mem::take(&mut self.kernel.borrow_mut().origins);
        self.sessions.borrow_mut().push(agent.finish(origins));
    }

    /// The agent looks at the ring buffer now and then, until nothing happens any more.
    async fn poll_ring(&self) {
        const POLL_NS: u64 = 50_000_000;
        const AFTERWARDS: u32 = 12;
        let mut idle = 0;
        while idle < AFTERWARDS {
            let ns = self.clock.random(|r| if r.percent(30) { r.below(POLL_NS) } else { POLL_NS });
            self.clock.sleep(ns).await;
            self.drain();
            idle = if self.clients_left.get() == 0 { idle + 1 } else { 0 };
        }
    }

    fn drain(&self) {
        let now = self.clock.now();
        let mut agent = self.agent.borrow_mut();
        let (Some(agent), mut kernel) = (agent.as_mut(), self.kernel.borrow_mut()) else { return };
        let (mut ready, waiting): (Vec<_>, Vec<_>) = kernel.records.drain(..).partition(|r| r.ring_at <= now);
        kernel.records = waiting;
        ready.sort_by_key(|record| record.ring_at);
        for (connection, policy) in agent.take(&ready, now) {
            kernel.policies.insert(connection, policy);
        }
    }

    pub(crate) fn client_done(&self) {
        self.clients_left.set(self.clients_left.get() - 1);
    }

    // === processes ===

    pub(crate) fn new_thread(&self, service: usize) -> Who {
        self.tids.set(self.tids.get() + 1);
        Who { tgid: tgid_of(service), tid: self.tids.get(), task: 0 }
    }

    /// A thread that another one makes.
    pub(crate) fn spawn_thread(&self, service: usize, maker: Who) -> Who {
        let made = self.new_thread(service);
        self.kernel(|kernel| kernel.thread_made(maker, made));
        made
    }

    pub(crate) fn is_busy(&self, thread: Who) -> bool {
        self.busy.borrow().get(&thread.tid).is_some_and(|until| self.clock.now() < *until)
    }

    pub(crate) fn share_thread(&self, thread: Who) {
        self.shared_threads.borrow_mut().insert(thread.tid);
    }

    /// Address of a new goroutine or context.
    pub(crate) fn new_task(&self) -> u64 {
        self.tasks.set(self.tasks.get() + 0x80);
        self.tasks.get()
    }

    fn kill(&self, service: usize) {
        self.dead.borrow_mut().push(service);
        let who = Who { tgid: tgid_of(service), tid: tgid_of(service), task: 0 };
        let fds = self.network.borrow().open_ends();
        for fd in fds {
            if self.owner(fd) == Some(service) {
                self.close(who, fd);
            }
        }
        self.kernel(|kernel| kernel.exited(who));
    }

    pub(crate) fn is_dead(&self, service: usize) -> bool {
        self.dead.borrow().contains(&service)
    }

    fn owner(&self, fd: Fd) -> Option<usize> {
        self.network.borrow().owner(fd)
    }

    // === what the kernel programs see ===

    /// Something that they hook happens, now.
    pub(crate) fn kernel<T>(&self, happens: impl FnOnce(&mut Kernel) -> T) -> T {
        let mut kernel = self.kernel.borrow_mut();
        (kernel.now, kernel.stall) = (self.clock.pass(), 0);
        happens(&mut kernel)
    }

    /// The same, where the thread may be held up while it writes a record.
    async fn kernel_stalled<T>(&self, who: Who, happens: impl FnOnce(&mut Kernel, &Network) -> T) -> T {
        let (percent, max) = self.plan.stall;
        let stall = self.clock.random(|r| if r.percent(percent) { r.below(max) } else { 0 });
        let stall = if self.shared_threads.borrow().contains(&who.tid) { 0 } else { stall };
        self.busy.borrow_mut().insert(who.tid, self.clock.now() + stall + 1_000);
        let value = {
            let (mut kernel, network) = (self.kernel.borrow_mut(), self.network.borrow());
            (kernel.now, kernel.stall) = (self.clock.pass(), stall);
            happens(&mut kernel, &network)
        };
        self.clock.sleep(stall).await;
        value
    }

    pub(crate) fn with_socket<T>(&self, fd: Fd, happens: impl FnOnce(&mut Kernel, &Socket) -> T) -> T {
        let network = self.network.borrow();
        self.kernel(|kernel| happens(kernel, network.socket(fd)))
    }

    // === system calls ===

    pub(crate) fn listen(&self, service: usize, events: Option<Rc<Events>>) {
        let port = port_of(service);
        self.network.borrow_mut().listen(port, self.plan.services[service].tls, events);
        self.kernel(|kernel| kernel.listening(port));
    }

    /// Begins to connect; made when [`World::connected`] was waited for.
    pub(crate) fn connect(&self, who: Who, from: Option<usize>, to: usize) -> Fd {
        let sequence = self.clock.random(Random::next) as u32;
        let fd = self.network.borrow_mut().connect(port_of(to), sequence, from, to);
        let attached = self.agent.borrow().is_some();
        self.with_socket(fd, |kernel, socket| kernel.connecting(who, socket.sock, attached));
        fd
    }

    pub(crate) async fn connected(&self, fd: Fd) {
        let ns = self.clock.random(|r| r.between(5_000, 100_000));
        self.clock.sleep(ns).await;
        let server = self.network.borrow().peer(fd);
        self.with_socket(server, |kernel, socket| kernel.accepted(socket.sock));
        let service = self.owner(server);
        if service.is_some_and(|service| self.is_dead(service)) {
            self.close(STRANGER, server);
        }
        self.network.borrow_mut().establish(fd, &self.clock);
    }

    pub(crate) async fn accept(&self, port: u16) -> Fd {
        let bell = self.network.borrow().acceptable(port);
        bell.until(&self.clock, || self.network.borrow_mut().accept(port)).await
    }

    /// Writes a message by as many calls as it takes.
    pub(crate) async fn write(&self, who: &dyn Fn() -> Who, fd: Fd, request: Option<usize>, bytes: &[u8]) {
        self.note(fd, request);
        for piece in self.pieces(bytes) {
            if !self.network.borrow().is_open(fd) {
                return;
            }
            let (who, segments) = (who(), self.segments(piece));
            let call = self.with_socket(fd, |kernel, socket| kernel.enter_write(who, socket));
            self.network.borrow_mut().send(fd, piece, &self.clock);
            let ns = self.clock.random(|r| r.pick(&[0, 2_000, 30_000, 1_000_000]));
            self.clock.sleep(ns).await;
            if self.is_killed(who) {
                return std::future::pending().await;
            }
            let exit = |kernel: &mut Kernel, network: &Network| {
                kernel.exit_write(who, network.socket(fd), call, &segments);
            };
            self.kernel_stalled(who, exit).await;
        }
    }

    /// The same in one go, for a thread that does not wait.
    pub(crate) fn write_now(&self, who: Who, fd: Fd, request: Option<usize>, bytes: &[u8]) {
        self.note(fd, request);
        for piece in self.pieces(bytes) {
            if !self.network.borrow().is_open(fd) {
                return;
            }
            let segments = self.segments(piece);
            let call = self.with_socket(fd, |kernel, socket| kernel.enter_write(who, socket));
            self.network.borrow_mut().send(fd, piece, &self.clock);
            self.with_socket(fd, |kernel, socket| kernel.exit_write(who, socket, call, &segments));
        }
    }

    fn note(&self, fd: Fd, request: Option<usize>) {
        if let Some(request) = request {
            self.network.borrow_mut().note(fd, request, 0);
        }
    }

    /// Reads what is there, some of it, or waits for it; empty at the end.
    pub(crate) async fn read(&self, who: &dyn Fn() -> Who, fd: Fd) -> Vec<u8> {
        let (entered, max) = (self.clock.now(), self.read_size());
        let bell = self.network.borrow().readable(fd);
        let bytes = bell.until(&self.clock, || self.network.borrow_mut().receive(fd, max)).await;
        let who = who();
        if self.is_killed(who) {
            return std::future::pending().await;
        }
        if !bytes.is_empty() {
            let exit = |kernel: &mut Kernel, network: &Network| {
                kernel.has_read(who, network.socket(fd), entered, &bytes);
            };
            self.kernel_stalled(who, exit).await;
        }
        bytes
    }

    /// The same, for a thread that does not wait.
    pub(crate) fn read_now(&self, who: Who, fd: Fd) -> Option<Vec<u8>> {
        let max = self.read_size();
        let bytes = self.network.borrow_mut().receive(fd, max)?;
        if !bytes.is_empty() {
            let entered = self.clock.now();
            self.with_socket(fd, |kernel, socket| kernel.has_read(who, socket, entered, &bytes));
        }
        Some(bytes)
    }

    /// The socket's end is reported by whatever the CPU happens to run.
    pub(crate) fn close(&self, who: Who, fd: Fd) {
        let who = self.clock.random(|r| if r.percent(50) { who } else { STRANGER });
        if self.network.borrow_mut().close(fd, &self.clock) {
            self.with_socket(fd, |kernel, socket| kernel.closed(who, socket.sock));
        }
    }

    fn is_killed(&self, who: Who) -> bool {
        who.tgid >= FIRST_TGID && self.is_dead((who.tgid - FIRST_TGID) as usize)
    }

    fn read_size(&self) -> usize {
        const BUFFER_BYTES: usize = 65_536;
        let percent = self.plan.split_percent;
        self.clock.random(|r| if r.percent(percent) { r.between(1, 200) as usize } else { BUFFER_BYTES })
    }

    /// Bytes of each call.
    fn pieces<'b>(&self, bytes: &'b [u8]) -> Vec<&'b [u8]> {
        let percent = self.plan.split_percent;
        self.clock.random(|r| if r.percent(percent) { message::split(bytes, r) } else { vec![bytes] })
    }

    /// Bytes of each segment of a call.
    fn segments<'b>(&self, bytes: &'b [u8]) -> Vec<&'b [u8]> {
        self.pieces(bytes)
    }
}

pub(crate) fn tgid_of(service: usize) -> u32 {
    FIRST_TGID + service as u32
}

pub(crate) fn port_of(service: usize) -> u16 {
    8_000 + service as u16
}

fn traits(model: Model) -> Traits {
    Traits { turns: model == Model::Turns, uvloop: matches!(model, Model::Tasks { uvloop: true, .. }) }
}
