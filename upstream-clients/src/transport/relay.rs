//! A connection's waker. Sending and reading wake each other through it many times while both are
//! being polled; only what comes from outside wakes the task, which would be polled once more for
//! each otherwise, with everything around the call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

#[derive(Debug, Default)]
pub(super) struct Relay {
    task: AtomicWaker,
    /// Whether what this waker is handed to is being polled.
    is_inside: AtomicBool,
    /// Woken since it was last looked at.
    is_woken: AtomicBool,
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        if !self.is_inside.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

impl Relay {
    /// Polls again as long as polling itself asks for it, at most `TURNS` times.
    pub(super) fn poll<T>(
        self: &Arc<Self>,
        outer: &Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        /// So many turns are one exchange's; more are somebody who never has enough.
        const TURNS: usize = 16;
        self.task.register(outer.waker());
        let waker = Waker::from(Arc::clone(self));
        let mut inner = Context::from_waker(&waker);
        for _ in 0..TURNS {
            self.is_inside.store(true, Ordering::SeqCst);
            self.is_woken.swap(false, Ordering::SeqCst);
            let outcome = poll(&mut inner);
            self.is_inside.store(false, Ordering::SeqCst);
            // Looked at after: who wakes later sees that nobody is inside.
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
    fn what_wakes_itself_is_polled_again_and_the_task_is_not() {
        let (relay, count) = (Arc::new(Relay::default()), Arc::new(Count::default()));
        let task = Waker::from(Arc::clone(&count));
        let mut left = 3;
        let outcome = relay.poll(&Context::from_waker(&task), |cx| {
            left -= 1;
            cx.waker().wake_by_ref();
            if left == 0 { Poll::Ready(()) } else { Poll::Pending }
        });
        assert_eq!((outcome, woken(&count)), (Poll::Ready(()), 0));
    }

    #[test]
    fn what_comes_from_outside_wakes_the_task() {
        let (relay, count) = (Arc::new(Relay::default()), Arc::new(Count::default()));
        let task = Waker::from(Arc::clone(&count));
        let mut kept = None;
        let outcome: Poll<()> = relay.poll(&Context::from_waker(&task), |cx| {
            kept = Some(cx.waker().clone());
            Poll::Pending
        });
        assert_eq!((outcome, woken(&count)), (Poll::Pending, 0));
        kept.expect("it was polled").wake();
        assert_eq!(woken(&count), 1);
    }

    #[test]
    fn who_never_has_enough_gives_way_to_others() {
        let (relay, count) = (Arc::new(Relay::default()), Arc::new(Count::default()));
        let task = Waker::from(Arc::clone(&count));
        let outcome: Poll<()> = relay.poll(&Context::from_waker(&task), |cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        assert_eq!((outcome, woken(&count)), (Poll::Pending, 1));
    }
}
