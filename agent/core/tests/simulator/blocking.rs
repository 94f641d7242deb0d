//! Services whose work waits in system calls: threads, pools of them, goroutines. And the clients that ask.

use crate::clock::Bell;
use crate::kernel::Who;
use crate::message::{self, Reader};
use crate::network::Fd;
use crate::plan::{Model, Protocol, Step};
use crate::world::{STRANGER, World, port_of};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

type Work = Pin<Box<dyn Future<Output = ()>>>;

struct App {
    world: Rc<World>,
    index: usize,
    model: Model,
    /// Tasks run on any of these threads.
    machines: Vec<Who>,
    /// Where each task ran last.
    last_machines: RefCell<HashMap<u64, Who>>,
    pools: Vec<Pool>,
    /// Threads and goroutines that are done: the last one is used first.
    free_workers: RefCell<Vec<Who>>,
    free_tasks: RefCell<Vec<u64>>,
    queue: RefCell<VecDeque<(u64, Fd, Reader)>>,
    queued: Bell,
}

/// Connections to one other service.
#[derive(Default)]
struct Pool {
    idle: RefCell<Vec<Conn>>,
    open: Cell<usize>,
    freed: Bell,
}

/// A connection, and the goroutines that `net/http` has for it.
#[derive(Clone, Copy)]
struct Conn {
    fd: Fd,
    writer: u64,
    reader: u64,
}

/// Something that makes calls: a thread, or a goroutine on whatever thread.
#[derive(Clone, Copy)]
struct Runner {
    who: Who,
}

pub(crate) fn start(world: &Rc<World>, index: usize) {
    let service = &world.plan.services[index];
    let machines = if service.model == Model::UnknownTasks { world.clock.random(|r| r.pick(&[1, 2, 4])) } else { 3 };
    let app = Rc::new(App {
        world: Rc::clone(world),
        index,
        model: service.model,
        machines: (0..machines).map(|_| world.new_thread(index)).collect(),
        last_machines: RefCell::default(),
        pools: world.plan.services.iter().map(|_| Pool::default()).collect(),
        free_workers: RefCell::default(),
        free_tasks: RefCell::default(),
        queue: RefCell::default(),
        queued: Bell::default(),
    });
    world.listen(index, None);
    world.clock.spawn(Rc::clone(&app).accept_all());
    if let Model::Pool { .. } = app.model {
        let workers = service.limit.min(4);
        (0..workers).for_each(|_| world.clock.spawn(Rc::clone(&app).work_off_queue()));
    }
    for request in service.heartbeats.iter().copied() {
        let app = Rc::clone(&app);
        world.clock.spawn(async move {
            let ns = app.world.clock.random(|r| r.below(app.world.plan.span_ns));
            app.world.clock.sleep(ns).await;
            let runner = app.unborn();
            app.call(runner, request).await;
        });
    }
}

impl App {
    async fn accept_all(self: Rc<Self>) {
        let acceptor = self.unborn();
        self.world.share_thread(acceptor.who);
        loop {
            let fd = self.world.accept(port_of(self.index)).await;
            match self.model {
                Model::Pool { .. } => self.world.clock.spawn(Rc::clone(&self).await_requests(acceptor, fd)),
                _ => {
                    let runner = self.child_of(acceptor);
                    self.world.clock.spawn(Rc::clone(&self).serve(runner, fd));
                }
            }
        }
    }

    async fn serve(self: Rc<Self>, runner: Runner, fd: Fd) {
        let mut reader = Reader::default();
        while let Some(request) = self.next_request(runner, fd, &mut reader).await {
            match self.world.plan.services[self.index].protocol {
                Protocol::Redis => self.answer_all(runner, fd, request, &mut reader).await,
                Protocol::Http | Protocol::Postgres => Rc::clone(&self).answer(runner, fd, request).await,
            }
        }
        self.world.close(self.on_thread(runner), fd);
        self.retire(runner);
    }

    async fn next_request(&self, runner: Runner, fd: Fd, reader: &mut Reader) -> Option<usize> {
        loop {
            if let Some(request) = reader.next_request() {
                return Some(request);
            }
            let bytes = self.world.read(&|| self.on_thread(runner), fd).await;
            if bytes.is_empty() {
                return None;
            }
            reader.push(&bytes);
        }
    }

    async fn answer(self: Rc<Self>, runner: Runner, fd: Fd, id: usize) {
        let request = self.world.plan.requests[id].clone();
        Rc::clone(&self).take(runner, request.steps).await;
        let response = message::response(&self.world.plan, id);
        self.world.write(&|| self.on_thread(runner), fd, None, &response).await;
        Rc::clone(&self).take(runner, request.after).await;
    }

