//! The launcher's own Postgres and Redis, for real.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use launcher::Progress;
use launcher::dependencies::TestDependencies;
use tokio::time::{Instant, timeout};

const TEST_TIMEOUT: Duration = Duration::from_secs(60);

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

async fn query(url: &str, sql: &str) -> String {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.unwrap();
    tokio::select! {
        row = client.query_one(sql, &[]) => row.unwrap().get(0),
        ended = connection => panic!("{ended:?}"),
    }
}

fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

async fn wait_until_gone(pids: &[u32]) {
    let all = async {
        while pids.iter().any(|pid| is_running(*pid)) {
            tokio::task::yield_now().await;
        }
    };
    timeout(TEST_TIMEOUT, all).await.unwrap();
}

#[tokio::test]
async fn servers_are_private_protected_and_leave_nothing() {
    let test = TestDependencies::start(folder("dependencies"), &Progress::quiet()).await.unwrap();
    let pids: Vec<u32> = test.dependencies.processes().iter().map(|p| p.pid().unwrap()).collect();
    let url = &test.dependencies.admin_url;
    assert_eq!(query(url, "SHOW listen_addresses").await, "127.0.0.1");
    assert_eq!(query(url, "SHOW fsync").await, "off");
    let available = "SELECT name::text FROM pg_available_extensions WHERE name = 'btree_gist'";
    assert_eq!(query(url, available).await, "btree_gist");
    let stranger = url.replace("melmastoon_admin:", "melmastoon_admin:x");
    assert!(tokio_postgres::connect(&stranger, tokio_postgres::NoTls).await.is_err());
    let second = TestDependencies::start(folder("dependencies"), &Progress::quiet()).await;
    assert!(second.unwrap_err().to_string().contains("is already up"));
    test.stop().await;
    assert!(!pids.iter().any(|pid| is_running(*pid)));
}

/// Starts a launcher whose "tests" are `sleep`.
fn spawn_launcher(folder: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_launcher"))
        .arg("--local")
        .arg(folder)
        .args(["test", "--run", "sh", "--", "-c", "echo up; exec sleep 100"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn wait_until_up(launcher: &mut Child) {
    let mut line = String::new();
    BufReader::new(launcher.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
}

/// All descendants of `root`, however deep.
fn descendants(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let path = format!("/proc/{}/task", found[next]);
        for task in std::fs::read_dir(path).into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(task.path().join("children"));
            found.extend(
                children
                    .unwrap_or_default()
                    .split(' ')
                    .filter_map(|p| p.parse().ok().filter(|p: &u32| *p > 0)),
            );
        }
        next += 1;
    }
    found.split_off(1)
}

#[tokio::test]
async fn a_killed_launcher_leaves_no_process_and_can_start_again_at_once() {
    let folder = folder("killed");
    let mut first = spawn_launcher(&folder);
    wait_until_up(&mut first);
    let below = descendants(first.id());
    // Postgres and its workers, two Redis servers and the command.
    assert!(below.len() > 4, "{below:?}");
    first.kill().unwrap();
    first.wait().unwrap();
    let begun = Instant::now();
    let mut second = spawn_launcher(&folder);
    wait_until_up(&mut second);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    wait_until_gone(&below).await;
    let below = descendants(second.id());
    second.kill().unwrap();
    second.wait().unwrap();
    wait_until_gone(&below).await;
}
