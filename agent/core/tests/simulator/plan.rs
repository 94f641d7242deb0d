//! What happens in a world: services, requests as trees (the truth), and how the kernel and the agent are disturbed.

use crate::random::Random;

/// How long most of it takes.
const SPAN_NS: u64 = 60_000_000;

/// How a service works on its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Model {
    /// A thread per connection, that is known to be a request's own.
    Threads,
    /// The same, where nobody knows.
    UnknownThreads,
    /// A thread accepts and hands each connection through a queue to a pool. `followed`: the agent sees the queue.
    Pool { followed: bool },
    /// asyncio or uvloop, a task per request or per connection.
    Tasks { uvloop: bool, per_connection: bool },
    /// A goroutine per connection. `handing`: calls go through `net/http`'s goroutines.
    Goroutines { handing: bool },
    /// Tasks on some threads, and nobody knows.
    UnknownTasks,
    /// One thread with turns.
    Turns,
    /// Not traced.
    Foreign,
}

impl Model {
    /// Without a fault, every call that a request makes has that request as its parent.
    pub(crate) fn is_exact(self) -> bool {
        matches!(self, Self::Threads | Self::Pool { followed: true } | Self::Tasks { .. } | Self::Goroutines { .. })
    }

    pub(crate) fn is_loop(self) -> bool {
        matches!(self, Self::Tasks { .. } | Self::Turns)
    }
}

/// What a service is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    /// Queries without parameters.
    Postgres,
    /// Commands that set a key and return what it held.
    Redis,
}

#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) model: Model,
    pub(crate) protocol: Protocol,
    pub(crate) tls: bool,
    /// Connections to each other service, and workers, at most.
    pub(crate) limit: usize,
    /// Connections are not used again: percent.
    pub(crate) close_percent: u64,
    /// What is done elsewhere is done on a thread of its own, where there are threads.
    pub(crate) makes_threads: bool,
    /// An event loop's calls to a database: by one connection that all share, whose client has a queue, or to Redis writes at once: percent.
    pub(crate) shared_percent: u64,
    /// Calls to PostgreSQL: by a connection that is given back later than its answer comes: percent.
    pub(crate) held_percent: u64,
    /// Requests that it makes because time passed.
    pub(crate) heartbeats: Vec<usize>,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Call(usize),
    /// Several calls at once, all awaited.
    Together(Vec<usize>),
    /// A call that nobody waits for.
    Background(usize),
    /// Calls on another thread, awaited.
    Offload(Vec<usize>),
    /// A timer.
    Sleep(u64),
}

#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) service: usize,
    pub(crate) parent: Option<usize>,
    pub(crate) steps: Vec<Step>,
    /// What goes on after the answer.
    pub(crate) after: Vec<Step>,
    /// What is asked for.
    pub(crate) route: char,
    pub(crate) body: [usize; 2],
}

#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// Requests in this order, on one connection as long as it is kept.
    pub(crate) requests: Vec<usize>,
    pub(crate) pause: u64,
    pub(crate) start: u64,
    /// The next request is sent before the answer to the last one: percent.
    pub(crate) pipeline_percent: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) services: Vec<Service>,
    pub(crate) requests: Vec<Request>,
    pub(crate) clients: Vec<Client>,
    /// When the agent starts, and starts again.
    pub(crate) attach_at: Vec<u64>,
    /// A service that is killed, and when.
    pub(crate) kill: Option<(usize, u64)>,
    /// Messages are written and read in pieces: percent of calls.
    pub(crate) split_percent: u64,
    /// Calls whose record is late: percent, ns at most.
    pub(crate) stall: (u64, u64),
    pub(crate) exit_only: bool,
    /// When heartbeats come, at most.
    pub(crate) span_ns: u64,
}