    /// Commands that came together are answered together.
    async fn answer_all(&self, runner: Runner, fd: Fd, first: usize, reader: &mut Reader) {
        let rest = std::iter::from_fn(|| reader.next_request());
        let answers: Vec<u8> =
            [first].into_iter().chain(rest).flat_map(|id| message::response(&self.world.plan, id)).collect();
        let ns = self.world.clock.random(|r| r.pick(&[0, 50_000, 2_000_000]));
        self.world.clock.sleep(ns).await;
        self.world.write(&|| self.on_thread(runner), fd, None, &answers).await;
    }

    // === pools of threads ===

    /// The thread that accepts waits for requests; the agent sees that it hands the connection on, or it reads the
    /// request itself, and nobody sees who works on it.
    async fn await_requests(self: Rc<Self>, poller: Runner, fd: Fd) {
        let mut reader = Reader::default();
        if self.model == (Model::Pool { followed: true }) {
            self.await_bytes(fd).await;
            return self.put(poller, fd, reader);
        }
        let Some(request) = self.next_request(poller, fd, &mut reader).await else {
            return self.world.close(poller.who, fd);
        };
        self.put_read(fd, request, reader);
    }

    async fn await_bytes(&self, fd: Fd) {
        let (bell, world) = (self.world.network.borrow().readable(fd), &self.world);
        bell.until(&world.clock, || world.network.borrow().is_readable(fd).then_some(())).await;
    }

    fn put(&self, poller: Runner, fd: Fd, reader: Reader) {
        let item = self.world.new_task();
        self.world.kernel(|kernel| kernel.python_queue_put(poller.who, item));
        self.queue.borrow_mut().push_back((item, fd, reader));
        self.queued.ring(&self.world.clock);
    }

    /// A request that was read already goes back to the front of its stream.
    fn put_read(&self, fd: Fd, request: usize, mut reader: Reader) {
        reader.push_front(&message::request(&self.world.plan, request));
        self.queue.borrow_mut().push_back((0, fd, reader));
        self.queued.ring(&self.world.clock);
    }

    async fn work_off_queue(self: Rc<Self>) {
        let worker = Runner { who: self.world.new_thread(self.index) };
        let poller = Runner { who: self.world.new_thread(self.index) };
        self.world.share_thread(poller.who);
        loop {
            let take = || self.queue.borrow_mut().pop_front();
            let (item, fd, mut reader) = self.queued.until(&self.world.clock, take).await;
            if item != 0 {
                self.world.kernel(|kernel| kernel.python_queue_got(worker.who, item));
            }
            let Some(request) = self.next_request(worker, fd, &mut reader).await else {
                self.world.close(worker.who, fd);
                continue;
            };
            Rc::clone(&self).answer(worker, fd, request).await;
            match reader.is_empty() {
                true => self.world.clock.spawn(Rc::clone(&self).await_requests(poller, fd)),
                false => self.put(worker, fd, reader),
            }
        }
    }

    // === what a request does ===

    fn take(self: Rc<Self>, runner: Runner, steps: Vec<Step>) -> Work {
        Box::pin(async move {
            for step in steps {
                match step {
                    Step::Call(request) => self.call(runner, request).await,
                    Step::Together(requests) => self.together(runner, requests).await,
                    Step::Background(request) => drop(self.elsewhere(runner, vec![request])),
                    Step::Offload(requests) if self.has_throwaway_threads() => {
                        self.on_throwaway_thread(runner, requests).await;
                    }
                    Step::Offload(requests) => self.finished(&self.elsewhere(runner, requests)).await,
                    Step::Sleep(ns) => self.world.clock.sleep(ns).await,
                }
            }
        })
    }

    async fn together(self: &Rc<Self>, runner: Runner, requests: Vec<usize>) {
        if !self.has_tasks() {
            for request in requests {
                self.call(runner, request).await;
            }
            return;
        }
        let all: Vec<_> = requests.into_iter().map(|request| self.elsewhere(runner, vec![request])).collect();
        for one in all {
            self.finished(&one).await;
        }
    }

    /// Calls on another thread or goroutine. Returns what tells that they are done.
    fn elsewhere(self: &Rc<Self>, runner: Runner, requests: Vec<usize>) -> Rc<(Cell<bool>, Bell)> {
        let done = Rc::new((Cell::new(false), Bell::default()));
        let (app, told) = (Rc::clone(self), Rc::clone(&done));
        let worker = self.worker_of(runner);
        self.world.clock.spawn(async move {
            for request in requests {
                app.call(worker, request).await;
            }
            app.retire(worker);
            told.0.set(true);
            told.1.ring(&app.world.clock);
        });
        done
    }

