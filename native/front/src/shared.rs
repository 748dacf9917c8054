//! What the I/O thread and Python share: events one way, orders the other, and counters.
//!
//! Both ways are a vector behind a lock, held for as long as it takes to append or swap. Python is woken by an event descriptor,
//! written only when it was not readable before; it is written and read under the lock, for else a reader could clear the mark of a
//! signal that is only about to be written, and the descriptor would stay readable for ever.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::Notify;

use crate::event::{CallId, Event};
use crate::refusal::Refusal;

/// What becomes of a call.
pub enum Order {
    /// Send this message, its prefix included, and end the call well.
    Respond(Bytes),
    /// End the call with a status.
    Refuse(Refusal),
    /// Go on with the message that was compressed.
    Decoded(Result<Bytes, Refusal>),
}

/// What the whole front is to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Serving,
    /// New calls are refused, connections are asked to go.
    Draining,
    /// Everything ends.
    Closing,
}

#[derive(Default)]
struct Inbox {
    events: VecDeque<Event>,
    is_signalled: bool,
}

/// Counts since the start; what happens on the I/O thread is counted relaxed.
#[derive(Default)]
pub struct Counters {
    pub connections: AtomicU64,
    pub calls: AtomicU64,
    pub relayed: AtomicU64,
    pub answered: AtomicU64,
    pub refused_too_large: AtomicU64,
    pub refused_too_many: AtomicU64,
    pub refused_too_much: AtomicU64,
    pub refused_draining: AtomicU64,
    pub refused_malformed: AtomicU64,
    pub left: AtomicU64,
    pub too_late: AtomicU64,
    pub stalled: AtomicU64,
    pub cut_off: AtomicU64,
    pub waves: AtomicU64,
    pub writes: AtomicU64,
}

impl Counters {
    /// Return all of them by name.
    pub fn named(&self) -> [(&'static str, &AtomicU64); 15] {
        [
            ("connections", &self.connections),
            ("calls", &self.calls),
            ("relayed", &self.relayed),
            ("answered", &self.answered),
            ("refused_too_large", &self.refused_too_large),
            ("refused_too_many", &self.refused_too_many),
            ("refused_too_much", &self.refused_too_much),
            ("refused_draining", &self.refused_draining),
            ("refused_malformed", &self.refused_malformed),
            ("left", &self.left),
            ("too_late", &self.too_late),
            ("stalled", &self.stalled),
            ("cut_off", &self.cut_off),
            ("waves", &self.waves),
            ("writes", &self.writes),
        ]
    }
}

/// Count one more.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Both directions.
pub struct Shared {
    inbox: Mutex<Inbox>,
    descriptor: OwnedFd,
    outbox: Mutex<Vec<(CallId, Order)>>,
    phase: Mutex<Phase>,
    /// Where connections come from, by number; Python asks for few of them.
    peers: Mutex<HashMap<u32, IpAddr>>,
    /// Wakes the I/O thread: there are orders.
    pub ordered: Notify,
    /// Wakes the I/O thread: the phase changed.
    pub turned: Notify,
    /// Calls that Python has been told of, or is about to be, and that have not ended.
    pub open: AtomicUsize,
    /// Set by the I/O thread while it drains and nothing is open.
    pub is_idle: AtomicBool,
    pub counters: Counters,
}

/// Take a lock; whoever panicked with it left vectors that are still whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            inbox: Mutex::default(),
            descriptor: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
            outbox: Mutex::default(),
            phase: Mutex::new(Phase::Serving),
            peers: Mutex::default(),
            ordered: Notify::new(),
            turned: Notify::new(),
            open: AtomicUsize::new(0),
            is_idle: AtomicBool::new(false),
            counters: Counters::default(),
        })
    }

    /// Readable while there are events.
    pub fn descriptor(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    /// Hand over events, leaving the vector empty, and wake Python if it does not know yet.
    pub fn publish(&self, events: &mut Vec<Event>) {
        count(&self.counters.waves);
        let mut inbox = locked(&self.inbox);
        inbox.events.extend(events.drain(..));
        self.signal(&mut inbox);
    }

    /// Wake Python although nothing arrived: something else changed.
    pub fn nudge(&self) {
        self.signal(&mut locked(&self.inbox));
    }

    fn signal(&self, inbox: &mut Inbox) {
        if !inbox.is_signalled {
            inbox.is_signalled = true;
            // It can only fail when the count is full, and then the descriptor is readable.
            let _ = rustix::io::write(&self.descriptor, &1u64.to_ne_bytes());
        }
    }

    /// Take events up to `limit` calls.
    pub fn take(&self, limit: usize) -> Vec<Event> {
        let mut inbox = locked(&self.inbox);
        let mut calls = 0;
        let end = inbox.events.iter().position(|event| {
            calls += usize::from(matches!(event, Event::Call(_)));
            calls > limit
        });
        let taken: Vec<Event> = match end {
            Some(end) => inbox.events.drain(..end).collect(),
            None => Vec::from(std::mem::take(&mut inbox.events)),
        };
        if inbox.is_signalled && inbox.events.is_empty() {
            inbox.is_signalled = false;
            let _ = rustix::io::read(&self.descriptor, &mut [0u8; 8]);
        }
        taken
    }

    /// Give orders; the I/O thread is woken once until it looks.
    pub fn order(&self, mut orders: Vec<(CallId, Order)>) {
        let mut outbox = locked(&self.outbox);
        let was_empty = outbox.is_empty();
        if was_empty {
            *outbox = orders;
        } else {
            outbox.append(&mut orders);
        }
        drop(outbox);
        if was_empty {
            self.ordered.notify_one();
        }
    }

    /// Take all orders.
    pub fn orders(&self) -> Vec<(CallId, Order)> {
        std::mem::take(&mut *locked(&self.outbox))
    }

    /// Note where a connection comes from; None when it is gone.
    pub fn note_peer(&self, connection: u32, peer: Option<IpAddr>) {
        let mut peers = locked(&self.peers);
        match peer {
            Some(address) => peers.insert(connection, address),
            None => peers.remove(&connection),
        };
    }

    /// Return where a connection comes from, while it is there.
    pub fn peer(&self, connection: u32) -> Option<IpAddr> {
        locked(&self.peers).get(&connection).copied()
    }

    /// Turn to a later phase; phases never go back.
    pub fn turn(&self, phase: Phase) {
        let mut present = locked(&self.phase);
        *present = phase.max(*present);
        drop(present);
        self.turned.notify_one();
    }

    pub fn phase(&self) -> Phase {
        *locked(&self.phase)
    }
}
