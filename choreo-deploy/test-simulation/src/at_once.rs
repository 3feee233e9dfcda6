//! Calls that take no virtual time.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// The real time within which the threads of a store finish a call that does not wait for another
/// one.
const MOMENT: Duration = Duration::from_millis(30);

/// Runs a future to its end while the time of the runtime is paused, also if threads of the store
/// do the work.
pub fn at_once<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    // Without this, tokio would make a busy task yield to a scheduler that does not run here.
    let mut future = pin!(tokio::task::unconstrained(future));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Polls a future while threads of a store make progress within a moment, and then yields to the
/// runtime until the future is woken.
pub(crate) async fn at_once_or_later<T>(future: impl Future<Output = T>) -> T {
    struct Woken(AtomicBool, Thread, Waker);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
            self.1.unpark();
            self.2.wake_by_ref();
        }
    }
    let mut future = pin!(tokio::task::unconstrained(future));
    poll_fn(|context| {
        loop {
            let (thread, later) = (std::thread::current(), context.waker().clone());
            let woken = Arc::new(Woken(AtomicBool::new(false), thread, later));
            let waker = Waker::from(Arc::clone(&woken));
            let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
            let asked = Instant::now();
            while polled.is_pending() && !woken.0.load(Ordering::SeqCst) {
                match MOMENT.checked_sub(asked.elapsed()) {
                    Some(left) => std::thread::park_timeout(left),
                    None => return polled,
                }
            }
            if polled.is_ready() {
                return polled;
            }
        }
    })
    .await
}
