//! A waker for what h2 wakes: quiet while its own connection is being polled.
//!
//! h2 wakes its connection's task at every send, also when that very task sends; each would be another poll. While the task polls, a
//! wake only sets a flag, at which the task goes round once more; at any other time it reaches the task.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

#[derive(Default)]
pub struct Flag {
    is_set: AtomicBool,
    is_polling: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Flag {
    /// A poll of the task begins.
    pub fn enter(&self, task: &Waker) {
        let mut known = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.as_ref().is_some_and(|known| known.will_wake(task)) {
            *known = Some(task.clone());
        }
        self.is_polling.store(true, Ordering::Relaxed);
    }

    /// A poll of the task ends.
    pub fn leave(&self) {
        self.is_polling.store(false, Ordering::Relaxed);
    }

    /// Return whether somebody woke, and forget it.
    pub fn take(&self) -> bool {
        self.is_set.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_set.store(true, Ordering::Relaxed);
        if !self.is_polling.load(Ordering::Relaxed) {
            let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(task) = task.as_ref() {
                task.wake_by_ref();
            }
        }
    }
}