    fn has_throwaway_threads(&self) -> bool {
        !self.has_tasks() && self.world.plan.services[self.index].makes_threads
    }

    /// Calls on a thread that is made for them and ends with them.
    async fn on_throwaway_thread(self: &Rc<Self>, runner: Runner, requests: Vec<usize>) {
        let made = Runner { who: self.world.spawn_thread(self.index, runner.who) };
        for request in requests {
            self.call(made, request).await;
        }
        self.world.kernel(|kernel| kernel.thread_exited(made.who));
    }

    async fn finished(&self, done: &Rc<(Cell<bool>, Bell)>) {
        done.1.until(&self.world.clock, || done.0.get().then_some(())).await;
    }

    // === threads and goroutines ===

    /// Work moves between threads, whenever it waits.
    fn has_tasks(&self) -> bool {
        matches!(self.model, Model::Goroutines { .. } | Model::UnknownTasks)
    }

    fn on_thread(&self, runner: Runner) -> Who {
        match (runner.who.task, self.model) {
            (0, _) => runner.who,
            (task, Model::UnknownTasks) => Who { task: 0, ..self.machine_of(task) },
            (task, _) => Who { task, ..self.machine() },
        }
    }

    /// Schedulers let a task go on where it ran last, most of the time.
    fn machine_of(&self, task: u64) -> Who {
        const SAME_PERCENT: u64 = 80;
        let last = self.last_machines.borrow().get(&task).copied().filter(|machine| !self.world.is_busy(*machine));
        let same = last.filter(|_| self.world.clock.random(|r| r.percent(SAME_PERCENT)));
        let machine = same.unwrap_or_else(|| self.machine());
        self.last_machines.borrow_mut().insert(task, machine);
        machine
    }

    /// A thread that is not held up.
    fn machine(&self) -> Who {
        let free: Vec<Who> = self.machines.iter().copied().filter(|m| !self.world.is_busy(*m)).collect();
        if free.is_empty() { self.world.new_thread(self.index) } else { self.world.clock.random(|r| r.pick(&free)) }
    }

    /// One that was there before anything was asked.
    fn unborn(&self) -> Runner {
        let who = self.world.new_thread(self.index);
        Runner { who: if self.has_tasks() { Who { task: self.world.new_task(), ..who } } else { who } }
    }

    fn child_of(&self, maker: Runner) -> Runner {
        if !self.has_tasks() {
            return Runner { who: self.world.spawn_thread(self.index, maker.who) };
        }
        Runner { who: Who { task: self.task_of(maker), ..maker.who } }
    }

    fn task_of(&self, maker: Runner) -> u64 {
        let made = self.free_tasks.borrow_mut().pop().unwrap_or_else(|| self.world.new_task());
        if matches!(self.model, Model::Goroutines { .. }) {
            let who = self.on_thread(maker);
            self.world.kernel(|kernel| kernel.go_newproc(who, made));
        }
        made
    }

    /// A goroutine, or a thread of an executor, whose queue is seen where the runtime is known.
    fn worker_of(&self, maker: Runner) -> Runner {
        if self.has_tasks() {
            return self.child_of(maker);
        }
        let free = self.free_workers.borrow_mut().pop();
        let who = free.unwrap_or_else(|| self.world.spawn_thread(self.index, maker.who));
        if matches!(self.model, Model::Threads | Model::Pool { followed: true }) {
            let item = self.world.new_task();
            self.world.kernel(|kernel| kernel.python_queue_put(maker.who, item));
            self.world.kernel(|kernel| kernel.python_queue_got(who, item));
        }
        Runner { who }
    }

    fn retire(&self, runner: Runner) {
        match runner.who.task {
            0 => self.free_workers.borrow_mut().push(runner.who),
            task => self.free_tasks.borrow_mut().push(task),
        }
    }

    // === calls ===

    async fn call(&self, runner: Runner, id: usize) {
        if self.world.is_dead(self.index) {
            return std::future::pending().await;
        }
        let request = &self.world.plan.requests[id];
        let conn = self.connection(runner, request.service).await;
        let handing = conn.reader != 0;
        let (mut writer, mut reader) = (runner, runner);
        if handing {
            let who = self.on_thread(runner);
            self.world.with_socket(conn.fd, |kernel, socket| kernel.go_round_trip(who, socket));
            (writer.who.task, reader.who.task) = (conn.writer, conn.reader);
        }
        let bytes = message::request(&self.world.plan, id);
        self.world.write(&|| self.on_thread(writer), conn.fd, Some(id), &bytes).await;
        let answered = self.read_response(reader, conn.fd).await;
        self.release(runner, conn, request.service, answered);
    }

