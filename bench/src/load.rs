//! Load generators: open loop (on a schedule) and closed loop (next request after the response).
//!
//! Not here: the requests. Callers pass a function that sends request number n.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::{self, Receiver};
use tokio::time::Instant;

use crate::recorder::{FinishedRequest, Recorder, Reply};

/// Maximum requests in flight; one beyond it is counted as an error and not sent.
const MAX_IN_FLIGHT: usize = 4000;

/// A request that should be sent now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Due {
    pub(crate) number: usize,
    pub(crate) at: Instant,
}

/// Sends a [`Due`] when each of `count` requests is due, `rate` a second. Uses its own thread because
/// the runtime's timers have millisecond resolution, which is too coarse.
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

/// Open loop: sends requests when they are due, independent of earlier ones.
pub(crate) async fn open(mut due: Receiver<Due>, send: impl AsyncFn(usize) -> Reply) -> Recorder {
    let mut recorder = Recorder::new();
    let mut in_flight = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            next = due.recv() => match next {
                None => break,
                Some(_) if in_flight.len() >= MAX_IN_FLIGHT => recorder.fail("not sent, too many in flight"),
                Some(next) => in_flight.push(send_one(next, &send)),
            },
            Some(finished) = in_flight.next(), if !in_flight.is_empty() => recorder.add(&finished),
        }
    }
    while let Some(finished) = in_flight.next().await {
        recorder.add(&finished);
    }
    recorder
}

/// Closed loop: each client sends its next request after the response, until `length` is over or
/// `count` requests were sent.
pub(crate) async fn closed(
    clients: u32,
    count: usize,
    length: Duration,
    send: impl AsyncFn(usize) -> Reply,
) -> Recorder {
    let recorder = RefCell::new(Recorder::new());
    let (end, next) = (Instant::now() + length, Cell::new(0));
    let client = async || {
        while Instant::now() < end && next.get() < count {
            let number = next.replace(next.get() + 1);
            let finished = send_one(Due { number, at: Instant::now() }, &send).await;
            recorder.borrow_mut().add(&finished);
        }
    };
    let clients: FuturesUnordered<_> = (0..clients).map(|_| client()).collect();
    clients.collect::<()>().await;
    recorder.into_inner()
}

async fn send_one(due: Due, send: &impl AsyncFn(usize) -> Reply) -> FinishedRequest {
    let sent = Instant::now();
    FinishedRequest { due: due.at, sent, reply: send(due.number).await }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Mutex;
    use tokio::time::sleep;

    use super::*;
    use crate::recorder::Outcome;

    fn reply() -> Reply {
        Reply { outcome: Outcome::Whole, first_byte: None, done: Instant::now(), bytes: 0 }
    }

    /// Simulates a server that handles one request at a time and stalls on the first.
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
        let recorder = open(receiver, async |number| stalling(&turn, number).await).await;
        let figures = recorder.figures();
        assert_eq!(figures.whole, 50);
        // Half of them were due before 250 ms and none completed before 500 ms.
        assert!(figures.latency_ms.p50 > 250.0, "{:?}", figures.latency_ms);
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_loop_ends_by_count_or_by_time() {
        let send = async |_| {
            sleep(Duration::from_millis(10)).await;
            reply()
        };
        let by_count = closed(4, 10, Duration::from_secs(60), send).await.figures();
        assert_eq!(by_count.whole, 10);
        let by_time = closed(2, 1_000_000, Duration::from_millis(100), send).await.figures();
        assert!((18..=22).contains(&by_time.whole), "{}", by_time.whole);
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
