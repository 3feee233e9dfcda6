//! Calls that take no time.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How long threads of a store have to answer what need not wait for anybody else.
const MOMENT: Duration = Duration::from_millis(30);

/// Ends a future here and now: the runtime does nothing meanwhile and its time stands still, also
/// where threads of the store's own do the work.
pub fn at_once<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    // A task of tokio that has done much is told to wait its turn, which would never come here.
    let mut future = pin!(tokio::task::unconstrained(future));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Does here and now what threads of a store can do in a moment, and then lets the runtime go on
/// until the future is woken.
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
