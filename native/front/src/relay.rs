//! Calls of every other method go, stream by stream, to a gRPC server on a Unix socket behind the front.
//!
//! A chunk is taken from one side when the other side has a window for it, and its window is given back then: whoever does not read
//! holds up whoever writes, and what is held here is a window a stream.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderName, HeaderValue, Request, Response, Uri};
use tokio::net::UnixStream;

use crate::call::{refuse, timeout};
use crate::local::Link;
use crate::refusal::Refusal;

const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 64 << 20;
/// How long the server behind may take longer than the deadline that it was told.
const GRACE: Duration = Duration::from_secs(1);

/// The way to the server behind the front: one connection, opened when it is needed.
pub struct Relay {
    path: PathBuf,
    metadata_bytes: u32,
    /// Metadata in which the server is told where a call comes from.
    peer_name: HeaderName,
    sender: RefCell<Option<SendRequest<Bytes>>>,
}

impl Relay {
    pub fn new(path: PathBuf, metadata_bytes: u32, peer_name: HeaderName) -> Self {
        Self { path, metadata_bytes, peer_name, sender: RefCell::new(None) }
    }

    /// Carry a call to its end, beside everything else.
    pub fn take(self: &Rc<Self>, request: Request<RecvStream>, reply: SendResponse<Bytes>, link: Rc<Link>) {
        tokio::task::spawn_local(self.clone().carry(request, reply, link));
    }

    async fn carry(self: Rc<Self>, request: Request<RecvStream>, mut reply: SendResponse<Bytes>, link: Rc<Link>) {
        let Some(sender) = self.sender().await else {
            return refuse(&mut reply, &Refusal::plain(14, "the server behind the front is not there"));
        };
        let limit = request.headers().get("grpc-timeout").and_then(timeout).and_then(|span| u64::try_from(span).ok());
        let carried = exchange(sender, request, &mut reply, &link, self.peer_name.clone());
        let outcome = match limit {
            None => carried.await,
            Some(span) => tokio::time::timeout(Duration::from_millis(span) + GRACE, carried).await.unwrap_or(Err(Reason::CANCEL)),
        };
        if let Err(reason) = outcome {
            reply.send_reset(reason);
        }
    }

    async fn sender(&self) -> Option<SendRequest<Bytes>> {
        let known = self.sender.borrow().clone();
        if let Some(known) = known {
            if let Ok(ready) = known.ready().await {
                return Some(ready);
            }
        }
        let socket = UnixStream::connect(&self.path).await.ok()?;
        let mut builder = client::Builder::new();
        builder.initial_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
        builder.max_header_list_size(self.metadata_bytes.saturating_mul(4));
        let (sender, connection) = builder.handshake(socket).await.ok()?;
        tokio::task::spawn_local(connection);
        let sender = sender.ready().await.ok()?;
        *self.sender.borrow_mut() = Some(sender.clone());
        Some(sender)
    }
}

