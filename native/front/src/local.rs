//! What the tasks of the I/O thread share. There is one such thread, so nothing here is locked.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use tokio::sync::Notify;

use crate::clock::{self, Millis, NEVER};
use crate::event::{CallId, Event, parts};
use crate::options::Limits;
use crate::shared::{Order, Phase, Shared};

/// Events that are handed over at once even when the thread has more to do.
const WAVE_LIMIT: usize = 256;
/// Calls that a connection may reset before they were looked at, when it has no other calls (CVE-2023-44487).
const PATIENCE: i64 = 1000;

/// Hashes numbers that count up.
#[derive(Default)]
pub struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u32(u32::from(byte) ^ self.0 as u32);
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

pub type ByNumber<V> = HashMap<u32, V, BuildHasherDefault<NumberHasher>>;

thread_local! {
    static ARRIVED: RefCell<Vec<Event>> = const { RefCell::new(Vec::new()) };
}

/// Hand over what arrived; called whenever the thread is about to sleep.
pub fn publish(shared: &Shared) {
    ARRIVED.with_borrow_mut(|arrived| {
        if !arrived.is_empty() {
            shared.publish(arrived);
        }
    });
}

/// A connection as other tasks know it.
pub struct Link {
    pub number: u32,
    /// Where it comes from.
    pub peer: IpAddr,
    pub opened_at: Millis,
    orders: RefCell<Vec<(u32, Order)>>,
    task: RefCell<Option<Waker>>,
    is_touched: Cell<bool>,
    /// Earliest deadline of its calls; never later than the truth.
    pub due: Cell<Millis>,
    /// When something was last read.
    pub heard_at: Cell<Millis>,
    /// Since when the kernel takes nothing of what is to be written; None when there is nothing.
    pub owing_since: Cell<Option<Millis>>,
    pub has_streams: Cell<bool>,
    /// When it last had a call.
    pub used_at: Cell<Millis>,
    pub pinged_at: Cell<Option<Millis>>,
    /// How many more calls may be reset before they were looked at.
    patience: Cell<i64>,
    pub is_to_ping: Cell<bool>,
    pub is_to_go: Cell<bool>,
    pub is_cut: Cell<bool>,
}

impl Link {
    /// Take what is ordered for its streams.
    pub fn take_orders(&self) -> Vec<(u32, Order)> {
        self.orders.take()
    }

    /// Remember the task to wake.
    pub fn enter(&self, task: &Waker) {
        let known = &mut *self.task.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(task)) {
            *known = Some(task.clone());
        }
    }

    /// A call was reset before Python had it. Every call that is answered, and time, makes up for one.
    pub fn lose_patience(&self) {
        self.patience.set(self.patience.get() - 1);
    }

    pub fn gain_patience(&self, calls: i64) {
        self.patience.set((self.patience.get() + calls).min(PATIENCE));
    }

    pub fn has_patience(&self) -> bool {
        self.patience.get() > 0
    }

    pub fn wake(&self) {
        if let Some(task) = self.task.borrow().as_ref() {
            task.wake_by_ref();
        }
    }
}

/// Bytes that count against the limit until this is dropped.
pub struct Held {
    total: Rc<Cell<usize>>,
    bytes: usize,
}

impl Held {
    pub fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.total.set(self.total.get() + bytes);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.total.set(self.total.get() - self.bytes);
    }
}

/// The I/O thread's own state.
pub struct Local {
    pub limits: Limits,
    pub shared: Arc<Shared>,
    pub links: RefCell<ByNumber<Rc<Link>>>,
    pub phase: Cell<Phase>,
    /// When the timer goes off, and how to tell it of something earlier.
    pub due: Cell<Millis>,
    pub due_earlier: Notify,
    open: Cell<usize>,
    held: Rc<Cell<usize>>,
    last_number: Cell<u32>,
}

impl Local {
    pub fn new(limits: Limits, shared: Arc<Shared>) -> Self {
        Self {
            limits,
            shared,
            links: RefCell::default(),
            phase: Cell::new(Phase::Serving),
            due: Cell::new(NEVER),
            due_earlier: Notify::new(),
            open: Cell::new(0),
            held: Rc::default(),
            last_number: Cell::new(0),
        }
    }

    /// Register a connection.
    pub fn link(&self, peer: IpAddr) -> Rc<Link> {
        let links = &mut *self.links.borrow_mut();
        let mut number = self.last_number.get().wrapping_add(1);
        while links.contains_key(&number) {
            number = number.wrapping_add(1);
        }
        self.last_number.set(number);
        let now = clock::now();
        let link = Rc::new(Link {
            number,
            peer,
            opened_at: now,
            orders: RefCell::default(),
            task: RefCell::default(),
            is_touched: Cell::new(false),
            due: Cell::new(NEVER),
            heard_at: Cell::new(now),
            owing_since: Cell::new(None),
            has_streams: Cell::new(false),
            used_at: Cell::new(now),
            pinged_at: Cell::new(None),
            patience: Cell::new(PATIENCE),
            is_to_ping: Cell::new(false),
            is_to_go: Cell::new(false),
            is_cut: Cell::new(false),
        });
        links.insert(number, link.clone());
        self.shared.note_peer(number, Some(peer));
        link
    }

    /// Forget a connection.
    pub fn unlink(&self, link: &Link) {
        self.links.borrow_mut().remove(&link.number);
        self.shared.note_peer(link.number, None);
        self.shared.turned.notify_one();
    }

    /// Tell Python, soon.
    pub fn tell(&self, event: Event) {
        let is_wave = ARRIVED.with_borrow_mut(|arrived| {
            arrived.push(event);
            arrived.len() >= WAVE_LIMIT
        });
        if is_wave {
            publish(&self.shared);
        }
    }

    /// Let a call's deadline be noticed.
    pub fn wait_for(&self, link: &Link, due: Millis) {
        if due < link.due.get() {
            link.due.set(due);
            if due < self.due.get() {
                self.due.set(due);
                self.due_earlier.notify_one();
            }
        }
    }

    /// Give orders to the connections they are for; each is woken once.
    pub fn dispatch(&self, orders: Vec<(CallId, Order)>) {
        let links = self.links.borrow();
        let mut touched: Vec<&Rc<Link>> = Vec::with_capacity(16);
        for (id, order) in orders {
            let (connection, stream) = parts(id);
            let Some(link) = links.get(&connection) else { continue };
            link.orders.borrow_mut().push((stream, order));
            if !link.is_touched.replace(true) {
                touched.push(link);
            }
        }
        for link in touched {
            link.is_touched.set(false);
            link.wake();
        }
    }

    /// Start counting a call's bytes.
    pub fn hold(&self) -> Held {
        Held { total: self.held.clone(), bytes: 0 }
    }

    /// Whether more bytes are held than may be.
    pub fn is_over_budget(&self) -> bool {
        self.held.get() > self.limits.held_bytes
    }

    pub fn open(&self) -> usize {
        self.open.get()
    }

    /// Count a call as open, or as ended.
    pub fn opened(&self) {
        self.set_open(self.open.get() + 1);
    }

    pub fn ended(&self) {
        self.set_open(self.open.get() - 1);
        self.notice_idle();
    }

    /// While draining, tell Python when nothing is open.
    pub fn notice_idle(&self) {
        if self.open.get() == 0 && self.phase.get() >= Phase::Draining && !self.shared.is_idle.swap(true, Ordering::AcqRel) {
            self.shared.nudge();
        }
    }

    fn set_open(&self, open: usize) {
        self.open.set(open);
        self.shared.open.store(open, Ordering::Release);
    }
}
