//! Services of one thread that never waits but in its loop: asyncio, uvloop, libuv.
//!
//! Handlers are futures of the loop's own: it lets them go on after each event, which is what microtasks and ready
//! callbacks come to.

use crate::clock::{Job, step};
use crate::events::{Event, Events, Slot};
use crate::kernel::Who;
use crate::message::{self, Reader};
use crate::network::Fd;
use crate::plan::{Model, Protocol, Step};
use crate::world::{World, port_of};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

struct Loop {
    world: Rc<World>,
    index: usize,
    tasks: Option<Tasks>,
    /// The thread, outside of any context.
    thread: Who,
    events: Rc<Events>,
    handlers: RefCell<Vec<Option<Job>>>,
    /// Something that a handler may wait for has happened.
    progress: Cell<u64>,
    conns: RefCell<HashMap<Fd, Conn>>,
    /// To each service: that of exclusive connections, and that of the one that all share.
    pools: Vec<[Pool; 2]>,
    /// The context that connections of the listener share in uvloop.
    listener_context: u64,
    free_workers: RefCell<Vec<Who>>,
}

/// How a loop of CPython makes contexts.
#[derive(Clone, Copy)]
struct Tasks {
    uvloop: bool,
    per_connection: bool,
}

/// What is read on a connection.
struct Conn {
    /// In which its callbacks run.
    context: u64,
    reader: Reader,
    use_: Use,
}

enum Use {
    /// Requests for the task of this connection, if it has one.
    Server(Option<Rc<Inbox>>),
    Client {
        to: Destination,
        /// It is given back by who asks.
        is_held: bool,
        /// Who waits for the next answers: several only where the connection [is pipelined](Destination::is_pipelined).
        responses: VecDeque<Slot<bool>>,
    },
}

/// Where a connection leads, and for whom it is.
#[derive(Clone, Copy)]
struct Destination {
    service: usize,
    is_shared: bool,
    /// It is shared, and nobody waits in order to write.
    is_pipelined: bool,
}

/// Requests that wait for a task, and the context of the task while it waits for one.
#[derive(Default)]
struct Inbox {
    requests: RefCell<VecDeque<Option<usize>>>,
    waiting: Cell<u64>,
}

#[derive(Default)]
struct Pool {
    idle: RefCell<Vec<Fd>>,
    open: Cell<usize>,
    waiters: RefCell<VecDeque<Slot<Option<Fd>>>>,
}

pub(crate) fn start(world: &Rc<World>, index: usize) {
    let service = &world.plan.services[index];
    let tasks = match service.model {
        Model::Tasks { uvloop, per_connection } => Some(Tasks { uvloop, per_connection }),
        _ => None,
    };
    let runs = Rc::new(Loop {
        world: Rc::clone(world),
        index,
        tasks,
        thread: world.new_thread(index),
        events: Rc::default(),
        handlers: RefCell::default(),
        progress: Cell::new(0),
        conns: RefCell::default(),
        pools: world.plan.services.iter().map(|_| Default::default()).collect(),
        listener_context: world.new_task(),
        free_workers: RefCell::default(),
    });
    world.listen(index, Some(Rc::clone(&runs.events)));
    for request in service.heartbeats.iter().copied() {
        let (this, context) = (Rc::clone(&runs), runs.new_context());
        runs.spawn(async move {
            let ns = this.world.clock.random(|r| r.below(this.world.plan.span_ns));
            this.sleep(ns).await;
            this.call(context, request).await;
        });
    }
    world.clock.spawn(async move { runs.run().await });
}

impl Loop {
    async fn run(self: &Rc<Self>) {
        loop {
            self.go_on();
            self.world.kernel(|kernel| kernel.turn_ended(self.thread));
            for event in self.events.wait(&self.world.clock).await {
                if self.world.is_dead(self.index) {
                    return;
                }
                self.happens(event);
                self.go_on();
            }
        }
    }

    fn happens(self: &Rc<Self>, event: Event) {
        match event {
            Event::Acceptable => self.accept(),
            Event::Readable(fd) => self.readable(fd),
            Event::Connected(slot) => self.resolve(&slot, ()),
            Event::Timer(slot) => {
                self.world.kernel(|kernel| kernel.turn_ended(self.thread));
                self.resolve(&slot, ());
            }
            Event::Work(item, slot) => {
                if self.tasks.is_none() {
                    self.world.kernel(|kernel| kernel.work_done(self.thread, item));
                }
                self.resolve(&slot, ());
            }
        }
    }

