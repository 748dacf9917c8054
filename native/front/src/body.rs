//! Reading one message: refused by its prefix before anything of it is kept.

use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use h2::RecvStream;

use crate::local::{Held, Local};
use crate::refusal::Refusal;
use crate::shared::count;

pub const PREFIX_BYTES: usize = 5;
const FIRST_BYTES: usize = 256 << 10;

/// How the sender packed its messages (`grpc-encoding`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
    Deflate,
    Unknown,
}

impl Encoding {
    pub fn of(value: Option<&http::HeaderValue>) -> Self {
        match value.map(http::HeaderValue::as_bytes) {
            None | Some(b"identity") => Self::Identity,
            Some(b"gzip") => Self::Gzip,
            Some(b"deflate") => Self::Deflate,
            Some(_) => Self::Unknown,
        }
    }
}

/// What a look at a body finds.
pub enum Look {
    /// Not all is there.
    More,
    /// The message, and whether it is compressed.
    Whole(Bytes, bool),
    Refused(Refusal),
    /// The caller left.
    Gone,
}

/// A message that arrives.
pub struct Body {
    stream: RecvStream,
    encoding: Encoding,
    buffer: BytesMut,
    /// Length of the message with its prefix, once that is known.
    whole: Option<usize>,
}

impl Body {
    pub fn new(stream: RecvStream, encoding: Encoding) -> Self {
        Self { stream, encoding, buffer: BytesMut::new(), whole: None }
    }

    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Take what is there.
    pub fn look(&mut self, cx: &mut Context<'_>, local: &Local, held: &mut Held) -> Look {
        loop {
            let chunk = match self.stream.poll_data(cx) {
                Poll::Pending => return Look::More,
                Poll::Ready(Some(Err(_))) => return Look::Gone,
                Poll::Ready(None) => return self.ended(local),
                Poll::Ready(Some(Ok(chunk))) => chunk,
            };
            // Given back at once: what is held is bounded by the budget, and a call that waits long must not stop its connection.
            let _ = self.stream.flow_control().release_capacity(chunk.len());
            held.grow(chunk.len());
            if self.whole.is_none() && self.buffer.len() + chunk.len() >= PREFIX_BYTES {
                if let Err(refusal) = self.read_prefix(&chunk, local) {
                    return Look::Refused(refusal);
                }
            }
            if local.is_over_budget() {
                count(&local.shared.counters.refused_too_much);
                return Look::Refused(local.limits.refusals.too_much.clone());
            }
            if self.buffer.is_empty() && self.stream.is_end_stream() && self.whole == Some(chunk.len()) {
                // The usual case, and the only one without a copy: all of it in one frame.
                return Look::Whole(chunk.slice(PREFIX_BYTES..), chunk[0] == 1);
            }
            if let Some(refusal) = self.keep(&chunk, local) {
                return Look::Refused(refusal);
            }
        }
    }

    fn keep(&mut self, chunk: &Bytes, local: &Local) -> Option<Refusal> {
        if let Some(whole) = self.whole {
            if self.buffer.len() + chunk.len() > whole {
                return Some(malformed(local, "more than one message in a unary call"));
            }
            if self.buffer.is_empty() {
                self.buffer.reserve(whole.min(FIRST_BYTES));
            }
        }
        self.buffer.extend_from_slice(chunk);
        None
    }

    fn read_prefix(&mut self, chunk: &Bytes, local: &Local) -> Result<(), Refusal> {
        let mut prefix = [0u8; PREFIX_BYTES];
        for (place, byte) in prefix.iter_mut().zip(self.buffer.iter().chain(chunk.iter())) {
            *place = *byte;
        }
        let [packing, length @ ..] = prefix;
        match (packing, self.encoding) {
            (0, _) | (1, Encoding::Gzip | Encoding::Deflate) => {}
            (1, Encoding::Unknown) => return Err(unknown_encoding(local)),
            _ => return Err(malformed(local, "a message is compressed, and grpc-encoding does not say how")),
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > local.limits.message_bytes {
            count(&local.shared.counters.refused_too_large);
            return Err(local.limits.refusals.too_large.clone());
        }
        self.whole = Some(PREFIX_BYTES + length);
        Ok(())
    }

    fn ended(&mut self, local: &Local) -> Look {
        if self.whole != Some(self.buffer.len()) {
            return Look::Refused(malformed(local, "the call ended before its message was whole"));
        }
        let whole = std::mem::take(&mut self.buffer).freeze();
        let is_compressed = whole[0] == 1;
        Look::Whole(whole.slice(PREFIX_BYTES..), is_compressed)
    }
}

fn unknown_encoding(local: &Local) -> Refusal {
    count(&local.shared.counters.refused_malformed);
    Refusal::plain(12, "grpc-encoding is none of identity, deflate, gzip")
}

/// Count and make a refusal of what breaks gRPC's own rules.
pub fn malformed(local: &Local, message: &str) -> Refusal {
    count(&local.shared.counters.refused_malformed);
    Refusal::plain(13, message)
}