/// How clients ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    /// A few, each for a few different things.
    Mixed,
    /// One, for the same again and again, with pauses.
    Lone,
    /// Several, each for the same again and again.
    Busy,
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let r = &mut random;
        let is_calm = r.percent(40);
        let count = r.between(1, 4) as usize;
        let mut services: Vec<Service> = (0..count).map(|_| Service::new(r, is_calm)).collect();
        if r.percent(60) {
            // Many worlds of one kind: what its members do to one another.
            let model = services[0].model;
            services.iter_mut().for_each(|s| s.model = model);
        }
        services.push(Service { model: Model::Foreign, ..Service::new(r, is_calm) });
        add_database(&mut services, &mut Random::new(seed ^ 0xdb));
        let mut plan = Self {
            seed,
            services,
            requests: Vec::new(),
            clients: Vec::new(),
            attach_at: vec![0],
            kill: None,
            split_percent: r.pick(&[0, 0, 20, 60]),
            stall: r.pick(&[(0, 0), (20, 20_000), (5, 50_000_000)]),
            exit_only: r.percent(50),
            span_ns: SPAN_NS,
        };
        match r.below(20) {
            0..3 => plan.add_clients(r, is_calm, Load::Lone),
            3 => plan.add_clients(r, is_calm, Load::Busy),
            _ => plan.add_clients(r, is_calm, Load::Mixed),
        }
        if !is_calm {
            plan.disturb(r);
        }
        plan
    }

    fn disturb(&mut self, r: &mut Random) {
        if r.percent(25) {
            self.attach_at = vec![r.below(SPAN_NS)];
        }
        if r.percent(15) {
            self.attach_at.push(SPAN_NS / 2 + r.below(SPAN_NS));
        }
        if r.percent(15) {
            self.kill = Some((r.below(self.services.len() as u64 - 1) as usize, r.below(SPAN_NS)));
        }
    }

    fn add_clients(&mut self, r: &mut Random, is_calm: bool, load: Load) {
        let pipeline_percent = if is_calm || load != Load::Mixed { 0 } else { r.pick(&[0, 0, 0, 40]) };
        let (clients, pauses, times) = match load {
            Load::Mixed => (r.between(1, 5), [0, 100_000, 5_000_000], 1),
            Load::Lone => (1, [400_000_000, 1_500_000_000, 4_000_000_000], r.between(6, 14)),
            Load::Busy => (r.between(3, 5), [0, 0, 100_000], r.between(8, 12)),
        };
        for _ in 0..clients {
            let different = if load == Load::Mixed { r.between(1, 3) } else { 1 };
            let requests: Vec<usize> = (0..different).map(|_| self.request(r, None, 0, is_calm)).collect();
            let again = (1..times).flat_map(|_| requests.clone());
            let again: Vec<usize> = again.map(|request| self.again(request, None)).collect();
            let (pause, start) = (r.pick(&pauses), r.below(5_000_000));
            let requests: Vec<usize> = requests.into_iter().chain(again).collect();
            self.span_ns = self.span_ns.max(pause * times);
            self.clients.push(Client { requests, pause, start, pipeline_percent });
        }
        self.add_heartbeats(r, is_calm, times);
    }

    fn add_heartbeats(&mut self, r: &mut Random, is_calm: bool, times: u64) {
        for service in 0..self.services.len() - 2 {
            for _ in 0..r.pick(&[0, 0, 0, 1, 3]) {
                let request = self.request(r, None, service + 1, is_calm);
                let again = (1..times).map(|_| self.again(request, None)).collect::<Vec<_>>();
                self.services[service].heartbeats.extend([request].into_iter().chain(again));
            }
        }
    }

    /// The same request with all it causes once more.
    fn again(&mut self, request: usize, parent: Option<usize>) -> usize {
        let (id, model) = (self.requests.len(), self.requests[request].clone());
        self.requests.push(Request { parent, ..model.clone() });
        let [steps, after] = [model.steps, model.after].map(|steps| {
            let again = |plan: &mut Self, requests: Vec<usize>| {
                requests.into_iter().map(|request| plan.again(request, Some(id))).collect()
            };
            let step = |step| match step {
                Step::Call(request) => Step::Call(self.again(request, Some(id))),
                Step::Background(request) => Step::Background(self.again(request, Some(id))),
                Step::Together(requests) => Step::Together(again(self, requests)),
                Step::Offload(requests) => Step::Offload(again(self, requests)),
                Step::Sleep(ns) => Step::Sleep(ns),
            };
            steps.into_iter().map(step).collect()
        });
        (self.requests[id].steps, self.requests[id].after) = (steps, after);
        id
    }

    /// A request to `service` or one behind it, with all it causes. Services call only those behind them.
    fn request(&mut self, r: &mut Random, parent: Option<usize>, service: usize, is_calm: bool) -> usize {
        let service = service + r.below((self.services.len() - service) as u64).min(r.below(2)) as usize;
        let body = [0, 1].map(|_| r.pick(&[0, 2, 2, 300, 5_000, 40_000]));
        let id = self.requests.len();
        let route = r.pick(&['a', 'b', 'c']);
        self.requests.push(Request { service, parent, steps: Vec::new(), after: Vec::new(), route, body });
        if service + 1 < self.services.len() && self.services[service].model != Model::Foreign {
            let steps = (0..r.below(4)).map(|_| self.step(r, id, service + 1, is_calm)).collect();
            let after = if r.percent(20) { vec![self.step(r, id, service + 1, is_calm)] } else { Vec::new() };
            (self.requests[id].steps, self.requests[id].after) = (steps, after);
        }
        id
    }

    fn step(&mut self, r: &mut Random, id: usize, next: usize, is_calm: bool) -> Step {
        let mut call = |r: &mut Random| self.request(r, Some(id), next, is_calm);
        match r.below(10) {
            0..4 => Step::Call(call(r)),
            4..6 => Step::Together((0..r.between(2, 3)).map(|_| call(r)).collect()),
            6 => Step::Background(call(r)),
            7 => Step::Offload((0..r.between(1, 2)).map(|_| call(r)).collect()),
            _ => Step::Sleep(r.pick(&[50_000, 2_000_000, 150_000_000])),
        }
    }

    /// What the service that is asked is spoken to in.
    pub(crate) fn protocol(&self, request: usize) -> Protocol {
        self.services[self.requests[request].service].protocol
    }

    /// Nothing is lost, nothing comes before the agent and no answer without a request: every parent can be known.
    pub(crate) fn is_calm(&self) -> bool {
        let pipelines = self.clients.iter().any(|c| c.pipeline_percent > 0);
        self.attach_at == [0] && self.kill.is_none() && !pipelines
    }
}

