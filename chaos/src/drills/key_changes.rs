//! Requests for room keys that a desktop goes on sending during a failover, and what became of them.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::database_cluster::DatabaseCluster;
use crate::client::{self, ApiResponse};
use crate::drill_run::DrillRun;
use crate::lock_fixture::{self, LockFixture};

const REQUEST_PAUSE: Duration = Duration::from_millis(50);

/// A request for a key and its response.
pub(super) struct Sent {
    key: String,
    pub(super) at: Instant,
    pub(super) took: Duration,
    /// Its status is 0 if there was no response.
    pub(super) answer: ApiResponse,
}

#[derive(Default)]
pub(super) struct KeyChanges(pub(super) RefCell<Vec<Sent>>);

impl KeyChanges {
    pub(super) async fn send_until(
        &self,
        over: &Cell<bool>,
        run: &DrillRun,
        lock: &LockFixture,
    ) -> anyhow::Result<()> {
        while !over.get() {
            self.send(run, lock).await?;
            sleep(REQUEST_PAUSE).await;
        }
        Ok(())
    }

    pub(super) async fn send(&self, run: &DrillRun, lock: &LockFixture) -> anyhow::Result<()> {
        let (key, at) = (client::new_key(), Instant::now());
        let answer = client::send(&run.env.desktop, &lock.issue(&key)?).await.unwrap_or_default();
        self.0.borrow_mut().push(Sent { key, at, took: at.elapsed(), answer });
        Ok(())
    }

    pub(super) fn was_acknowledged_after(&self, at: Instant) -> bool {
        self.0.borrow().iter().any(|sent| sent.at >= at && sent.answer.status == 201)
    }

    /// Repeats every change, and compares the acknowledged ones with the promoted server. `lost`: when the
    /// primary was.
    pub(super) async fn check_nothing_lost(
        &self,
        run: &DrillRun,
        cluster: &DatabaseCluster,
        lock: &LockFixture,
        lost: Instant,
    ) -> anyhow::Result<()> {
        let promoted = cluster.connect_to_standby().await?;
        let sent = self.0.take();
        let (mut acknowledged, mut kept, mut same, mut answered, mut once) = (0, 0, 0, 0, 0);
        let mut lost_for = Duration::ZERO;
        for Sent { key, at, answer, .. } in &sent {
            let is_kept = promoted.claim_state(key).await? != "none";
            let again = client::send(&run.env.desktop, &lock.issue(key)?).await?;
            if answer.status == 201 {
                acknowledged += 1;
                kept += usize::from(is_kept);
                same += usize::from(again.body == answer.body);
                if !is_kept {
                    lost_for = lost_for.max(lost.saturating_duration_since(*at));
                }
            }
            answered += usize::from(again.status == 201);
            once += usize::from(lock_fixture::keys_issued(&run.env, key).await? == 1);
        }
        let of = |count: usize, all: usize| format!("{count} of {all}");
        let held = kept == acknowledged && acknowledged > 0;
        let found = format!("{}, changes of {lost_for:?} are lost", of(kept, acknowledged));
        run.recover("the promoted server has every acknowledged change", held, found);
        let what = "and a repeat of each gets the same response";
        run.recover(what, same == acknowledged, of(same, acknowledged));
        let all = sent.len();
        run.recover("repeats of the others are executed", answered == all, of(answered, all));
        run.recover("each change took effect once", once == all, of(once, all));
        Ok(())
    }
}
