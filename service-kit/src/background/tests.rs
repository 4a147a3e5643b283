use std::collections::VecDeque;
use std::fmt::{self, Display, Formatter};

use contracts::clock::{Clock, Entropy};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const SCHEDULE: Schedule =
    Schedule { interval: HOUR, retry: Duration::from_secs(60), jitter: Duration::ZERO };

/// How an activation of the scripted task ends.
#[derive(Debug, Clone, Copy)]
enum Act {
    Complete,
    Incomplete,
    Fail,
    Panic,
    /// Completes after this time.
    Take(Duration),
}

/// Ends its activations as the script says, then completes, and sends when each began.
struct Scripted {
    script: VecDeque<Act>,
    began: UnboundedSender<Instant>,
}

#[derive(Debug)]
struct Failure;

impl Display for Failure {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("no rows")
    }
}

impl Error for Failure {}

impl BackgroundTask for Scripted {
    /// Whether it is complete.
    type Status = bool;
    type Error = Failure;

    async fn activate(&mut self) -> Result<bool, Failure> {
        self.began.send(Instant::now()).unwrap();
        match self.script.pop_front().unwrap_or(Act::Complete) {
            Act::Complete => Ok(true),
            Act::Incomplete => Ok(false),
            Act::Fail => Err(Failure),
            Act::Panic => panic!("out of range"),
            Act::Take(duration) => {
                tokio::time::sleep(duration).await;
                Ok(true)
            }
        }
    }

    fn is_complete(status: &bool) -> bool {
        *status
    }
}

/// A started task.
struct Started {
    driver: TaskDriver,
    at: Instant,
    began: UnboundedReceiver<Instant>,
    wake_up: Arc<Notify>,
}

impl Started {
    fn new(script: &[Act], schedule: Schedule) -> Self {
        let clock = Clock::fixed("2026-11-21T20:00:00Z".parse().unwrap());
        let driver = TaskDriver::new(Env::new(clock, Entropy::seeded(7)), Lifecycle::new());
        let ((sender, began), wake_up) = (unbounded_channel(), Arc::new(Notify::new()));
        let task = Scripted { script: script.iter().copied().collect(), began: sender };
        driver.start_with_wake_up("scripted", task, schedule, Arc::clone(&wake_up));
        Self { driver, at: Instant::now(), began, wake_up }
    }

    /// Seconds after the start at which the next activation begins.
    async fn next(&mut self) -> u64 {
        (self.began.recv().await.unwrap() - self.at).as_secs()
    }

    async fn several<const N: usize>(&mut self) -> [u64; N] {
        let mut seconds = [0; N];
        for second in &mut seconds {
            *second = self.next().await;
        }
        seconds
    }