    /// Lets all handlers go on until none can.
    fn go_on(&self) {
        loop {
            let before = self.progress.get();
            let mut index = 0;
            while index < self.handlers.borrow().len() {
                let job = self.handlers.borrow_mut()[index].take();
                if let Some(mut job) = job
                    && step(&mut job).is_pending()
                {
                    self.handlers.borrow_mut()[index] = Some(job);
                }
                index += 1;
            }
            if before == self.progress.get() {
                return self.handlers.borrow_mut().retain(Option::is_some);
            }
        }
    }

    fn spawn(&self, job: impl Future<Output = ()> + 'static) {
        self.handlers.borrow_mut().push(Some(Box::pin(job)));
        self.progress.set(self.progress.get() + 1);
    }

    fn resolve<T>(&self, slot: &Slot<T>, value: T) {
        slot.replace(Some(value));
        self.progress.set(self.progress.get() + 1);
    }

    // === contexts ===

    fn who(&self, context: u64) -> Who {
        if self.tasks.is_some() { Who { task: context, ..self.thread } } else { self.thread }
    }

    /// One that nobody's request made.
    fn new_context(&self) -> u64 {
        if self.tasks.is_some() { self.world.new_task() } else { 0 }
    }

    fn copy_of(&self, context: u64) -> u64 {
        if self.tasks.is_none() {
            return 0;
        }
        let made = self.world.new_task();
        self.world.kernel(|kernel| kernel.python_context_copied(self.who(context), made));
        made
    }

    // === connections ===

    fn accept(self: &Rc<Self>) {
        let accepted = self.world.network.borrow_mut().accept(port_of(self.index));
        let Some(fd) = accepted else { return };
        let context = match self.tasks {
            Some(Tasks { uvloop: true, .. }) => {
                let context = self.listener_context;
                self.world.kernel(|kernel| kernel.python_context_entered(self.thread, context));
                context
            }
            _ => self.new_context(),
        };
        let inbox = self.tasks.is_some_and(|t| t.per_connection).then(Rc::<Inbox>::default);
        if let Some(inbox) = &inbox {
            self.serve_connection(self.copy_of(context), fd, Rc::clone(inbox));
        }
        let conn = Conn { context, reader: Reader::default(), use_: Use::Server(inbox) };
        self.conns.borrow_mut().insert(fd, conn);
        self.world.network.borrow_mut().watch(fd, &self.events, &self.world.clock);
    }

    fn readable(self: &Rc<Self>, fd: Fd) {
        let Some(context) = self.conns.borrow().get(&fd).map(|conn| conn.context) else { return };
        let Some(bytes) = self.read(fd, context) else { return };
        if self.world.network.borrow().has_more(fd) {
            self.events.readable(fd, &self.world.clock);
        }
        if let Some(conn) = self.conns.borrow_mut().get_mut(&fd) {
            conn.reader.push(&bytes);
        }
        let is_client = matches!(self.conns.borrow()[&fd].use_, Use::Client { .. });
        if is_client { self.client_readable(fd, bytes.is_empty()) } else { self.server_readable(fd, bytes.is_empty()) }
    }

    /// uvloop reads before it enters the context; plaintext is read within it.
    fn read(&self, fd: Fd, context: u64) -> Option<Vec<u8>> {
        let is_tls = self.world.network.borrow().socket(fd).tls;
        let enter = || self.world.kernel(|kernel| kernel.python_context_entered(self.thread, context));
        match self.tasks.is_some_and(|t| t.uvloop) {
            false => self.world.read_now(self.who(context), fd),
            true if is_tls => {
                enter();
                self.world.read_now(self.who(context), fd)
            }
            true => {
                let bytes = self.world.read_now(self.thread, fd);
                enter();
                bytes
            }
        }
    }

    fn server_readable(self: &Rc<Self>, fd: Fd, is_end: bool) {
        loop {
            let next = self.conns.borrow_mut().get_mut(&fd).and_then(|conn| conn.reader.next_request());
            let Some(request) = next else { break };
            self.requested(fd, Some(request));
        }
        if is_end {
            self.requested(fd, None);
            self.conns.borrow_mut().remove(&fd);
            self.world.close(self.thread, fd);
        }
    }

