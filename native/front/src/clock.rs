//! One clock for everything: CLOCK_MONOTONIC, which is also what Python's `time.monotonic()` reads.

use rustix::time::{ClockId, clock_gettime};

/// An instant, or a span, in milliseconds.
pub type Millis = i64;

/// An instant that never comes.
pub const NEVER: Millis = Millis::MAX;

/// Return the present instant.
pub fn now() -> Millis {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}

/// Return a span given in seconds; a span of 0 or less means never.
pub fn span(seconds: f64) -> Millis {
    if seconds > 0.0 && seconds.is_finite() { ((seconds * 1000.0) as Millis).max(1) } else { NEVER }
}
