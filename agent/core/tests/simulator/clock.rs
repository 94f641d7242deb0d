//! Virtual time: everything that runs in the world is a future, resumed in an order that only the seed decides.

use crate::random::Random;
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

pub(crate) type Job = Pin<Box<dyn Future<Output = ()>>>;

/// Where the world stops, whatever still goes on in it.
const STEPS_MAX: u64 = 2_000_000;

pub(crate) struct Clock {
    now: Cell<u64>,
    jobs: RefCell<Vec<Option<Job>>>,
    queue: RefCell<BinaryHeap<Reverse<(u64, u64, usize)>>>,
    scheduled: Cell<u64>,
    current: Cell<usize>,
    random: RefCell<Random>,
}

impl Clock {
    pub(crate) fn new(random: Random) -> Rc<Self> {
        Rc::new(Self {
            now: Cell::new(1_000_000_000),
            jobs: RefCell::default(),
            queue: RefCell::default(),
            scheduled: Cell::new(0),
            current: Cell::new(0),
            random: RefCell::new(random),
        })
    }

    pub(crate) fn now(&self) -> u64 {
        self.now.get()
    }

    /// The time it takes to do anything, so that no two things happen at the same time.
    pub(crate) fn pass(&self) -> u64 {
        self.now.set(self.now.get() + 1_000);
        self.now.get()
    }

    pub(crate) fn random<T>(&self, draw: impl FnOnce(&mut Random) -> T) -> T {
        draw(&mut self.random.borrow_mut())
    }

    pub(crate) fn spawn(&self, job: impl Future<Output = ()> + 'static) {
        self.jobs.borrow_mut().push(Some(Box::pin(job)));
        let id = self.jobs.borrow().len() - 1;
        self.resume(id, self.now());
    }

    fn resume(&self, id: usize, at: u64) {
        let n = self.scheduled.get() + 1;
        self.scheduled.set(n);
        self.queue.borrow_mut().push(Reverse((at, n, id)));
    }

    pub(crate) async fn sleep(&self, ns: u64) {
        let due = self.now() + ns;
        let mut armed = false;
        poll_fn(|_| {
            if !armed {
                armed = true;
                self.resume(self.current.get(), due);
                return Poll::Pending;
            }
            if self.now() >= due { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Runs until nothing is left to do, or for ever: then the world is broken.
    pub(crate) fn run(&self) {
        for _ in 0..STEPS_MAX {
            let Some(Reverse((at, _, id))) = self.queue.borrow_mut().pop() else { return };
            self.now.set(self.now().max(at));
            self.current.set(id);
            let Some(mut job) = self.jobs.borrow_mut()[id].take() else { continue };
            if step(&mut job).is_pending() {
                self.jobs.borrow_mut()[id] = Some(job);
            }
        }
        panic!("the world does not come to rest");
    }

    /// Ends everything that still waits: futures own what they wait for.
    pub(crate) fn stop(&self) {
        let jobs = std::mem::take(&mut *self.jobs.borrow_mut());
        drop(jobs);
    }
}

/// Lets a job go on as far as it can.
pub(crate) fn step(job: &mut Job) -> Poll<()> {
    job.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Something to wait at until another job rings it.
#[derive(Default)]
pub(crate) struct Bell(RefCell<Vec<usize>>);

impl Bell {
    pub(crate) fn ring(&self, clock: &Clock) {
        self.0.borrow_mut().drain(..).for_each(|id| clock.resume(id, clock.now()));
    }

    /// Waits until `look` finds something.
    pub(crate) async fn until<T>(&self, clock: &Clock, mut look: impl FnMut() -> Option<T>) -> T {
        poll_fn(|_| match look() {
            Some(found) => Poll::Ready(found),
            None => {
                self.0.borrow_mut().push(clock.current.get());
                Poll::Pending
            }
        })
        .await
    }
}
