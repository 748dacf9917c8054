//! What Python sets, read once.

use std::path::PathBuf;

use http::HeaderName;
use pyo3::prelude::*;

use crate::clock::{self, Millis};
use crate::refusal::Refusal;

/// The mapping that `Front` takes; every key must be there.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Options {
    pub host: String,
    pub port: u16,
    pub reuse_port: bool,
    /// The one method whose calls become events.
    pub method: String,
    /// Unix socket of the gRPC server that answers every other method.
    pub fallback_path: Option<PathBuf>,
    pub message_limit_bytes: usize,
    /// Bytes of all requests that are not answered and all answers that are not taken.
    pub held_limit_bytes: usize,
    pub open_calls_limit: usize,
    pub max_concurrent_streams: u32,
    pub max_metadata_bytes: u32,
    /// Longer deadlines are shown to Python as this.
    pub deadline_limit_seconds: f64,
    pub keepalive_seconds: f64,
    pub keepalive_timeout_seconds: f64,
    /// How long a connection may take nothing, or an answer wait for a window.
    pub stall_seconds: f64,
    pub connection_seconds: f64,
    pub connection_grace_seconds: f64,
    pub idle_seconds: f64,
    /// Names of metadata that Python reads itself, key and trace among them.
    pub watched: Vec<String>,
    /// Metadata by which the server behind is told where a call comes from; a name that no caller can know.
    pub peer_name: String,
    pub tls: Option<TlsPaths>,
    pub refusals: Refusals,
}

/// Where certificates are, in PEM.
#[derive(FromPyObject, Clone)]
#[pyo3(from_item_all)]
pub struct TlsPaths {
    pub certificate_chain: PathBuf,
    pub private_key: PathBuf,
    pub client_authorities: Option<PathBuf>,
}

/// What the front itself says, in Python's words.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Refusals {
    pub too_large: Refusal,
    pub too_many: Refusal,
    pub too_much: Refusal,
    pub draining: Refusal,
    pub too_late: Refusal,
}

/// The options in the units of the I/O thread.
pub struct Limits {
    pub method: String,
    pub fallback: Option<PathBuf>,
    pub message_bytes: usize,
    pub held_bytes: usize,
    pub open_calls: usize,
    pub streams: u32,
    pub metadata_bytes: u32,
    pub deadline: Millis,
    pub keepalive: Millis,
    pub keepalive_timeout: Millis,
    pub stall: Millis,
    pub connection: Millis,
    pub connection_grace: Millis,
    pub idle: Millis,
    pub watched: Vec<HeaderName>,
    pub peer_name: HeaderName,
    pub refusals: Refusals,
}

impl Limits {
    /// Translate; None for a name that can be no header.
    pub fn from(options: Options) -> Option<Self> {
        let watched = options.watched.iter().map(|name| HeaderName::from_bytes(name.as_bytes()).ok());
        Some(Self {
            method: options.method,
            fallback: options.fallback_path,
            message_bytes: options.message_limit_bytes,
            held_bytes: options.held_limit_bytes,
            open_calls: options.open_calls_limit,
            streams: options.max_concurrent_streams,
            metadata_bytes: options.max_metadata_bytes,
            deadline: clock::span(options.deadline_limit_seconds),
            keepalive: clock::span(options.keepalive_seconds),
            keepalive_timeout: clock::span(options.keepalive_timeout_seconds),
            stall: clock::span(options.stall_seconds),
            connection: clock::span(options.connection_seconds),
            connection_grace: clock::span(options.connection_grace_seconds),
            idle: clock::span(options.idle_seconds),
            watched: watched.collect::<Option<Vec<_>>>()?,
            peer_name: HeaderName::from_bytes(options.peer_name.as_bytes()).ok()?,
            refusals: options.refusals,
        })
    }
}
