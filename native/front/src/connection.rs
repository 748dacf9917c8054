//! One client's connection: one task that takes orders, lets h2 read, reads messages and answers, then writes once.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use h2::{Ping, PingPong, Reason, server};

use crate::call::{Call, Heads, Stage};
use crate::clock::{self, Millis};
use crate::local::{ByNumber, Link, Local};
use crate::relay::Relay;
use crate::shared::{Phase, count};
use crate::socket::Coalesced;
use crate::wake::Flag;

/// A connection whose handshake is done; ends when the connection does.
pub struct Connection {
    pub(crate) local: Rc<Local>,
    pub(crate) relay: Option<Rc<Relay>>,
    pub(crate) link: Rc<Link>,
    pub(crate) io: Coalesced,
    pub(crate) h2: server::Connection<Coalesced, Bytes>,
    pub(crate) ping: Option<PingPong>,
    pub(crate) calls: ByNumber<Call>,
    pub(crate) reading: Vec<u32>,
    pub(crate) sending: Vec<u32>,
    pub(crate) heads: Heads,
    /// h2 has something to do, or a message or window moved.
    pub(crate) again: Arc<Flag>,
    /// A caller reset a call that Python has.
    pub(crate) reset: Arc<Flag>,
    pub(crate) now: Millis,
    pub(crate) is_going: bool,
    pub(crate) is_closing: bool,
}

impl Connection {
    pub fn new(
        local: Rc<Local>,
        relay: Option<Rc<Relay>>,
        io: Coalesced,
        mut h2: server::Connection<Coalesced, Bytes>,
        peer: IpAddr,
    ) -> Self {
        let link = local.link(peer);
        let ping = h2.ping_pong();
        count(&local.shared.counters.connections);
        Self {
            local,
            relay,
            link,
            io,
            h2,
            ping,
            calls: ByNumber::default(),
            reading: Vec::new(),
            sending: Vec::new(),
            heads: Heads::new(),
            again: Arc::default(),
            reset: Arc::default(),
            now: clock::now(),
            is_going: false,
            is_closing: false,
        }
    }

    /// Do all that is ready; false when the connection is over.
    fn turn(&mut self) -> bool {
        let (again, reset) = (Waker::from(self.again.clone()), Waker::from(self.reset.clone()));
        let (cx, reset_cx) = (&mut Context::from_waker(&again), &mut Context::from_waker(&reset));
        self.follow_phase();
        if self.now >= self.link.due.get() {
            self.expire();
        }
        loop {
            self.again.take();
            for (stream, order) in self.link.take_orders() {
                self.obey(stream, order, reset_cx);
            }
            let is_open = self.accept(cx, reset_cx);
            self.read(cx, reset_cx);
            self.send(cx);
            if self.reset.take() {
                self.notice_resets(reset_cx);
            }
            self.ping(cx);
            if !self.link.has_patience() {
                count(&self.local.shared.counters.cut_off);
                self.h2.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                let _ = self.h2.poll_closed(cx);
                return false;
            }
            if !is_open {
                return false;
            }
            if !self.again.take() {
                return true;
            }
        }
    }

    fn follow_phase(&mut self) {
        if self.local.phase.get() == Phase::Closing && !self.is_closing {
            self.is_closing = true;
            self.link.is_to_go.set(true);
            // Answers on their way may still arrive; see runtime.rs for how long.
            let unanswered = self.calls.iter().filter(|(_, call)| !matches!(call.stage, Stage::Sending(_)));
            for stream in unanswered.map(|(&stream, _)| stream).collect::<Vec<_>>() {
                self.end(stream, |local| local.limits.refusals.draining.clone());
            }
        }
        if self.link.is_to_go.get() && !self.is_going {
            self.is_going = true;
            self.h2.graceful_shutdown();
        }
    }

    fn ping(&mut self, cx: &mut Context<'_>) {
        let Some(ping) = &mut self.ping else { return };
        if self.link.is_to_ping.take() && ping.send_ping(Ping::opaque()).is_ok() {
            self.link.pinged_at.set(Some(self.now));
        }
        if self.link.pinged_at.get().is_some() && ping.poll_pong(cx).is_ready() {
            self.link.pinged_at.set(None);
        }
    }

    /// Write, and note for the sweeper what moved.
    fn flush(&mut self) -> bool {
        let is_whole = !matches!(self.io.poll_flush(), Poll::Ready(Err(_)));
        let (has_read, has_written) = self.io.moved();
        let link = &self.link;
        if has_read {
            link.heard_at.set(self.now);
        }
        match (self.io.is_owing(), link.owing_since.get()) {
            (false, _) => link.owing_since.set(None),
            (true, Some(_)) if !has_written => {}
            (true, _) => link.owing_since.set(Some(self.now)),
        }
        link.has_streams.set(self.h2.has_streams());
        self.local.shared.counters.writes.fetch_add(self.io.writes(), Ordering::Relaxed);
        is_whole
    }
}

impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.now = clock::now();
        if this.link.is_cut.get() {
            count(&this.local.shared.counters.cut_off);
            return Poll::Ready(());
        }
        for flag in [&this.again, &this.reset] {
            flag.enter(cx.waker());
        }
        this.link.enter(cx.waker());
        this.io.enter(cx.waker());
        let mut is_open = this.turn();
        while is_open && this.io.is_full() && !this.sending.is_empty() && this.io.poll_flush().is_ready() {
            is_open = this.turn();
        }
        this.again.leave();
        this.reset.leave();
        let is_whole = this.flush();
        if is_open && is_whole { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        for (stream, call) in std::mem::take(&mut self.calls) {
            if matches!(call.stage, Stage::Open) {
                self.left(stream);
            }
        }
        self.local.unlink(&self.link);
    }
}
