//! The gRPC front of penstock.
//!
//! One thread serves all connections. Unary calls of one method are gathered while the thread is busy and handed to Python when it is
//! about to sleep: one lock, one wake, one wave. Python's answers come back as lists and leave in one write a connection. Every other
//! method goes to a gRPC server behind the front (relay.rs). What Python sees is `Front` and `Refusal`.

#![forbid(unsafe_code)]

mod arriving;
mod body;
mod call;
mod clock;
mod columns;
mod connection;
mod event;
mod front;
mod greeting;
mod inflate;
mod leaving;
mod local;
mod options;
mod refusal;
mod relay;
mod runtime;
mod shared;
mod socket;
mod tls;
mod wake;

use pyo3::prelude::*;

#[pymodule]
fn penstock_front(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<front::Front>()?;
    module.add_class::<refusal::Refusal>()
}
