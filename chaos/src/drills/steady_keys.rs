//! The steady state of drills that issue room keys.

use crate::client;
use crate::drill_env::DrillEnv;
use crate::drill_run::DrillRun;
use crate::lock_fixture::LockFixture;

/// Checks that a key is issued and every widget is ok.
pub(super) async fn check_steady(run: &DrillRun, lock: &LockFixture) {
    let works = async |env: &DrillEnv| {
        let answer = client::send(&env.desktop, &lock.issue(&client::new_key())?).await?;
        Ok(answer.status == 201 && env.dashboard().await.is_whole())
    };
    let steady = run.env.wait_until("a key and a whole dashboard", run.objective, works).await;
    run.steady_within("a key is issued and every widget is ok", steady);
}
