//! One lane: runs a drill after the other and keeps its environment for the next one, once it has been
//! checked.

use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use launcher::progress::Progress;
use launcher::run_as::remove_any;
use tokio::time::Instant;

use super::output::Output;
use super::plan::{Plan, Planned};
use super::{RunOptions, failed_data};
use crate::drill_env::{DrillEnv, EnvKind, EnvOptions, Pids};
use crate::drill_run::{DrillRun, EnvAfter, Load, Mode};
use crate::observations::Observations;
use crate::report::{EnvOutcome, RowResult};
use crate::restore::restore;

pub(super) struct Lane {
    /// Data folder of the lane's environments, under `.local`.
    folder: String,
    options: RunOptions,
    kept: Option<(EnvKind, DrillEnv)>,
}

impl Lane {
    pub(super) fn new(number: usize, options: RunOptions) -> Self {
        Self { folder: format!("drills/stack-{number}"), options, kept: None }
    }

    /// Runs rows until none is left, and returns their results.
    pub(super) async fn work(mut self, plan: &Plan<'_>, output: &Output) -> Vec<RowResult> {
        let mut results = Vec::new();
        while let Some(planned) = plan.next(self.kept.as_ref().map(|(kind, _)| *kind)).await {
            let begun = Instant::now();
            let step = output.begin(planned.it.row);
            let rows = Box::pin(self.run(&planned, plan)).await;
            drop(step);
            let (took_ms, beside) = (begun.elapsed().as_millis(), plan.finish(&planned));
            for mut row in rows {
                row.took_ms = took_ms;
                let together = planned.rows().map(|it| it.row.id.clone());
                row.beside = beside.iter().cloned().chain(together).collect();
                row.beside.remove(&row.id);
                output.end(&row);
                results.push(row);
            }
        }
        if let Some((_, env)) = self.kept.take()
            && let Err(error) = self.close(env).await
        {
            output.note(&format!("{}: {error:#}", self.folder));
        }
        results
    }

    async fn run(&mut self, planned: &Planned<'_>, plan: &Plan<'_>) -> Vec<RowResult> {
        let (it, sabotage) = (planned.it, self.options.sabotage);
        let env = match Box::pin(self.environment(planned, plan)).await {
            Ok(env) => env,
            Err(error) => {
                let kept = failed_data::keep(&it.row.id, &self.folder);
                let outcome = kept.and_then(|kept| Err(error.context(its_data(&kept))));
                let seen = planned.rows().map(|_| Observations::default()).collect();
                return self.results(planned, seen, &outcome);
            }
        };
        let asserting = plan.asserting(planned.drill.load()).await;
        let before = env.pids();
        let objective = Duration::from_secs(it.drill.recover_within_s);
        let mode = if self.options.alerts.is_some() { Mode::Full } else { Mode::Short };
        let run = DrillRun::new(env, mode, objective).of_rows(planned.rows().count());
        let mut run = if sabotage {
            run.stop_at(&it.drill.red)
        } else {
            run.rehearse(planned.runbooks.clone())
        };
        let outcome = run.execute(planned.drill).await.and(check_load(planned, &run));
        drop(asserting);
        let (env, seen) = run.finish();
        let mut rows = self.results(planned, seen, &outcome);
        let environment = self.settle(env, planned, &rows, &before).await;
        for row in &mut rows {
            row.environment = environment.clone();
        }
        rows
    }

    /// The result of each row of a drill. An error of the drill is the result of all.
    fn results(
        &self,
        planned: &Planned<'_>,
        seen: Vec<Observations>,
        outcome: &anyhow::Result<()>,
    ) -> Vec<RowResult> {
        let rows = planned.rows().zip(seen);
        let results = rows.map(|(it, seen)| {
            let outcome = outcome.as_ref().copied().map_err(|error| anyhow!("{error:#}"));
            RowResult::new(it, seen, outcome, self.options.sabotage)
        });
        results.collect()
    }