/// The last service may be one.
fn add_database(services: &mut [Service], r: &mut Random) {
    if !r.percent(40) {
        return;
    }
    // Not among the worlds that have to hold: two of 10,000 fail still (ADR 26).
    let protocol = if std::env::var_os("AUTOSPAN_SIM_REDIS").is_some() { Protocol::Redis } else { Protocol::Postgres };
    if let Some(last) = services.last_mut() {
        (last.protocol, last.tls) = (protocol, false);
    }
    for service in services {
        (service.shared_percent, service.held_percent) = (r.pick(&[0, 0, 50, 100]), r.pick(&[0, 60]));
    }
}

impl Service {
    fn new(r: &mut Random, is_calm: bool) -> Self {
        let (followed, uvloop, per_connection, handing) = (r.percent(50), r.percent(40), r.percent(50), r.percent(60));
        let model = match r.below(11) {
            0 | 1 => Model::Threads,
            2 => Model::UnknownThreads,
            3 => Model::Pool { followed },
            4 | 5 => Model::Tasks { uvloop, per_connection },
            6 | 7 => Model::Goroutines { handing },
            8 => Model::UnknownTasks,
            _ => Model::Turns,
        };
        let close_percent = if is_calm { 0 } else { r.pick(&[0, 0, 20, 100]) };
        Self {
            model,
            protocol: Protocol::Http,
            tls: r.percent(20),
            limit: r.pick(&[1, 2, 4, 100]),
            close_percent,
            makes_threads: r.percent(30),
            shared_percent: 0,
            held_percent: 0,
            heartbeats: Vec::new(),
        }
    }
}
