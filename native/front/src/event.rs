//! What the I/O thread tells Python.

use bytes::Bytes;
use http::HeaderValue;

use crate::clock::Millis;

/// Number of a call: its connection's number in the upper half, its stream's in the lower.
pub type CallId = u64;

/// Join a connection's number and a stream's.
pub fn call_id(connection: u32, stream: u32) -> CallId {
    u64::from(connection) << 32 | u64::from(stream)
}

/// Part a call's number into its connection's and its stream's.
pub fn parts(id: CallId) -> (u32, u32) {
    ((id >> 32) as u32, id as u32)
}

/// One thing that happened.
pub enum Event {
    /// A call whose message is whole.
    Call(Arrival),
    /// The caller of an earlier call left, or its deadline passed.
    Left(CallId),
}

/// A call whose message is whole.
pub struct Arrival {
    pub id: CallId,
    pub payload: Bytes,
    /// Instant, or `NEVER`.
    pub deadline: Millis,
    pub notes: Notes,
}

/// What its headers say that Python wants to know.
#[derive(Default)]
pub struct Notes {
    /// `x-api-key`.
    pub key: Option<HeaderValue>,
    /// `traceparent`.
    pub trace: Option<HeaderValue>,
    /// All watched headers by their place in the list of names, when there are others than these two.
    pub watched: Option<Vec<(usize, HeaderValue)>>,
}