    fn report(&self) -> TaskReport {
        self.driver.reports().remove(0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_is_activated_at_start_and_then_once_per_interval() {
    let mut task = Started::new(&[], SCHEDULE);
    assert_eq!(task.several().await, [0, 3600, 7200]);
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_and_after_incomplete_work_it_comes_again_soon() {
    let mut task = Started::new(&[Act::Fail, Act::Incomplete, Act::Panic], SCHEDULE);
    assert_eq!(task.several().await, [0, 60, 120, 180, 3780]);
}

#[tokio::test(start_paused = true)]
async fn every_activation_is_delayed_by_a_random_part_of_the_jitter() {
    let jitter = Duration::from_secs(1000);
    let mut task = Started::new(&[], Schedule { jitter, ..SCHEDULE });
    let seconds: [u64; 20] = task.several().await;
    let pauses: Vec<u64> = seconds.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.iter().all(|pause| (3600..4600).contains(pause)), "{pauses:?}");
    assert!(pauses.iter().any(|pause| *pause != pauses[0]), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn a_long_activation_delays_the_next_and_none_is_made_up_for() {
    let long = Act::Take(Duration::from_secs(9000));
    let mut task = Started::new(&[long], SCHEDULE);
    assert_eq!(task.several().await, [0, 9000, 12_600, 16_200]);
}

#[tokio::test(start_paused = true)]
async fn a_wake_up_activates_at_once_and_the_interval_counts_from_there() {
    let mut task = Started::new(&[], SCHEDULE);
    assert_eq!(task.next().await, 0);
    tokio::time::advance(Duration::from_secs(100)).await;
    task.wake_up.notify_one();
    assert_eq!(task.several().await, [100, 3700]);
}

#[tokio::test(start_paused = true)]
async fn wake_ups_during_an_activation_lead_to_one_more() {
    let mut task = Started::new(&[Act::Take(Duration::from_secs(10))], SCHEDULE);
    assert_eq!(task.next().await, 0);
    for _ in 0..3 {
        task.wake_up.notify_one();
    }
    assert_eq!(task.several().await, [10, 3610]);
}

#[tokio::test(start_paused = true)]
async fn the_last_result_is_shown() {
    let script = [Act::Complete, Act::Fail, Act::Panic, Act::Take(Duration::from_secs(90))];
    let mut task = Started::new(&script, Schedule::every(HOUR));
    let expected = |activations, ms, result| {
        json!({"name": "scripted", "trigger": "interval", "intervalMs": 3_600_000,
               "activations": activations, "isRunning": false,
               "lastStartedAt": "2026-11-21T20:00:00.000Z",
               "lastDurationMs": ms, "lastResult": result})
    };
    let results = [
        (0, json!({"outcome": "ok", "status": true})),
        (0, json!({"outcome": "error", "error": "no rows"})),
        (0, json!({"outcome": "panic", "error": "out of range"})),
        (90_000, json!({"outcome": "ok", "status": true})),
    ];
    for (number, (ms, result)) in (1..).zip(results) {
        task.next().await;
        // The clock is paused: the activation ends before this does.
        tokio::time::sleep(Duration::from_secs(91)).await;
        let shown = serde_json::to_value(task.report()).unwrap();
        assert_eq!(shown, expected(number, ms, result));
        task.wake_up.notify_one();
    }
}

#[tokio::test(start_paused = true)]
async fn durations_and_results_are_measured() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let mut task = Started::new(&[Act::Fail, Act::Take(Duration::from_secs(2))], SCHEDULE);
    let _: [u64; 3] = task.several().await;
    let metrics = recorder.handle().render();
    for line in [
        "background_task_duration_seconds_count{task=\"scripted\",outcome=\"error\"} 1",
        "background_task_duration_seconds_sum{task=\"scripted\",outcome=\"ok\"} 2",
    ] {
        assert!(metrics.lines().any(|shown| shown == line), "{line} in\n{metrics}");
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_an_activation_and_the_task() {
    let mut task = Started::new(&[Act::Take(HOUR)], SCHEDULE);
    assert_eq!(task.next().await, 0);
    task.driver.0.lifecycle.drain().await;
    assert!(task.began.recv().await.is_none());
    assert_eq!(task.at.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn work_of_a_request_is_reported_under_its_name() {
    let driver = TaskDriver::new(Env::system(), Lifecycle::new());
    driver.list("verify");
    driver.list("sweep");
    let seen = |index: usize| serde_json::to_value(&driver.reports()[index]).unwrap();
    assert_eq!(
        seen(0),
        json!({"name": "verify", "trigger": "http", "activations": 0, "isRunning": false,
               "lastStartedAt": null,
               "lastDurationMs": null, "lastResult": null})
    );
    assert!(driver.run("sweep", async { Err::<(), _>(Failure) }).await.is_err());
    assert_eq!(seen(1)["lastResult"], json!({"outcome": "error", "error": "no rows"}));
    assert_eq!(driver.run("sweep", async { Ok::<_, Failure>(7) }).await.unwrap(), 7);
    assert_eq!(seen(1)["lastResult"], json!({"outcome": "ok", "status": 7}));
    assert_eq!((&seen(1)["activations"], driver.reports().len()), (&json!(2), 2));
}

#[tokio::test(start_paused = true)]
async fn a_report_says_whether_the_task_runs() {
    let mut task = Started::new(&[Act::Take(Duration::from_secs(10))], SCHEDULE);
    assert_eq!(task.next().await, 0);
    assert!(task.report().is_running);
    assert_eq!(task.next().await, 3600);
    tokio::task::yield_now().await;
    assert!(!task.report().is_running);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_dropped_is_not_running_and_keeps_the_result_before() {
    let task = Started::new(&[], SCHEDULE);
    let name = "by-request";
    let _ = task.driver.run(name, async { Ok::<_, Failure>(1) }).await;
    let endless = task.driver.run(name, std::future::pending::<Result<u32, Failure>>());
    let begun = tokio::time::timeout(Duration::from_secs(1), endless).await;
    assert!(begun.is_err());
    let reports = task.driver.reports();
    let report = reports.iter().find(|report| report.name == name).unwrap();
    assert_eq!((report.activations, report.is_running), (2, false));
    assert_eq!(report.last_result, Some(TaskResult::Ok { status: json!(1) }));
}