    /// A request has come, or the end.
    fn requested(self: &Rc<Self>, fd: Fd, request: Option<usize>) {
        let (context, inbox) = match &self.conns.borrow()[&fd] {
            Conn { context, use_: Use::Server(inbox), .. } => (*context, inbox.clone()),
            _ => return,
        };
        if let Some(inbox) = inbox {
            inbox.requests.borrow_mut().push_back(request);
            self.progress.set(self.progress.get() + 1);
            if inbox.waiting.get() != 0 {
                let woken = inbox.waiting.replace(0);
                self.world.kernel(|kernel| kernel.python_future_set(self.who(context), woken));
            }
        } else if let Some(request) = request {
            let (this, task) = (Rc::clone(self), self.copy_of(context));
            self.spawn(async move { this.answer(task, fd, request).await });
        }
    }

    fn serve_connection(self: &Rc<Self>, task: u64, fd: Fd, inbox: Rc<Inbox>) {
        let this = Rc::clone(self);
        self.spawn(async move {
            loop {
                let next = poll_fn(|_| {
                    let next = inbox.requests.borrow_mut().pop_front();
                    if next.is_none() {
                        inbox.waiting.set(task);
                    }
                    next.map_or(Poll::Pending, Poll::Ready)
                });
                let Some(request) = next.await else { return };
                this.answer(task, fd, request).await;
            }
        });
    }

    async fn answer(self: &Rc<Self>, task: u64, fd: Fd, id: usize) {
        let request = self.world.plan.requests[id].clone();
        self.take(task, request.steps).await;
        self.world.write_now(self.who(task), fd, None, &message::response(&self.world.plan, id));
        if self.tasks.is_some_and(|t| t.per_connection) {
            // The task goes on to the next request: what is still to do is another's.
            let (this, made) = (Rc::clone(self), self.copy_of(task));
            return self.spawn(async move { this.take(made, request.after).await });
        }
        self.take(task, request.after).await;
    }

    // === what a request does ===

    async fn take(self: &Rc<Self>, task: u64, steps: Vec<Step>) {
        let mut held = None;
        for step in steps {
            let before = held.take_if(|_| self.may_hold_during(&step));
            self.give_back(held.take());
            match step {
                Step::Call(request) => held = self.call_holding(task, request).await,
                Step::Together(requests) => {
                    let all: Vec<_> = requests.into_iter().map(|request| self.elsewhere(task, request)).collect();
                    for one in all {
                        wait(&one).await;
                    }
                }
                Step::Background(request) => drop(self.elsewhere(task, request)),
                Step::Offload(requests) => self.offload(task, requests).await,
                Step::Sleep(ns) => self.sleep(ns).await,
            }
            self.give_back(before);
        }
        self.give_back(held);
    }

    /// Nothing in it waits for a connection of the same pool.
    fn may_hold_during(&self, step: &Step) -> bool {
        match step {
            Step::Call(request) => self.world.plan.protocol(*request) == Protocol::Http,
            Step::Sleep(_) => true,
            Step::Together(_) | Step::Background(_) | Step::Offload(_) => false,
        }
    }

    /// A call by a task of its own.
    fn elsewhere(self: &Rc<Self>, task: u64, request: usize) -> Slot<()> {
        let (done, this, made) = (Slot::default(), Rc::clone(self), self.copy_of(task));
        let told = Rc::clone(&done);
        self.spawn(async move {
            this.call(made, request).await;
            this.resolve(&told, ());
        });
        done
    }

    /// asyncio: calls by a thread that runs a copy of the context. libuv: work that makes no calls, then the calls.
    async fn offload(self: &Rc<Self>, task: u64, requests: Vec<usize>) {
        let (done, item) = (Slot::default(), self.world.new_task());
        let (this, told) = (Rc::clone(self), Rc::clone(&done));
        if self.tasks.is_none() {
            self.world.kernel(|kernel| kernel.work_submitted(self.thread, item));
            self.world.clock.spawn(async move {
                let ns = this.world.clock.random(|r| r.between(10_000, 3_000_000));
                this.world.clock.sleep(ns).await;
                this.events.push(Event::Work(item, told), &this.world.clock);
            });
            wait(&done).await;
            for request in requests {
                self.call(task, request).await;
            }
            return;
        }
        let (context, maker) = (self.copy_of(task), self.who(task));
        self.world.kernel(|kernel| kernel.python_queue_put(maker, item));
        self.world.clock.spawn(async move {
            let free = this.free_workers.borrow_mut().pop();
            let thread = free.unwrap_or_else(|| this.world.spawn_thread(this.index, maker));
            let worker = Who { task: context, ..thread };
            this.world.kernel(|kernel| kernel.python_queue_got(thread, item));
            this.world.kernel(|kernel| kernel.python_context_entered(worker, context));
            for request in requests {
                this.call_blocking(worker, request).await;
            }
            this.free_workers.borrow_mut().push(thread);
            this.events.push(Event::Work(item, told), &this.world.clock);
        });
        wait(&done).await;
    }

