//! What an event loop waits for.

use crate::clock::{Bell, Clock};
use crate::network::Fd;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// A value that somebody waits for.
pub(crate) type Slot<T> = Rc<RefCell<Option<T>>>;

#[derive(Clone, Debug)]
pub(crate) enum Event {
    Acceptable,
    Readable(Fd),
    /// A connection was made, or a timer is due.
    Connected(Slot<()>),
    Timer(Slot<()>),
    /// A work item is done.
    Work(u64, Slot<()>),
}

#[derive(Default)]
pub(crate) struct Events {
    queue: RefCell<VecDeque<Event>>,
    bell: Bell,
}

impl Events {
    pub(crate) fn push(&self, event: Event, clock: &Clock) {
        self.queue.borrow_mut().push_back(event);
        self.bell.ring(clock);
    }

    pub(crate) fn acceptable(&self, clock: &Clock) {
        self.push(Event::Acceptable, clock);
    }

    pub(crate) fn readable(&self, fd: Fd, clock: &Clock) {
        let known = self.queue.borrow().iter().any(|e| matches!(e, Event::Readable(known) if *known == fd));
        if !known {
            self.push(Event::Readable(fd), clock);
        }
    }

    /// All that is ready, once something is.
    pub(crate) async fn wait(&self, clock: &Clock) -> Vec<Event> {
        let take = || {
            let ready: Vec<Event> = self.queue.borrow_mut().drain(..).collect();
            (!ready.is_empty()).then_some(ready)
        };
        self.bell.until(clock, take).await
    }
}
