//! TCP on one host: two ends per connection, addresses and numbers that are used again as the kernel does.

use crate::clock::{Bell, Clock};
use crate::events::Events;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

pub(crate) type Fd = usize;

/// Where a request starts in a stream: bytes from the start of the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    pub(crate) start: u64,
    pub(crate) request: usize,
}

pub(crate) type Messages = Rc<RefCell<Vec<Message>>>;

/// What the kernel knows of one end.
#[derive(Clone, Debug)]
pub(crate) struct Socket {
    pub(crate) sock: u64,
    pub(crate) inode: u64,
    pub(crate) local: u16,
    pub(crate) remote: u16,
    /// What passes is the plaintext inside TLS.
    pub(crate) tls: bool,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// TCP sequence numbers of the first byte.
    pub(crate) write_sequence: u32,
    pub(crate) read_sequence: u32,
    /// Requests sent and to be received: the truth, seen by nobody.
    pub(crate) outgoing: Messages,
    pub(crate) incoming: Messages,
}

struct End {
    socket: Socket,
    inbox: VecDeque<u8>,
    peer: Fd,
    /// The service that has it; `None`: nobody's that is traced.
    owner: Option<usize>,
    is_open: bool,
    readable: Rc<Bell>,
    watcher: Option<Rc<Events>>,
}

#[derive(Default)]
struct Listener {
    backlog: VecDeque<Fd>,
    tls: bool,
    readable: Rc<Bell>,
    watcher: Option<Rc<Events>>,
}

#[derive(Default)]
pub(crate) struct Network {
    ends: Vec<End>,
    listeners: HashMap<u16, Listener>,
    /// Sock addresses that were freed: the last one is used first.
    free: Vec<u64>,
    inodes: u64,
    ports: u16,
}

impl Network {
    pub(crate) fn listen(&mut self, port: u16, tls: bool, watcher: Option<Rc<Events>>) {
        self.listeners.insert(port, Listener { tls, watcher, ..Listener::default() });
    }

    /// Connects to `port`: the client's end. `from`, `to`: whose the ends are.
    pub(crate) fn connect(&mut self, port: u16, sequence: u32, from: Option<usize>, to: usize) -> Fd {
        let tls = self.listeners[&port].tls;
        self.ports = self.ports.wrapping_add(1) % 20_000;
        let local = 32_768 + self.ports;
        let (requests, unused) = (Messages::default(), Messages::default());
        let numbers = (sequence, sequence.wrapping_mul(0x9e37_79b9));
        let client = self.end(local, port, tls, numbers, [&requests, &unused]);
        let server = self.end(port, local, tls, (numbers.1, numbers.0), [&unused, &requests]);
        (self.ends[client].peer, self.ends[server].peer) = (server, client);
        (self.ends[client].owner, self.ends[server].owner) = (from, Some(to));
        client
    }

    fn end(&mut self, local: u16, remote: u16, tls: bool, numbers: (u32, u32), messages: [&Messages; 2]) -> Fd {
        const SOCKS: u64 = 0xffff_8881_0000_0000;
        const SOCK_BYTES: u64 = 0x940;
        self.inodes += 1;
        let sock = self.free.pop().unwrap_or(SOCKS + self.inodes * SOCK_BYTES);
        let socket = Socket {
            sock,
            inode: self.last_inode(),
            local,
            remote,
            tls,
            sent: 0,
            received: 0,
            write_sequence: numbers.0,
            read_sequence: numbers.1,
            outgoing: Rc::clone(messages[0]),
            incoming: Rc::clone(messages[1]),
        };
        let inbox = VecDeque::new();
        self.ends.push(End {
            socket,
            inbox,
            peer: 0,
            owner: None,
            is_open: true,
            readable: Rc::default(),
            watcher: None,
        });
        self.ends.len() - 1
    }