/// Send a request on and its response back; an error is why the caller's stream is to be reset.
async fn exchange(
    mut sender: SendRequest<Bytes>,
    request: Request<RecvStream>,
    reply: &mut SendResponse<Bytes>,
    link: &Link,
    peer_name: HeaderName,
) -> Result<(), Reason> {
    let (head, body) = request.into_parts();
    let mut forwarded = Request::new(());
    *forwarded.method_mut() = head.method;
    *forwarded.headers_mut() = head.headers;
    // The server behind sees a Unix socket only.
    if let Ok(peer) = HeaderValue::from_str(&link.peer.to_string()) {
        forwarded.headers_mut().insert(peer_name, peer);
    }
    let path = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    *forwarded.uri_mut() = Uri::try_from(format!("http://localhost{path}")).map_err(|_| Reason::PROTOCOL_ERROR)?;
    let is_empty = body.is_end_stream();
    let (response, up) = sender.send_request(forwarded, is_empty).map_err(reason)?;
    let mut up = (!is_empty).then(|| Pump::new(body, up));
    let mut response = pin!(response);
    let arrived = poll_fn(|cx| {
        if let Poll::Ready(left) = reply.poll_reset(cx) {
            return Poll::Ready(Err(left.unwrap_or(Reason::CANCEL)));
        }
        poll_up(&mut up, cx)?;
        response.as_mut().poll(cx).map_err(reason)
    });
    let arrived = arrived.await;
    match arrived {
        Ok(_) => link.gain_patience(1),
        Err(_) => link.lose_patience(),
    }
    let (head, body) = arrived?.into_parts();
    let mut returned = Response::new(());
    *returned.status_mut() = head.status;
    *returned.headers_mut() = head.headers;
    let is_over = body.is_end_stream();
    let stream = reply.send_response(returned, is_over).map_err(reason)?;
    if is_over {
        return Ok(());
    }
    let mut down = Pump::new(body, stream);
    poll_fn(|cx| {
        poll_up(&mut up, cx)?;
        Pin::new(&mut down).poll(cx)
    })
    .await
}

/// Move what the caller sends; it fails when the caller left.
fn poll_up(up: &mut Option<Pump>, cx: &mut Context<'_>) -> Result<(), Reason> {
    let Some(pump) = up else { return Ok(()) };
    match Pin::new(&mut *pump).poll(cx) {
        Poll::Pending => Ok(()),
        Poll::Ready(Ok(())) => {
            *up = None;
            Ok(())
        }
        // The server behind wants no more, and says by its answer why.
        Poll::Ready(Err(_)) if pump.is_refused => {
            *up = None;
            Ok(())
        }
        Poll::Ready(Err(reason)) => Err(reason),
    }
}

fn reason(error: h2::Error) -> Reason {
    error.reason().unwrap_or(Reason::CANCEL)
}

/// Moves one direction of a stream.
struct Pump {
    from: RecvStream,
    to: SendStream<Bytes>,
    chunk: Bytes,
    /// Whether the receiving side ended it.
    is_refused: bool,
    is_over: bool,
}

impl Pump {
    fn new(from: RecvStream, to: SendStream<Bytes>) -> Self {
        Self { from, to, chunk: Bytes::new(), is_refused: false, is_over: false }
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        while !self.chunk.is_empty() {
            self.to.reserve_capacity(self.chunk.len());
            let room = self.to.capacity().min(self.chunk.len());
            if room == 0 {
                match ready!(self.to.poll_capacity(cx)) {
                    Some(Ok(_)) => continue,
                    _ => return Poll::Ready(Err(self.refused())),
                }
            }
            let part = self.chunk.split_to(room);
            let _ = self.from.flow_control().release_capacity(room);
            if self.to.send_data(part, false).is_err() {
                return Poll::Ready(Err(self.refused()));
            }
        }
        Poll::Ready(Ok(()))
    }

    fn refused(&mut self) -> Reason {
        self.is_refused = true;
        Reason::CANCEL
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Reason>> {
        let trailers = ready!(self.from.poll_trailers(cx)).map_err(reason)?;
        self.is_over = true;
        let sent = match trailers {
            Some(trailers) => self.to.send_trailers(trailers),
            None => self.to.send_data(Bytes::new(), true),
        };
        Poll::Ready(sent.map_err(|_| self.refused()))
    }
}

impl Future for Pump {
    type Output = Result<(), Reason>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while !this.is_over {
            ready!(this.poll_chunk(cx))?;
            if this.to.poll_reset(cx).is_ready() {
                return Poll::Ready(Err(this.refused()));
            }
            match ready!(this.from.poll_data(cx)) {
                Some(Ok(chunk)) => this.chunk = chunk,
                Some(Err(error)) => return Poll::Ready(Err(reason(error))),
                None => return this.poll_end(cx),
            }
        }
        Poll::Ready(Ok(()))
    }
}
