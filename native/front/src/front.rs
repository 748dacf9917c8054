//! What Python holds: a listener whose thread it starts, feeds with answers and ends.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::RawFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::{BufMut, BytesMut};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use socket2::{Domain, Protocol, Socket, Type};

use crate::body::PREFIX_BYTES;
use crate::columns::{KnownKeys, columns};
use crate::event::{CallId, parts};
use crate::options::{Limits, Options};
use crate::refusal::Refusal;
use crate::runtime;
use crate::shared::{Order, Phase, Shared};
use crate::tls::Certificates;

const BACKLOG: i32 = 1024;

type Start = Box<dyn FnOnce() + Send>;

/// A listener and its thread.
#[pyclass(frozen, module = "penstock_front")]
pub struct Front {
    shared: Arc<Shared>,
    port: u16,
    start: Mutex<Option<Start>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    known: Mutex<KnownKeys>,
}

#[pymethods]
impl Front {
    /// Bind; nothing is accepted before `start`. `options` is a mapping, see options.rs.
    #[new]
    fn new(mut options: Options) -> PyResult<Self> {
        let listener = bind(&options).map_err(PyOSError::new_err)?;
        let port = listener.local_addr()?.port();
        let certificates = options.tls.take().map(Certificates::open).transpose().map_err(PyOSError::new_err)?;
        let limits = Limits::from(options).ok_or_else(|| PyValueError::new_err("a watched name can be no header"))?;
        let shared = Arc::new(Shared::new()?);
        let served = shared.clone();
        let start: Start = Box::new(move || {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime::run(limits, served, listener, certificates)));
            if !matches!(outcome, Ok(Ok(()))) {
                // A process that listens and answers nobody is worse than one that is started again.
                eprintln!("penstock_front: the I/O thread failed: {outcome:?}");
                std::process::abort();
            }
        });
        Ok(Self { shared, port, start: Mutex::new(Some(start)), thread: Mutex::default(), known: Mutex::default() })
    }

    #[getter]
    fn port(&self) -> u16 {
        self.port
    }

    /// Calls that Python has been told of, or is about to be, and that have not ended.
    #[getter]
    fn in_flight(&self) -> usize {
        self.shared.open.load(Ordering::Acquire)
    }

    /// Whether it drains and nothing is in flight; the descriptor becomes readable when that begins.
    #[getter]
    fn is_idle(&self) -> bool {
        self.shared.is_idle.load(Ordering::Acquire)
    }

    /// Begin to accept.
    fn start(&self) -> PyResult<()> {
        if let Some(start) = self.start.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let thread = std::thread::Builder::new().name("front-io".into()).spawn(start)?;
            *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        }
        Ok(())
    }

    /// Readable while `recv_wave` has something.
    fn fileno(&self) -> RawFd {
        self.shared.descriptor()
    }

    /// Take up to `limit` calls and what else happened up to there, as columns; never blocks.
    fn recv_wave<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Bound<'py, PyTuple>> {
        let events = self.shared.take(limit);
        columns(py, events, &mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Return the address that a call came from, as text; None when its connection is gone.
    fn peer(&self, call_id: CallId) -> Option<String> {
        self.shared.peer(parts(call_id).0).map(|address| address.to_string())
    }

    /// Answer calls; ids that are no longer open are ignored.
    fn respond_many(&self, call_ids: Vec<CallId>, payloads: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut orders = Vec::with_capacity(call_ids.len());
        let mut buffer = BytesMut::with_capacity(call_ids.len() * 128);
        let mut left = call_ids.into_iter();
        for payload in payloads.try_iter()? {
            let payload = payload?;
            let payload = payload.cast::<PyBytes>()?.as_bytes();
            let id = left.next().ok_or_else(uneven)?;
            let length = u32::try_from(payload.len()).map_err(|_| PyValueError::new_err("an answer is longer than 4 GiB"))?;
            buffer.reserve(PREFIX_BYTES + payload.len());
            buffer.put_u8(0);
            buffer.put_u32(length);
            buffer.put_slice(payload);
            orders.push((id, Order::Respond(buffer.split().freeze())));
        }
        self.give(orders, left.next().is_some())
    }

    /// Refuse calls; ids that are no longer open are ignored.
    fn fail_many(&self, call_ids: Vec<CallId>, refusals: Vec<Refusal>) -> PyResult<()> {
        let is_uneven = call_ids.len() != refusals.len();
        self.give(call_ids.into_iter().zip(refusals.into_iter().map(Order::Refuse)).collect(), is_uneven)
    }

    /// Refuse new calls and ask connections to go.
    fn begin_drain(&self) {
        self.shared.turn(Phase::Draining);
    }

    /// End: what is open is refused, what is answered is sent, for at most a second. Blocks without the interpreter's lock.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.shared.turn(Phase::Closing);
        self.start.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let joined = py.detach(|| thread.map_or(Ok(()), JoinHandle::join));
        joined.map_err(|_| PyRuntimeError::new_err("the I/O thread failed"))
    }

    /// Return counts since the start, by name.
    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counted = PyDict::new(py);
        for (name, counter) in self.shared.counters.named() {
            counted.set_item(name, counter.load(Ordering::Relaxed))?;
        }
        Ok(counted)
    }
}

impl Front {
    fn give(&self, orders: Vec<(CallId, Order)>, is_uneven: bool) -> PyResult<()> {
        if is_uneven {
            return Err(uneven());
        }
        if !orders.is_empty() {
            self.shared.order(orders);
        }
        Ok(())
    }
}

fn uneven() -> PyErr {
    PyValueError::new_err("the columns differ in length")
}

fn bind(options: &Options) -> std::io::Result<TcpListener> {
    let mut failure = std::io::Error::other("the host has no address");
    for address in (options.host.as_str(), options.port).to_socket_addrs()? {
        match listen(address, options.reuse_port) {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn listen(address: SocketAddr, is_shared: bool) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(is_shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
