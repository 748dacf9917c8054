//! The I/O thread: listens, serves each connection by a task, keeps time, and ends in order.

use std::cell::RefCell;
use std::net::{IpAddr, TcpListener as StdListener};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::server;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

use crate::clock::{self, NEVER};
use crate::connection::Connection;
use crate::local::{Link, Local, publish};
use crate::options::Limits;
use crate::relay::Relay;
use crate::shared::{Phase, Shared};
use crate::socket::{Coalesced, Socket};
use crate::tls::Certificates;

const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client that takes nothing is waited for at the end, and how long all others.
const PARTING: Duration = Duration::from_secs(1);
const PARTING_LIMIT: clock::Millis = 10_000;
const SWEEP: Duration = Duration::from_millis(250);
/// Deadlines are told at most this often.
const TICK: Duration = Duration::from_millis(4);
const BREATH: Duration = Duration::from_millis(20);
/// What a caller may send of one stream before anybody has looked. Bytes are not all that it costs: h2 keeps some 300 for every frame, and
/// what its table of frames once grew to it keeps as long as the connection.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 16 << 20;
const FRAME_BYTES: u32 = 64 << 10;
const SEND_BYTES: usize = 1 << 20;
/// As many resets may wait for the look that counts them (local.rs) as there may be calls.
const RESETS: usize = 1024;
/// Early resets that a sweep makes up for.
const PATIENCE_A_SWEEP: i64 = 25;

/// Serve until the phase is Closing and everything has ended.
pub fn run(limits: Limits, shared: Arc<Shared>, listener: StdListener, certificates: Option<Certificates>) -> std::io::Result<()> {
    let parked = shared.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(1)
        .on_thread_park(move || publish(&parked))
        .build()?;
    let local = Rc::new(Local::new(limits, shared.clone()));
    let outcome = LocalSet::new().block_on(&runtime, serve(local, listener, certificates));
    publish(&shared);
    outcome
}

async fn serve(local: Rc<Local>, listener: StdListener, certificates: Option<Certificates>) -> std::io::Result<()> {
    let relay =
        local.limits.fallback.clone().map(|path| Rc::new(Relay::new(path, local.limits.metadata_bytes, local.limits.peer_name.clone())));
    let listener = TcpListener::from_std(listener)?;
    spawn_local(dispatch(local.clone()));
    spawn_local(tick(local.clone()));
    spawn_local(sweep(local.clone()));
    let listening = spawn_local(listen(local.clone(), relay, listener, certificates.map(|found| Rc::new(RefCell::new(found)))));
    while local.phase.get() < Phase::Closing {
        local.shared.turned.notified().await;
        let phase = local.shared.phase();
        if phase > local.phase.replace(phase) {
            for link in local.links.borrow().values() {
                link.is_to_go.set(true);
                link.wake();
            }
            local.notice_idle();
        }
    }
    listening.abort();
    all_gone(&local).await;
    Ok(())
}

/// Wait until every connection has ended, or for as long as clients go on taking what is theirs.
async fn all_gone(local: &Local) {
    let give_up_at = clock::now() + PARTING_LIMIT;
    let writes = || local.shared.counters.writes.load(Ordering::Relaxed);
    let mut written = writes();
    while !local.links.borrow().is_empty() && clock::now() < give_up_at {
        let is_quiet = timeout(PARTING, local.shared.turned.notified()).await.is_err();
        if is_quiet && writes() == written {
            return;
        }
        written = writes();
    }
}

async fn dispatch(local: Rc<Local>) {
    loop {
        local.shared.ordered.notified().await;
        local.dispatch(local.shared.orders());
    }
}

async fn listen(local: Rc<Local>, relay: Option<Rc<Relay>>, listener: TcpListener, certificates: Option<Rc<RefCell<Certificates>>>) {
    loop {
        let Ok((socket, peer)) = listener.accept().await else {
            // No descriptor is free, most likely; soon one will be.
            sleep(BREATH).await;
            continue;
        };
        let _ = socket.set_nodelay(true);
        let acceptor = certificates.as_ref().map(|found| found.borrow_mut().newest());
        let (local, relay) = (local.clone(), relay.clone());
        spawn_local(async move {
            match acceptor {
                None => attend(local, relay, Socket::Plain(socket), peer.ip()).await,
                Some(acceptor) => {
                    if let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept::<TcpStream>(socket)).await {
                        attend(local, relay, Socket::Tls(Box::new(stream)), peer.ip()).await;
                    }
                }
            }
        });
    }
}

