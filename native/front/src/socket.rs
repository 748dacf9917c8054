//! A client's connection, in the clear or by TLS, and a write buffer that is written once a poll.
//!
//! h2 flushes whenever a frame of more than 256 bytes is due, which is one write an answer. Here its flushes do nothing; the task that
//! owns the connection flushes when everything that was ready is in the buffer. h2 is polled with a waker of its own (wake.rs), so the
//! socket is polled with the task's.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::greeting::Greeting;

const BUFFER_BYTES: usize = 256 << 10;
/// What an idle connection keeps of its buffer.
const KEPT_BYTES: usize = 64 << 10;
const GREETING_BYTES: usize = 8 << 10;

/// A client's connection.
pub enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(socket) => Pin::new(socket).poll_write(cx, bytes),
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, into),
            Self::Tls(socket) => Pin::new(socket).poll_read(cx, into),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}

struct Inner {
    socket: Socket,
    /// None once everything may pass.
    greeting: Option<Greeting>,
    /// What passed the greeting and has not been read.
    greeted: Vec<u8>,
    unsent: BytesMut,
    task: Waker,
    writes: u64,
    has_read: bool,
    has_moved: bool,
}

impl Inner {
    /// Read through the greeting.
    fn poll_greeted(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.greeted.is_empty() {
            let mut scratch = [0u8; GREETING_BYTES];
            let mut arrived = ReadBuf::new(&mut scratch);
            ready!(self.socket.poll_read(cx, &mut arrived))?;
            if arrived.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            match &mut self.greeting {
                Some(greeting) => greeting.pass(arrived.filled(), &mut self.greeted),
                None => self.greeted.extend_from_slice(arrived.filled()),
            }
        }
        let taken = self.greeted.len().min(into.remaining());
        into.put_slice(&self.greeted[..taken]);
        self.greeted.drain(..taken);
        if self.greeted.is_empty() && self.greeting.as_ref().is_some_and(Greeting::is_done) {
            self.greeting = None;
            self.greeted = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self) -> Poll<io::Result<()>> {
        let task = self.task.clone();
        let mut cx = Context::from_waker(&task);
        while !self.unsent.is_empty() {
            self.writes += 1;
            let sent = ready!(self.socket.poll_write(&mut cx, &self.unsent))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(sent);
            self.has_moved = true;
        }
        if self.unsent.capacity() > KEPT_BYTES {
            self.unsent = BytesMut::new();
        }
        self.socket.poll_flush(&mut cx)
    }
}

/// What h2 reads from and writes to; its clones are the same connection.
#[derive(Clone)]
pub struct Coalesced(Rc<RefCell<Inner>>);

impl Coalesced {
    pub fn new(socket: Socket) -> Self {
        let task = Waker::noop().clone();
        Self(Rc::new(RefCell::new(Inner {
            socket,
            greeting: Some(Greeting::new()),
            greeted: Vec::new(),
            unsent: BytesMut::new(),
            task,
            writes: 0,
            has_read: false,
            has_moved: false,
        })))
    }

    /// Let the socket wake this task.
    pub fn enter(&self, task: &Waker) {
        self.0.borrow_mut().task.clone_from(task);
    }

    /// Write what is in the buffer; Pending while the kernel takes no more.
    pub fn poll_flush(&self) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_flush()
    }

    /// Whether the client takes so little that nothing more fits.
    pub fn is_full(&self) -> bool {
        self.0.borrow().unsent.len() >= BUFFER_BYTES
    }

    /// Whether something waits to be written.
    pub fn is_owing(&self) -> bool {
        !self.0.borrow().unsent.is_empty()
    }

    /// Return whether anything was read, and whether anything was written, since the last look.
    pub fn moved(&self) -> (bool, bool) {
        let inner = &mut *self.0.borrow_mut();
        (std::mem::take(&mut inner.has_read), std::mem::take(&mut inner.has_moved))
    }

    /// Return how often the kernel was asked to write since the last look.
    pub fn writes(&self) -> u64 {
        std::mem::take(&mut self.0.borrow_mut().writes)
    }

    /// Send what is left, say that no more comes, and wait for the client's end: closing before would reset the connection and throw
    /// away what is on its way.
    pub fn poll_part(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.borrow_mut();
        inner.task.clone_from(cx.waker());
        ready!(inner.poll_flush())?;
        ready!(inner.socket.poll_shutdown(cx))?;
        let mut scratch = [0u8; 4096];
        loop {
            let mut into = ReadBuf::new(&mut scratch);
            ready!(inner.socket.poll_read(cx, &mut into))?;
            if into.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncRead for Coalesced {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let inner = &mut *self.0.borrow_mut();
        let task = inner.task.clone();
        let cx = &mut Context::from_waker(&task);
        let before = into.filled().len();
        let polled = if inner.greeting.is_none() && inner.greeted.is_empty() {
            inner.socket.poll_read(cx, into)
        } else {
            inner.poll_greeted(cx, into)
        };
        inner.has_read |= into.filled().len() > before;
        polled
    }
}

impl AsyncWrite for Coalesced {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(self: Pin<&mut Self>, _: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let inner = &mut *self.0.borrow_mut();
        if inner.unsent.len() >= BUFFER_BYTES {
            ready!(inner.poll_flush())?;
        }
        let before = inner.unsent.len();
        for slice in slices {
            let room = BUFFER_BYTES - inner.unsent.len();
            inner.unsent.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        Poll::Ready(Ok(inner.unsent.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The owner parts from the client, see poll_part.
        Poll::Ready(Ok(()))
    }
}