    async fn sleep(self: &Rc<Self>, ns: u64) {
        let (this, due) = (Rc::clone(self), Slot::default());
        let told = Rc::clone(&due);
        self.world.clock.spawn(async move {
            this.world.clock.sleep(ns).await;
            this.events.push(Event::Timer(told), &this.world.clock);
        });
        wait(&due).await;
    }

    // === calls ===

    async fn call(self: &Rc<Self>, task: u64, id: usize) {
        let held = self.call_holding(task, id).await;
        self.give_back(held);
    }

    /// Returns the connection if the caller has it still, to give it back when it likes.
    async fn call_holding(self: &Rc<Self>, task: u64, id: usize) -> Option<(Fd, Destination)> {
        let plan = &self.world.plan;
        let protocol = plan.protocol(id);
        let percent = |percent: u64| self.world.clock.random(|r| r.percent(percent));
        let service = &plan.services[self.index];
        let is_shared = protocol != Protocol::Http && percent(service.shared_percent);
        let is_pipelined = is_shared && protocol == Protocol::Redis;
        let to = Destination { service: plan.requests[id].service, is_shared, is_pipelined };
        let holds = protocol == Protocol::Postgres && !is_shared && percent(service.held_percent);
        let (fd, waited) = self.connection(task, to).await?;
        let answer = Slot::default();
        match self.conns.borrow_mut().get_mut(&fd) {
            Some(Conn { use_: Use::Client { responses, is_held, .. }, .. }) => {
                responses.push_back(Rc::clone(&answer));
                *is_held = holds;
            }
            _ => return None,
        }
        // Whoever waited in the queue of Node's agent was asked for before, and PostgreSQL's clients call them in the answer itself.
        self.world.kernel(|kernel| kernel.asked_now = !waited);
        self.world.write_now(self.who(task), fd, Some(id), &message::request(plan, id));
        wait(&answer).await;
        holds.then_some((fd, to))
    }

    fn give_back(&self, held: Option<(Fd, Destination)>) {
        if let Some((fd, to)) = held.filter(|(fd, _)| self.conns.borrow().contains_key(fd)) {
            self.release(fd, to, false);
        }
    }

    fn pool(&self, to: Destination) -> &Pool {
        &self.pools[to.service][usize::from(to.is_shared)]
    }

    /// A connection of the pool, for whoever asks first, and whether one had to wait for it. `None`: it was closed meanwhile.
    async fn connection(self: &Rc<Self>, task: u64, to: Destination) -> Option<(Fd, bool)> {
        let (pool, limit) = (self.pool(to), if to.is_shared { 1 } else { self.world.plan.services[self.index].limit });
        let idle = if to.is_pipelined { pool.idle.borrow().last().copied() } else { pool.idle.borrow_mut().pop() };
        if let Some(fd) = idle {
            return Some((fd, false));
        }
        if pool.open.get() < limit {
            pool.open.set(pool.open.get() + 1);
            let fd = self.connect(task, to).await;
            if to.is_pipelined {
                pool.idle.borrow_mut().push(fd);
                // Clients log in first. That is not modelled, and what they have kept back until then comes in a turn of its own.
                self.world.kernel(|kernel| kernel.turn_ended(self.thread));
                pool.waiters.borrow_mut().drain(..).for_each(|waiter| self.resolve(&waiter, Some(fd)));
            }
            return Some((fd, false));
        }
        let slot = Slot::default();
        pool.waiters.borrow_mut().push_back(Rc::clone(&slot));
        match wait(&slot).await {
            Some(fd) => Some((fd, true)),
            None => Some((self.connect(task, to).await, false)),
        }
    }