async fn attend(local: Rc<Local>, relay: Option<Rc<Relay>>, socket: Socket, peer: IpAddr) {
    let io = Coalesced::new(socket);
    if let Ok(Some(connection)) = timeout(HANDSHAKE, shake_hands(&local, io.clone())).await {
        Connection::new(local, relay, io.clone(), connection, peer).await;
    }
    let _ = timeout(PARTING, std::future::poll_fn(|cx| io.poll_part(cx))).await;
}

async fn shake_hands(local: &Local, io: Coalesced) -> Option<server::Connection<Coalesced, Bytes>> {
    let mut builder = server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(local.limits.streams)
        .max_header_list_size(local.limits.metadata_bytes)
        .max_frame_size(FRAME_BYTES)
        .max_send_buffer_size(SEND_BYTES)
        .max_pending_accept_reset_streams(RESETS);
    let mut handshake = pin!(builder.handshake::<_, Bytes>(io.clone()));
    std::future::poll_fn(|cx| {
        io.enter(cx.waker());
        let polled = handshake.as_mut().poll(cx);
        match (io.poll_flush(), polled) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => Poll::Ready(None),
            (_, Poll::Ready(Ok(connection))) => Poll::Ready(Some(connection)),
            (_, Poll::Pending) => Poll::Pending,
        }
    })
    .await
}

/// Wake connections when the first of their deadlines comes.
async fn tick(local: Rc<Local>) {
    loop {
        let due = local.due.get();
        let left = due.saturating_sub(clock::now());
        if due == NEVER {
            local.due_earlier.notified().await;
            continue;
        }
        if left > 0 {
            // Whatever is earlier than this ends the sleep.
            let span = Duration::from_millis(left.unsigned_abs());
            let _ = timeout(span, local.due_earlier.notified()).await;
            continue;
        }
        local.due.set(NEVER);
        let now = clock::now();
        for link in local.links.borrow().values() {
            if link.due.get() <= now {
                link.wake();
            } else {
                local.due.set(local.due.get().min(link.due.get()));
            }
        }
        sleep(TICK).await;
    }
}

/// Look after connections on which nothing happens by itself.
async fn sweep(local: Rc<Local>) {
    loop {
        sleep(SWEEP).await;
        let now = clock::now();
        for link in local.links.borrow().values() {
            if judge(&local.limits, link, now) {
                link.wake();
            }
        }
    }
}

/// Order what is due for a connection; return whether anything is.
fn judge(limits: &Limits, link: &Link, now: clock::Millis) -> bool {
    let is_past = |since: clock::Millis, span: clock::Millis| now.saturating_sub(since) >= span;
    link.gain_patience(PATIENCE_A_SWEEP);
    if link.has_streams.get() {
        link.used_at.set(now);
    }
    // Nine to eleven tenths, so that connections that began together do not end together.
    let age = limits.connection.saturating_sub(limits.connection / 10 * (i64::from(link.number.wrapping_mul(2_654_435_769) % 3) - 1));
    let is_silent = link.pinged_at.get().is_some_and(|at| link.heard_at.get() <= at && is_past(at, limits.keepalive_timeout));
    let is_stuck = link.owing_since.get().is_some_and(|at| is_past(at, limits.stall));
    if is_silent || is_stuck || is_past(link.opened_at, age.saturating_add(limits.connection_grace)) {
        link.is_cut.set(true);
        return true;
    }
    if !link.is_to_go.get() && (is_past(link.opened_at, age) || is_past(link.used_at.get(), limits.idle)) {
        link.is_to_go.set(true);
        return true;
    }
    if link.pinged_at.get().is_none() && is_past(link.heard_at.get(), limits.keepalive) {
        link.is_to_ping.set(true);
        return true;
    }
    false
}