    /// The server's end of a connection that `client` has made is ready to be accepted.
    pub(crate) fn establish(&mut self, client: Fd, clock: &Clock) {
        let (server, port) = (self.ends[client].peer, self.ends[client].socket.remote);
        if !self.ends[server].is_open {
            return self.notify(client, clock);
        }
        let Some(listener) = self.listeners.get_mut(&port) else { return };
        listener.backlog.push_back(server);
        listener.readable.ring(clock);
        if let Some(watcher) = &listener.watcher {
            watcher.acceptable(clock);
        }
    }

    pub(crate) fn accept(&mut self, port: u16) -> Option<Fd> {
        self.listeners.get_mut(&port)?.backlog.pop_front()
    }

    pub(crate) fn acceptable(&self, port: u16) -> Rc<Bell> {
        Rc::clone(&self.listeners[&port].readable)
    }

    pub(crate) fn readable(&self, fd: Fd) -> Rc<Bell> {
        Rc::clone(&self.ends[fd].readable)
    }

    /// Tells `events` whenever bytes come, or the end.
    pub(crate) fn watch(&mut self, fd: Fd, events: &Rc<Events>, clock: &Clock) {
        self.ends[fd].watcher = Some(Rc::clone(events));
        if !self.ends[fd].inbox.is_empty() || !self.ends[self.ends[fd].peer].is_open {
            events.readable(fd, clock);
        }
    }

    pub(crate) fn socket(&self, fd: Fd) -> &Socket {
        &self.ends[fd].socket
    }

    pub(crate) fn owner(&self, fd: Fd) -> Option<usize> {
        self.ends[fd].owner
    }

    pub(crate) fn peer(&self, fd: Fd) -> Fd {
        self.ends[fd].peer
    }

    pub(crate) fn is_open(&self, fd: Fd) -> bool {
        self.ends[fd].is_open
    }

    /// Of the socket that was made last.
    pub(crate) fn last_inode(&self) -> u64 {
        10_000 + self.inodes
    }

    /// A request starts so many bytes after the next one that is written.
    pub(crate) fn note(&mut self, fd: Fd, request: usize, after: usize) {
        let socket = &self.ends[fd].socket;
        socket.outgoing.borrow_mut().push(Message { start: socket.sent + after as u64, request });
    }

    pub(crate) fn send(&mut self, fd: Fd, bytes: &[u8], clock: &Clock) {
        let end = &mut self.ends[fd];
        end.socket.sent += bytes.len() as u64;
        let peer = end.peer;
        self.ends[peer].inbox.extend(bytes);
        self.notify(peer, clock);
    }

    fn notify(&self, fd: Fd, clock: &Clock) {
        self.ends[fd].readable.ring(clock);
        if let Some(watcher) = &self.ends[fd].watcher {
            watcher.readable(fd, clock);
        }
    }

    /// Up to `max` bytes; empty at the end of the stream; `None`: nothing yet.
    pub(crate) fn receive(&mut self, fd: Fd, max: usize) -> Option<Vec<u8>> {
        let peer_is_open = self.ends[self.ends[fd].peer].is_open;
        let end = &mut self.ends[fd];
        if end.inbox.is_empty() && peer_is_open && end.is_open {
            return None;
        }
        let n = max.min(end.inbox.len());
        let bytes: Vec<u8> = end.inbox.drain(..n).collect();
        end.socket.received += bytes.len() as u64;
        Some(bytes)
    }

    /// A read would not wait.
    pub(crate) fn is_readable(&self, fd: Fd) -> bool {
        let end = &self.ends[fd];
        !end.inbox.is_empty() || !end.is_open || !self.ends[end.peer].is_open
    }

    pub(crate) fn has_more(&self, fd: Fd) -> bool {
        !self.ends[fd].inbox.is_empty()
    }

    /// Returns false if it was closed already.
    pub(crate) fn close(&mut self, fd: Fd, clock: &Clock) -> bool {
        if !self.ends[fd].is_open {
            return false;
        }
        self.ends[fd].is_open = false;
        self.free.push(self.ends[fd].socket.sock);
        self.notify(self.ends[fd].peer, clock);
        true
    }

    pub(crate) fn open_ends(&self) -> Vec<Fd> {
        (0..self.ends.len()).filter(|fd| self.ends[*fd].is_open).collect()
    }
}