    async fn read_response(&self, runner: Runner, fd: Fd) -> bool {
        let mut reader = Reader::default();
        loop {
            let bytes = self.world.read(&|| self.on_thread(runner), fd).await;
            reader.push(&bytes);
            if bytes.is_empty() || reader.next().is_some() {
                return !bytes.is_empty();
            }
        }
    }

    async fn connection(&self, runner: Runner, to: usize) -> Conn {
        let (pool, limit) = (&self.pools[to], self.world.plan.services[self.index].limit);
        loop {
            let idle = pool.idle.borrow_mut().pop();
            if let Some(conn) = idle {
                return conn;
            }
            if pool.open.get() < limit {
                pool.open.set(pool.open.get() + 1);
                let conn = self.dial(runner, to).await;
                // Another one may have been freed meanwhile: `net/http` takes whichever is there first.
                if !self.has_tasks() || pool.idle.borrow().is_empty() {
                    return conn;
                }
                pool.idle.borrow_mut().insert(0, conn);
                pool.freed.ring(&self.world.clock);
                continue;
            }
            pool.freed.until(&self.world.clock, || self.may_go_on(to, limit)).await;
        }
    }

    fn may_go_on(&self, to: usize, limit: usize) -> Option<()> {
        let pool = &self.pools[to];
        (!pool.idle.borrow().is_empty() || pool.open.get() < limit).then_some(())
    }

    async fn dial(&self, runner: Runner, to: usize) -> Conn {
        let is_http = self.world.plan.services[to].protocol == Protocol::Http;
        let handing = is_http && self.model == (Model::Goroutines { handing: true });
        let dialer = if handing { self.child_of(runner) } else { runner };
        let fd = self.world.connect(self.on_thread(dialer), Some(self.index), to);
        self.world.connected(fd).await;
        let (writer, reader) = match handing {
            true => (self.task_of(dialer), self.task_of(dialer)),
            false => (0, 0),
        };
        Conn { fd, writer, reader }
    }

    fn release(&self, runner: Runner, conn: Conn, to: usize, answered: bool) {
        let pool = &self.pools[to];
        let percent = self.world.plan.services[self.index].close_percent;
        if !answered || self.world.clock.random(|r| r.percent(percent)) {
            self.world.close(self.on_thread(runner), conn.fd);
            pool.open.set(pool.open.get() - 1);
        } else {
            pool.idle.borrow_mut().push(conn);
        }
        pool.freed.ring(&self.world.clock);
    }
}

// === clients ===

/// Someone outside asks, one request after the other.
pub(crate) fn start_client(world: &Rc<World>, index: usize) {
    let world = Rc::clone(world);
    let client = world.plan.clients[index].clone();
    Rc::clone(&world.clock).spawn(async move {
        world.clock.sleep(client.start).await;
        let mut rest = &client.requests[..];
        while !rest.is_empty() {
            let pipelined = rest.len() > 1 && world.clock.random(|r| r.percent(client.pipeline_percent));
            let n = if pipelined {
                1 + rest[1..].iter().take_while(|id| same_service(&world, rest[0], **id)).count()
            } else {
                1
            };
            ask(&world, &rest[..n]).await;
            rest = &rest[n..];
            let ns = world.clock.random(|r| r.between(client.pause / 2, client.pause * 3 / 2));
            world.clock.sleep(ns).await;
        }
        world.client_done();
    });
}

fn same_service(world: &World, a: usize, b: usize) -> bool {
    world.plan.requests[a].service == world.plan.requests[b].service
}

async fn ask(world: &World, requests: &[usize]) {
    let to = world.plan.requests[requests[0]].service;
    let fd = world.connect(STRANGER, None, to);
    world.connected(fd).await;
    let mut bytes = Vec::new();
    for id in requests {
        world.network.borrow_mut().note(fd, *id, bytes.len());
        bytes.extend(message::request(&world.plan, *id));
    }
    world.write(&|| STRANGER, fd, None, &bytes).await;
    let (mut reader, mut answers) = (Reader::default(), 0);
    while answers < requests.len() {
        let bytes = world.read(&|| STRANGER, fd).await;
        if bytes.is_empty() {
            break;
        }
        reader.push(&bytes);
        while reader.next().is_some() {
            answers += 1;
        }
    }
    world.close(STRANGER, fd);
}