    /// Takes the environment that was kept, if it is of the row's kind and a manager has left what the
    /// drill uses up, or starts another.
    async fn environment(
        &mut self,
        planned: &Planned<'_>,
        plan: &Plan<'_>,
    ) -> anyhow::Result<DrillEnv> {
        let options = EnvOptions::new(DrillEnv::folder(&self.folder));
        let options = planned.environment(options);
        let options = EnvOptions { alerts: self.options.alerts, ..options };
        if let Some((kind, mut env)) = self.kept.take() {
            let is_alike = planned.kind == Some(kind);
            if is_alike && env.use_manager_with(planned.drill.uses_up())? {
                env.configure(&options).await?;
                return Ok(env);
            }
            self.close(env).await?;
        }
        let _starting = plan.starting().await;
        DrillEnv::open(options, &Progress::quiet()).await
    }

    /// Keeps the environment if the next drill can use it, and discards it otherwise.
    async fn settle(
        &mut self,
        mut env: DrillEnv,
        planned: &Planned<'_>,
        rows: &[RowResult],
        before: &Pids,
    ) -> EnvOutcome {
        env.note_used(planned.drill.uses_up());
        let restarted: &[&str] = match planned.drill.leaves() {
            EnvAfter::Restarted(names) => names,
            EnvAfter::Unchanged | EnvAfter::Changed => &[],
        };
        if let Some(row) = rows.iter().find(|row| row.result != self.options.wanted()) {
            let closed = env.close().await;
            return match closed.and(failed_data::keep(&row.id, &self.folder)) {
                Ok(kept) => EnvOutcome::Replaced(its_data(&kept)),
                Err(error) => EnvOutcome::Replaced(format!("{error:#}")),
            };
        }
        let mut outcome = EnvOutcome::Spent;
        if planned.drill.leaves() != EnvAfter::Changed {
            match (self.unusable(&mut env, before, restarted).await, planned.kind) {
                (Ok(None), Some(kind)) => {
                    self.kept = Some((kind, env));
                    return EnvOutcome::Kept;
                }
                (Ok(None), None) => {}
                (Ok(Some(reason)), _) => outcome = EnvOutcome::Replaced(reason),
                (Err(error), _) => outcome = EnvOutcome::Replaced(format!("{error:#}")),
            }
        }
        match self.discard(env).await {
            Ok(()) => outcome,
            Err(error) => EnvOutcome::Replaced(format!("{error:#}")),
        }
    }

    /// Stops the environment and removes its data, in which what the drill did would go on.
    async fn discard(&self, env: DrillEnv) -> anyhow::Result<()> {
        env.close().await?;
        remove_any(&DrillEnv::folder(&self.folder))
    }

    /// Why no other drill can use the environment. A sabotaged drill stops in the middle, so what it left
    /// is removed first.
    async fn unusable(
        &self,
        env: &mut DrillEnv,
        before: &Pids,
        restarted: &[&str],
    ) -> anyhow::Result<Option<String>> {
        if !self.options.sabotage {
            return env.unusable(before, restarted).await;
        }
        restore(env).await?;
        let now = env.pids();
        env.unusable(&now, &[]).await
    }

    /// Stops the environment. What safeguards protect is not kept for later runs if they were off.
    async fn close(&self, env: DrillEnv) -> anyhow::Result<()> {
        if self.options.sabotage {
            return self.discard(env).await;
        }
        env.close().await
    }
}

/// Where the data of a drill is that did not end as expected.
fn its_data(kept: &Path) -> String {
    format!("the drill did not end as expected; its data and logs are in {}", kept.display())
}

/// A drill that asserts response times must say so, because others must not disturb it.
fn check_load(planned: &Planned<'_>, run: &DrillRun) -> anyhow::Result<()> {
    anyhow::ensure!(
        !run.asserts_times() || planned.drill.load() == Load::Timed,
        "the drill asserts response times: its load must be Load::Timed"
    );
    Ok(())
}
