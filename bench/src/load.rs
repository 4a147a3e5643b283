//! The two ways to load a server: on a schedule, or as fast as its answers come.
//!
//! Not here: what is sent. The callers pass a function that sends request number n.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::Instant;

use crate::tally::{Ended, Reply, Tally};

/// Requests under way at once; one that would be more is counted as an error and not sent.
const MOST_UNDER_WAY: usize = 4000;

/// A request that should be sent now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Due {
    pub(crate) number: usize,
    pub(crate) at: Instant,
}

/// Says when each of `count` requests is due, `rate` a second. A thread of its own: the
/// runtime's timers tick in milliseconds, which is too coarse for what is measured here.
pub(crate) fn schedule(count: usize, rate: u32) -> std::io::Result<Receiver<Due>> {
    let (due, receiver) = mpsc::channel(1024);
    let begin = Instant::now();
    std::thread::Builder::new().name("schedule".to_owned()).spawn(move || {
        for number in 0..count {
            let at = begin + Duration::from_secs(number as u64) / rate;
            wait_until(at);
            if due.blocking_send(Due { number, at }).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}

#[expect(clippy::disallowed_methods, reason = "the condition waited for is an instant")]
fn wait_until(at: Instant) {
    std::thread::sleep(at.saturating_duration_since(Instant::now()));
}

/// Open loop: requests go out when they are due, whatever became of earlier ones.
pub(crate) async fn open(mut due: Receiver<Due>, send: impl AsyncFn(usize) -> Reply) -> Tally {
    let mut tally = Tally::new();
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            next = due.recv() => match next {
                None => break,
                Some(_) if under_way.len() >= MOST_UNDER_WAY => tally.fail("not sent, too many under way"),
                Some(next) => under_way.push(one(next, &send)),
            },
            Some(ended) = under_way.next(), if !under_way.is_empty() => tally.add(&ended),
        }
    }
    while let Some(ended) = under_way.next().await {
        tally.add(&ended);
    }
    tally
}

/// Closed loop: each client asks, waits, asks again, until the time is over or `count`
/// requests were sent.
pub(crate) async fn closed(
    clients: u32,
    count: usize,
    length: Duration,
    send: impl AsyncFn(usize) -> Reply,
) -> Tally {
    let tally = RefCell::new(Tally::new());
    let (end, next) = (Instant::now() + length, Cell::new(0));
    let client = async || {
        while Instant::now() < end && next.get() < count {
            let number = next.replace(next.get() + 1);
            let ended = one(Due { number, at: Instant::now() }, &send).await;
            tally.borrow_mut().add(&ended);
        }
    };
    let clients: FuturesUnordered<_> = (0..clients).map(|_| client()).collect();
    clients.collect::<()>().await;
    tally.into_inner()
}

async fn one(due: Due, send: &impl AsyncFn(usize) -> Reply) -> Ended {
    let sent = Instant::now();
    Ended { due: due.at, sent, reply: send(due.number).await }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Mutex;
    use tokio::time::sleep;

    use super::*;
    use crate::tally::Verdict;

    fn reply() -> Reply {
        Reply { verdict: Verdict::Whole, first_byte: None, done: Instant::now(), bytes: 0 }
    }

    /// A server that serves one request at a time and stalls on the first.
    async fn stalling(turn: &Mutex<()>, number: usize) -> Reply {
        let _turn = turn.lock().await;
        sleep(Duration::from_millis(if number == 0 { 500 } else { 1 })).await;
        reply()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_is_charged_to_every_request_that_was_due_during_it() {
        let (sender, receiver) = mpsc::channel(100);
        let begin = Instant::now();
        for number in 0..50 {
            let at = begin + Duration::from_millis(10) * number as u32;
            sender.try_send(Due { number, at }).unwrap();
        }
        drop(sender);
        let turn = Mutex::new(());
        let tally = open(receiver, async |number| stalling(&turn, number).await).await;
        assert_eq!(tally.answered(), 50);
        // Half of them were due before 250 ms and none was answered before 500.
        assert!(tally.latency().p50 > 250.0, "{:?}", tally.latency());
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_loop_ends_by_count_or_by_time() {
        let send = async |_| {
            sleep(Duration::from_millis(10)).await;
            reply()
        };
        let by_count = closed(4, 10, Duration::from_secs(60), send).await;
        assert_eq!(by_count.answered(), 10);
        let by_time = closed(2, 1_000_000, Duration::from_millis(100), send).await;
        assert!((18..=22).contains(&by_time.answered()), "{}", by_time.answered());
    }

    #[tokio::test]
    async fn the_schedule_is_kept_and_ends() {
        let mut due = schedule(5, 1000).unwrap();
        let mut seen = Vec::new();
        while let Some(next) = due.recv().await {
            assert!(Instant::now() >= next.at);
            seen.push(next);
        }
        assert_eq!(seen.len(), 5);
        assert_eq!(seen[4].at - seen[0].at, Duration::from_millis(4));
    }
}
