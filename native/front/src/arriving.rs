//! How calls come in: accepted, read, and handed to Python when they are whole.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};

use crate::body::{Body, Encoding, Look};
use crate::call::{Call, Stage, deadline, notes, refuse};
use crate::clock::NEVER;
use crate::connection::Connection;
use crate::event::{Arrival, Event, call_id};
use crate::inflate::inflate;
use crate::refusal::Refusal;
use crate::shared::{Order, Phase, count};

impl Connection {
    pub(crate) fn accept(&mut self, cx: &mut Context<'_>, reset_cx: &mut Context<'_>) -> bool {
        loop {
            match self.h2.poll_accept(cx) {
                Poll::Pending => return true,
                Poll::Ready(Some(Ok((request, reply)))) => self.admit(request, reply, cx, reset_cx),
                Poll::Ready(_) => return false,
            }
        }
    }

    pub(crate) fn admit(
        &mut self,
        request: Request<RecvStream>,
        mut reply: SendResponse<Bytes>,
        cx: &mut Context<'_>,
        reset_cx: &mut Context<'_>,
    ) {
        let is_grpc = request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        if request.method() != Method::POST || !is_grpc {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            let _ = reply.send_response(response, true);
            return;
        }
        if request.uri().path() != self.local.limits.method {
            match &self.relay {
                Some(relay) => {
                    count(&self.local.shared.counters.relayed);
                    relay.take(request, reply, self.link.clone());
                }
                None => refuse(&mut reply, &Refusal::plain(12, "no such method")),
            }
            return;
        }
        let (head, body) = request.into_parts();
        let deadline = match deadline(&head.headers, self.now, &self.local) {
            Ok(deadline) if deadline > self.now => deadline,
            Ok(_) => return refuse(&mut reply, &self.local.limits.refusals.too_late),
            Err(refusal) => return refuse(&mut reply, &refusal),
        };
        let stream = reply.stream_id().as_u32();
        let body = Body::new(body, Encoding::of(head.headers.get("grpc-encoding")));
        let notes = notes(&head.headers, &self.local);
        let mut call = Call { reply, stage: Stage::Reading(body), deadline, held: self.local.hold(), notes };
        self.local.wait_for(&self.link, deadline);
        if self.step(stream, &mut call, cx, reset_cx) {
            if matches!(call.stage, Stage::Reading(_)) {
                self.reading.push(stream);
            }
            self.calls.insert(stream, call);
        }
    }

    pub(crate) fn read(&mut self, cx: &mut Context<'_>, reset_cx: &mut Context<'_>) {
        if self.reading.is_empty() {
            return;
        }
        for stream in std::mem::take(&mut self.reading) {
            let Some(mut call) = self.calls.remove(&stream) else { continue };
            if !matches!(call.stage, Stage::Reading(_)) || self.step(stream, &mut call, cx, reset_cx) {
                if matches!(call.stage, Stage::Reading(_)) {
                    self.reading.push(stream);
                }
                self.calls.insert(stream, call);
            }
        }
    }

    /// Read what has arrived of a call; false when the call is over.
    pub(crate) fn step(&mut self, stream: u32, call: &mut Call, cx: &mut Context<'_>, reset_cx: &mut Context<'_>) -> bool {
        let Stage::Reading(body) = &mut call.stage else { return true };
        match body.look(cx, &self.local, &mut call.held) {
            Look::More => true,
            Look::Gone => {
                self.link.lose_patience();
                false
            }
            Look::Refused(refusal) => {
                refuse(&mut call.reply, &refusal);
                false
            }
            Look::Whole(message, false) => self.deliver(stream, call, message, reset_cx),
            Look::Whole(packed, true) => {
                self.unpack(stream, packed, body.encoding());
                call.stage = Stage::Unpacking;
                true
            }
        }
    }

    pub(crate) fn unpack(&self, stream: u32, packed: Bytes, encoding: Encoding) {
        let (local, id) = (self.local.clone(), call_id(self.link.number, stream));
        tokio::task::spawn_local(async move {
            let (limit, too_large) = (local.limits.message_bytes, local.limits.refusals.too_large.clone());
            let unpacked = tokio::task::spawn_blocking(move || inflate(&packed, encoding, limit, too_large)).await;
            let message = unpacked.unwrap_or_else(|_| Err(Refusal::plain(13, "the message cannot be decompressed")));
            local.dispatch(vec![(id, Order::Decoded(message))]);
        });
    }

    /// Hand a whole message to Python; false when it is refused instead.
    pub(crate) fn deliver(&mut self, stream: u32, call: &mut Call, message: Bytes, reset_cx: &mut Context<'_>) -> bool {
        let (limits, counters) = (&self.local.limits, &self.local.shared.counters);
        if self.local.phase.get() >= Phase::Draining {
            count(&counters.refused_draining);
            refuse(&mut call.reply, &limits.refusals.draining);
            return false;
        }
        if self.local.open() >= limits.open_calls {
            count(&counters.refused_too_many);
            refuse(&mut call.reply, &limits.refusals.too_many);
            return false;
        }
        if call.reply.poll_reset(reset_cx).is_ready() {
            self.link.lose_patience();
            return false;
        }
        count(&counters.calls);
        self.local.opened();
        call.stage = Stage::Open;
        let shown = call.deadline.min(if call.deadline == NEVER { NEVER } else { self.now.saturating_add(limits.deadline) });
        let notes = std::mem::take(&mut call.notes);
        self.local.tell(Event::Call(Arrival { id: call_id(self.link.number, stream), payload: message, deadline: shown, notes }));
        true
    }
}
