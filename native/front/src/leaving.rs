//! How calls end: answered, refused, too late, or left by their callers.

use std::collections::hash_map::Entry;
use std::task::Context;

use bytes::Bytes;

use crate::call::{Call, Stage};
use crate::clock::NEVER;
use crate::connection::Connection;
use crate::event::{Event, call_id};
use crate::local::Local;
use crate::refusal::Refusal;
use crate::shared::{Order, count};

impl Connection {
    pub(crate) fn obey(&mut self, stream: u32, order: Order, reset_cx: &mut Context<'_>) {
        let Entry::Occupied(entry) = self.calls.entry(stream) else { return };
        match (&entry.get().stage, order) {
            (Stage::Open, Order::Respond(message)) => {
                let call = entry.remove();
                self.respond(stream, call, message);
            }
            (Stage::Open, Order::Refuse(refusal)) => {
                entry.remove().refuse(&refusal);
                self.local.ended();
            }
            (Stage::Unpacking, Order::Decoded(Ok(message))) => {
                let mut call = entry.remove();
                call.held.grow(message.len());
                if self.deliver(stream, &mut call, message, reset_cx) {
                    self.calls.insert(stream, call);
                }
            }
            (Stage::Unpacking, Order::Decoded(Err(refusal))) => entry.remove().refuse(&refusal),
            _ => {}
        }
    }

    pub(crate) fn respond(&mut self, stream: u32, mut call: Call, message: Bytes) {
        count(&self.local.shared.counters.answered);
        self.link.gain_patience(1);
        self.local.ended();
        let Some(sending) = self.heads.respond(&mut call.reply, message, self.io.is_full()) else { return };
        count(&self.local.shared.counters.stalled);
        // From now on the answer is what is held, and no longer the request.
        call.held = self.local.hold();
        call.held.grow(sending.rest_bytes());
        call.stage = Stage::Sending(sending);
        if self.local.is_over_budget() {
            call.refuse(&self.local.limits.refusals.too_much);
            return;
        }
        call.deadline = call.deadline.min(self.now.saturating_add(self.local.limits.stall));
        self.local.wait_for(&self.link, call.deadline);
        self.sending.push(stream);
        self.calls.insert(stream, call);
    }

    pub(crate) fn send(&mut self, cx: &mut Context<'_>) {
        let (calls, heads, io) = (&mut self.calls, &self.heads, &self.io);
        self.sending.retain(|stream| {
            let Some(Call { stage: Stage::Sending(sending), .. }) = calls.get_mut(stream) else { return false };
            let is_done = sending.poll_send(cx, &heads.trailers, || io.is_full()).is_ready();
            if is_done {
                calls.remove(stream);
            }
            !is_done
        });
    }

    /// End calls whose deadline has passed, and wait for the next.
    pub(crate) fn expire(&mut self) {
        let late: Vec<u32> = self.calls.iter().filter(|(_, call)| call.deadline <= self.now).map(|(&stream, _)| stream).collect();
        for stream in late {
            self.end(stream, |local| local.limits.refusals.too_late.clone());
            count(&self.local.shared.counters.too_late);
        }
        self.link.due.set(NEVER);
        let next = self.calls.values().map(|call| call.deadline).min().unwrap_or(NEVER);
        self.local.wait_for(&self.link, next);
    }

    /// End a call by a word of our own; Python learns that its caller is gone.
    pub(crate) fn end(&mut self, stream: u32, why: impl Fn(&Local) -> Refusal) {
        if let Some(call) = self.calls.remove(&stream) {
            if matches!(call.stage, Stage::Open) {
                self.left(stream);
            }
            call.refuse(&why(&self.local));
        }
    }

    pub(crate) fn notice_resets(&mut self, reset_cx: &mut Context<'_>) {
        let open = self.calls.iter_mut().filter(|(_, call)| matches!(call.stage, Stage::Open));
        let left: Vec<u32> = open.filter_map(|(&stream, call)| call.reply.poll_reset(reset_cx).is_ready().then_some(stream)).collect();
        for stream in left {
            self.calls.remove(&stream);
            self.left(stream);
            count(&self.local.shared.counters.left);
        }
    }

    pub(crate) fn left(&self, stream: u32) {
        self.local.tell(Event::Left(call_id(self.link.number, stream)));
        self.local.ended();
    }
}