    async fn connect(self: &Rc<Self>, task: u64, to: Destination) -> Fd {
        let fd = self.world.connect(self.who(task), Some(self.index), to.service);
        let context = self.copy_of(task);
        let (this, made) = (Rc::clone(self), Slot::default());
        let told = Rc::clone(&made);
        self.world.clock.spawn(async move {
            this.world.connected(fd).await;
            this.events.push(Event::Connected(told), &this.world.clock);
        });
        wait(&made).await;
        let conn = Conn {
            context,
            reader: Reader::default(),
            use_: Use::Client { to, is_held: false, responses: VecDeque::new() },
        };
        self.conns.borrow_mut().insert(fd, conn);
        self.world.network.borrow_mut().watch(fd, &self.events, &self.world.clock);
        fd
    }

    fn client_readable(self: &Rc<Self>, fd: Fd, is_end: bool) {
        let (to, is_held, answered, is_over) = match self.conns.borrow_mut().get_mut(&fd) {
            Some(Conn { reader, use_: Use::Client { to, is_held, responses }, .. }) => {
                let complete = std::iter::from_fn(|| reader.next()).count();
                let n = if is_end { responses.len() } else { complete.min(responses.len()) };
                let answered: Vec<_> = responses.drain(..n).collect();
                (*to, *is_held, answered, responses.is_empty())
            }
            _ => return,
        };
        let percent = self.world.plan.services[self.index].close_percent;
        let may_close = !answered.is_empty() && is_over;
        let closes = is_end || may_close && self.world.clock.random(|r| r.percent(percent));
        if closes {
            self.drop_connection(fd, to, answered.is_empty() || to.is_pipelined);
        }
        if to.is_pipelined {
            return self.resolve_in_order(&answered);
        }
        let Some(response) = answered.first() else { return };
        if is_held && !closes {
            return self.resolve(response, true);
        }
        // Whoever waits for a connection may go on before the one who got the response.
        if self.world.clock.random(|r| r.percent(50)) {
            self.release(fd, to, closes);
            self.go_on_later(response);
        } else {
            self.resolve(response, true);
            self.go_on();
            self.release(fd, to, closes);
        }
    }

    /// Callbacks run for one answer after the other, promises once all of them are there.
    fn resolve_in_order(&self, answered: &[Slot<bool>]) {
        let by_callbacks = self.world.clock.random(|r| r.percent(50));
        for response in answered {
            self.resolve(response, true);
            if by_callbacks {
                self.go_on();
            }
        }
    }

    fn go_on_later(&self, response: &Slot<bool>) {
        self.go_on();
        self.resolve(response, true);
    }

    /// `idle`: it is among those that are there for anybody.
    fn drop_connection(&self, fd: Fd, to: Destination, idle: bool) {
        self.conns.borrow_mut().remove(&fd);
        self.world.close(self.thread, fd);
        if idle {
            let pool = self.pool(to);
            pool.idle.borrow_mut().retain(|known| *known != fd);
            pool.open.set(pool.open.get() - 1);
        }
    }

    /// The connection is free again, or its place is.
    fn release(&self, fd: Fd, to: Destination, closed: bool) {
        let pool = self.pool(to);
        let waiter = pool.waiters.borrow_mut().pop_front();
        match (waiter, closed) {
            (Some(waiter), false) => self.resolve(&waiter, Some(fd)),
            // A new connection in its place, made when the loop comes around.
            (Some(waiter), true) => {
                self.world.kernel(|kernel| kernel.turn_ended(self.thread));
                self.resolve(&waiter, None);
            }
            (None, false) => pool.idle.borrow_mut().push(fd),
            (None, true) => pool.open.set(pool.open.get() - 1),
        }
    }

    /// A call by a thread of the executor, on a connection of its own.
    async fn call_blocking(&self, worker: Who, id: usize) {
        let to = self.world.plan.requests[id].service;
        let fd = self.world.connect(worker, Some(self.index), to);
        self.world.connected(fd).await;
        let bytes = message::request(&self.world.plan, id);
        self.world.write(&|| worker, fd, Some(id), &bytes).await;
        let mut reader = Reader::default();
        loop {
            let bytes = self.world.read(&|| worker, fd).await;
            reader.push(&bytes);
            if bytes.is_empty() || reader.next().is_some() {
                return self.world.close(worker, fd);
            }
        }
    }
}

async fn wait<T>(slot: &Slot<T>) -> T {
    poll_fn(|_| slot.borrow_mut().take().map_or(Poll::Pending, Poll::Ready)).await
}
