//! One unary call: what its headers ask for, and how its answer leaves.

use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response};

use crate::body::{Body, malformed};
use crate::clock::{Millis, NEVER};
use crate::event::Notes;
use crate::local::{Held, Local};
use crate::refusal::{GRPC, Refusal, STATUS};

const REQUEST_ID_LIMIT: usize = 256;

/// How far a call is.
pub enum Stage {
    Reading(Body),
    /// Its message is being decompressed.
    Unpacking,
    /// Python has it.
    Open,
    /// The answer waits until its client takes it.
    Sending(Sending),
}

/// A unary call that has not ended.
pub struct Call {
    pub reply: SendResponse<Bytes>,
    pub stage: Stage,
    pub deadline: Millis,
    pub held: Held,
    pub notes: Notes,
}

impl Call {
    /// End it with a status, as far as the wire still allows.
    pub fn refuse(mut self, refusal: &Refusal) {
        match self.stage {
            Stage::Sending(sending) => sending.refuse(refusal),
            _ => refuse(&mut self.reply, refusal),
        }
    }
}

/// Answer a call with nothing but a status.
pub fn refuse(reply: &mut SendResponse<Bytes>, refusal: &Refusal) {
    let mut response = Response::new(());
    *response.headers_mut() = refusal.headers();
    let _ = reply.send_response(response, true);
}

/// The rest of an answer for which the client has opened no window yet.
pub struct Sending {
    stream: SendStream<Bytes>,
    rest: Bytes,
    is_begun: bool,
}

impl Sending {
    pub fn rest_bytes(&self) -> usize {
        self.rest.len()
    }

    /// Send what fits; Ready when all is sent or the client is gone.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, trailers: &HeaderMap, is_full: impl Fn() -> bool) -> Poll<()> {
        while !self.rest.is_empty() {
            if is_full() {
                return Poll::Pending;
            }
            let room = self.stream.capacity().min(self.rest.len());
            if room > 0 {
                self.is_begun = true;
                if self.stream.send_data(self.rest.split_to(room), false).is_err() {
                    return Poll::Ready(());
                }
                self.stream.reserve_capacity(self.rest.len());
                continue;
            }
            match self.stream.poll_capacity(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
        let _ = self.stream.send_trailers(trailers.clone());
        Poll::Ready(())
    }

    fn refuse(mut self, refusal: &Refusal) {
        if self.is_begun {
            self.stream.send_reset(Reason::CANCEL);
        } else {
            let _ = self.stream.send_trailers(refusal.trailers());
        }
    }
}

/// Headers and trailers of every good answer.
pub struct Heads {
    pub headers: HeaderMap,
    pub trailers: HeaderMap,
}

impl Heads {
    pub fn new() -> Self {
        let mut headers = HeaderMap::with_capacity(1);
        headers.insert(CONTENT_TYPE, GRPC);
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert(STATUS, HeaderValue::from_static("0"));
        Self { headers, trailers }
    }

    /// Send a good answer; return what is left of it when the client takes no more now.
    pub fn respond(&self, reply: &mut SendResponse<Bytes>, message: Bytes, is_full: bool) -> Option<Sending> {
        let mut response = Response::new(());
        *response.headers_mut() = self.headers.clone();
        let mut stream = reply.send_response(response, false).ok()?;
        stream.reserve_capacity(message.len());
        if is_full || stream.capacity() < message.len() {
            return Some(Sending { stream, rest: message, is_begun: false });
        }
        let _ = stream.send_data(message, false);
        let _ = stream.send_trailers(self.trailers.clone());
        None
    }
}

/// Read `grpc-timeout`; None for what is none.
pub fn timeout(value: &HeaderValue) -> Option<Millis> {
    let (unit, digits) = value.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number: Millis, digit| number * 10 + Millis::from(digit - b'0'));
    match unit {
        b'H' => Some(number * 3_600_000),
        b'M' => Some(number * 60_000),
        b'S' => Some(number * 1000),
        b'm' => Some(number),
        b'u' => Some((number + 999) / 1000),
        b'n' => Some((number + 999_999) / 1_000_000),
        _ => None,
    }
}

/// Return the instant at which a caller stops waiting.
pub fn deadline(headers: &HeaderMap, now: Millis, local: &Local) -> Result<Millis, Refusal> {
    match headers.get("grpc-timeout") {
        None => Ok(NEVER),
        Some(value) => timeout(value).map(|span| now.saturating_add(span)).ok_or_else(|| malformed(local, "grpc-timeout is none")),
    }
}

/// Pick what Python wants to know of a call.
///
/// Key and trace travel in columns. Names that few callers send are handed over as they are, for Python to judge; a request id that
/// Python would let pass unread is not worth that.
pub fn notes(headers: &HeaderMap, local: &Local) -> Notes {
    let is_special = |name: &str| match name {
        "x-api-key" | "traceparent" => false,
        "x-request-id" => headers.get_all(name).iter().any(|value| !is_plain(value)),
        _ => headers.contains_key(name),
    };
    if local.limits.watched.iter().any(|name| is_special(name.as_str())) {
        let mut watched = Vec::new();
        for (place, name) in local.limits.watched.iter().enumerate() {
            watched.extend(headers.get_all(name).iter().map(|value| (place, value.clone())));
        }
        return Notes { watched: Some(watched), ..Notes::default() };
    }
    Notes { key: headers.get("x-api-key").cloned(), trace: headers.get("traceparent").cloned(), watched: None }
}

fn is_plain(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    bytes.len() <= REQUEST_ID_LIMIT && bytes.iter().all(|byte| (0x20..0x7f).contains(byte))
}
