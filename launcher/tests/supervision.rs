//! Supervision of child processes: exits are detected, children restarted and never left behind.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use launcher::readiness::ReadyCheck;
use launcher::supervisor::{ChildSpec, Notice, Process, State, StopSignal, Supervisor};
use launcher::user_error::UserError;
use tokio::time::timeout;

const TEST_TIMEOUT: Duration = Duration::from_secs(10);

fn shell(name: &str, script: &str) -> ChildSpec {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    ChildSpec {
        name: name.to_owned(),
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        env: vec![],
        log: dir.join("logs").join(format!("{name}.log")),
        dir,
        exclusive_dir: None,
        run_as: None,
        stop: StopSignal::Terminate,
        drain: Duration::from_millis(300),
        ready: ReadyCheck::Running,
    }
}

fn is_running(pid: u32) -> bool {
    // A zombie has ended but is not reaped yet.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[tokio::test]
async fn a_killed_child_is_noticed_and_started_again() {
    let (supervisor, mut notices) = Supervisor::start().unwrap();
    let child = supervisor.launch(shell("killed", "exec sleep 60"));
    child.wait_ready(TEST_TIMEOUT).await.unwrap();
    child.keep_alive(true).await.unwrap();
    let old = child.pid().unwrap();
    child.kill().await.unwrap();
    let notice = timeout(TEST_TIMEOUT, notices.recv()).await.unwrap().unwrap();
    let Notice::Restarted { old_pid, pid, .. } = &notice else { panic!("{notice:?}") };
    assert_eq!((*old_pid, Some(*pid)), (old, child.pid()));
    let said = format!("killed (pid {old}) was killed by signal 9; restarted as pid {pid}.");
    assert_eq!(notice.sentence(), said);
    child.stop().await;
    assert_eq!(child.state(), State::Stopped);
    assert!(!is_running(*pid));
}

#[tokio::test]
async fn without_keeping_alive_the_dead_stay_dead_until_restarted() {
    let (supervisor, mut notices) = Supervisor::start().unwrap();
    let child = supervisor.launch(shell("dead", "exec sleep 60"));
    child.wait_ready(TEST_TIMEOUT).await.unwrap();
    child.kill().await.unwrap();
    assert!(matches!(notices.recv().await.unwrap(), Notice::Ended { .. }));
    assert_eq!(child.state(), State::Down { how: "was killed by signal 9".to_owned() });
    let pid = child.restart().await.unwrap();
    assert_eq!(child.pid(), Some(pid));
    assert!(is_running(pid));
    child.stop().await;
}

#[tokio::test]
async fn a_child_that_cannot_stay_up_is_tried_less_and_less_often() {
    let (supervisor, mut notices) = Supervisor::start().unwrap();
    let child = supervisor.launch(shell("flapping", "sleep 0.05; exit 3"));
    child.keep_alive(true).await.unwrap();
    let mut delays = Vec::new();
    while delays.len() < 2 {
        if let Notice::Waiting { delay_ms, how, .. } = notices.recv().await.unwrap() {
            assert_eq!(how, "ended with status 3");
            delays.push(delay_ms);
        }
    }
    assert_eq!(delays, [200, 400]);
    // Commands are handled during the restart delay.
    timeout(TEST_TIMEOUT, child.stop()).await.unwrap();
}

#[tokio::test]
async fn one_that_will_not_end_is_killed_after_its_drain_time() {
    let (supervisor, _notices) = Supervisor::start().unwrap();
    let child = supervisor.launch(shell("stubborn", "trap '' TERM; while :; do sleep 1; done"));
    child.wait_ready(TEST_TIMEOUT).await.unwrap();
    let pid = child.pid().unwrap();
    timeout(TEST_TIMEOUT, child.stop()).await.unwrap();
    assert!(!is_running(pid));
}

#[tokio::test]
async fn a_paused_child_can_be_stopped() {
    let (supervisor, _notices) = Supervisor::start().unwrap();
    let child = supervisor.launch(shell("paused", "exec sleep 60"));
    child.wait_ready(TEST_TIMEOUT).await.unwrap();
    let pid = child.pid().unwrap();
    child.pause().await.unwrap();
    timeout(TEST_TIMEOUT, child.stop()).await.unwrap();
    assert!(!is_running(pid));
}

/// Launches a shell that works in a directory, and a child for which that directory must be unused.
async fn with_its_dir_in_use(name: &str, supervisor: &Supervisor) -> [Process; 2] {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&dir).unwrap();
    let user = ChildSpec { dir: dir.clone(), ..shell(&format!("{name}-user"), "exec sleep 60") };
    let user = supervisor.launch(user);
    user.wait_ready(TEST_TIMEOUT).await.unwrap();
    let exclusive_dir = Some(dir);
    let child = supervisor.launch(ChildSpec { exclusive_dir, ..shell(name, "exec sleep 60") });
    [user, child]
}

#[tokio::test]
async fn commands_are_handled_while_a_child_waits_for_its_directory() {
    let (supervisor, _notices) = Supervisor::start().unwrap();
    let [user, child] = with_its_dir_in_use("waits", &supervisor).await;
    assert!(child.signal(rustix::process::Signal::TERM).await.is_err());
    let both = async { tokio::join!(child.restart(), user.stop()).0.unwrap() };
    let pid = timeout(Duration::from_secs(3), both).await.unwrap();
    assert_eq!(child.pid(), Some(pid));
    let [_user, child] = with_its_dir_in_use("waits-in-vain", &supervisor).await;
    timeout(Duration::from_secs(3), child.stop()).await.unwrap();
    assert_eq!(child.state(), State::Stopped);
}

#[tokio::test]
async fn a_child_whose_directory_stays_in_use_is_started_with_a_notice() {
    let (supervisor, mut notices) = Supervisor::start().unwrap();
    let [_user, child] = with_its_dir_in_use("in-use", &supervisor).await;
    let notice = timeout(TEST_TIMEOUT, notices.recv()).await.unwrap().unwrap();
    let said = notice.sentence();
    assert!(said.starts_with("in-use: processes of an earlier run still work in /"), "{said}");
    assert!(said.ends_with("/in-use after 5 s; starting in-use anyway."), "{said}");
    child.wait_ready(TEST_TIMEOUT).await.unwrap();
}

#[tokio::test]
async fn dropping_the_supervisor_leaves_no_child() {
    let (supervisor, _notices) = Supervisor::start().unwrap();
    let child = supervisor.launch(shell("dropped", "exec sleep 60"));
    child.wait_ready(TEST_TIMEOUT).await.unwrap();
    let pid = child.pid().unwrap();
    drop(supervisor);
    let gone = async {
        while is_running(pid) {
            tokio::task::yield_now().await;
        }
    };
    timeout(TEST_TIMEOUT, gone).await.unwrap();
}

#[tokio::test]
async fn an_early_death_is_reported_with_the_end_of_the_log() {
    let (supervisor, _notices) = Supervisor::start().unwrap();
    let mut spec = shell("broken", "echo 'no such setting' >&2; exit 2");
    spec.ready = ReadyCheck::http("http://127.0.0.1:9/".to_owned()).unwrap();
    let child = supervisor.launch(spec);
    let error = child.wait_ready(TEST_TIMEOUT).await.unwrap_err();
    let Some(UserError::DiedEarly { how, log, tail, .. }) = error.downcast_ref() else {
        panic!("{error:#}")
    };
    assert_eq!(how, "ended with status 2");
    assert_eq!(tail, "no such setting");
    assert!(Path::new(log).is_file());
}
