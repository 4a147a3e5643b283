//! A waker that coalesces wake-ups while its connection is being polled.
//!
//! Sending and reading wake each other many times within one poll. Without this, each of those
//! would wake the task and poll everything around the call once more; only wake-ups from outside
//! do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

#[derive(Debug, Default)]
pub(super) struct CoalescingWaker {
    task: AtomicWaker,
    /// Whether the connection is being polled.
    is_polling: AtomicBool,
    /// Woken since the last check.
    is_woken: AtomicBool,
}

impl Wake for CoalescingWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        if !self.is_polling.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

impl CoalescingWaker {
    /// Polls again while polling wakes itself, at most `MAX_POLLS` times.
    pub(super) fn poll<T>(
        self: &Arc<Self>,
        outer: &Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        /// More than one exchange needs.
        const MAX_POLLS: usize = 16;
        self.task.register(outer.waker());
        let waker = Waker::from(Arc::clone(self));
        let mut inner = Context::from_waker(&waker);
        for _ in 0..MAX_POLLS {
            self.is_polling.store(true, Ordering::SeqCst);
            self.is_woken.swap(false, Ordering::SeqCst);
            let outcome = poll(&mut inner);
            self.is_polling.store(false, Ordering::SeqCst);
            // Checked afterwards: a later wake-up sees that polling is over and wakes the task.
            if outcome.is_ready() || !self.is_woken.load(Ordering::SeqCst) {
                return outcome;
            }
        }
        outer.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn woken(count: &Count) -> usize {
        count.0.load(Ordering::SeqCst)
    }

    #[test]
    fn a_wake_up_during_polling_polls_again_without_waking_the_task() {
        let (waker, count) = (Arc::new(CoalescingWaker::default()), Arc::new(Count::default()));
        let task = Waker::from(Arc::clone(&count));
        let mut left = 3;
        let outcome = waker.poll(&Context::from_waker(&task), |cx| {
            left -= 1;
            cx.waker().wake_by_ref();
            if left == 0 { Poll::Ready(()) } else { Poll::Pending }
        });
        assert_eq!((outcome, woken(&count)), (Poll::Ready(()), 0));
    }

    #[test]
    fn a_wake_up_from_outside_wakes_the_task() {
        let (waker, count) = (Arc::new(CoalescingWaker::default()), Arc::new(Count::default()));
        let task = Waker::from(Arc::clone(&count));
        let mut kept = None;
        let outcome: Poll<()> = waker.poll(&Context::from_waker(&task), |cx| {
            kept = Some(cx.waker().clone());
            Poll::Pending
        });
        assert_eq!((outcome, woken(&count)), (Poll::Pending, 0));
        kept.expect("it was polled").wake();
        assert_eq!(woken(&count), 1);
    }

    #[test]
    fn endless_polling_yields() {
        let (waker, count) = (Arc::new(CoalescingWaker::default()), Arc::new(Count::default()));
        let task = Waker::from(Arc::clone(&count));
        let outcome: Poll<()> = waker.poll(&Context::from_waker(&task), |cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        assert_eq!((outcome, woken(&count)), (Poll::Pending, 1));
    }
}
