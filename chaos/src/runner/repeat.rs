//! Repeats the drills of the gate and keeps their results, to find rows whose result is not always the
//! same.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use contracts::clock::Clock;
use jiff::Timestamp;
use launcher::builder::{Build, workspace_root};
use launcher::readiness::ReadyCheck;
use launcher::supervisor::{ChildSpec, Notice, Process, StopSignal, Supervisor};
use tokio::process::Command;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use super::history::{Entry, Form, History, Results};
use super::output::print;
use super::red_choice::SHARE;
use super::{RunOptions, report_of};
use crate::catalog::Catalog;
use crate::drill_env::DrillEnv;
use crate::report::RowResult;
use crate::sources::{Revision, Sources};

/// What `./check` runs; [`reds_of_run`] tells which reds.
const GREEN: RunOptions = RunOptions { sabotage: false, changed: false, gate: false, alerts: None };
const RED: RunOptions = RunOptions { sabotage: true, ..GREEN };
/// How a build that succeeded is reported.
const SUCCEEDED: &str = "ended with status 0";
/// Time for cargo to end when it is stopped.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// What a repeated run consists of.
#[derive(Debug, Clone, Copy)]
pub struct RepeatOptions {
    pub runs: u32,
    /// Builds the workspace in a folder of its own, again and again, while the drills run.
    pub beside_build: bool,
    /// Runs all tests too.
    pub tests: bool,
}

/// Runs the rows with these ids, or all that have a drill, with and without their safeguards. Returns true
/// if all results of this revision are as expected, those of earlier calls included.
pub async fn repeat(ids: &[String], options: RepeatOptions) -> anyhow::Result<bool> {
    let (catalog, revision) = (Catalog::load()?, Sources::read()?.revision());
    let history = History::of(&revision);
    let mut build = if options.beside_build { Some(FullBuild::start().await?) } else { None };
    for number in 1..=options.runs {
        let now = Sources::read()?.revision();
        ensure!(
            now == revision,
            "The files changed after {} of {} runs: start again.",
            number - 1,
            options.runs
        );
        print(&format!("── Run {number} of {} at {revision}", options.runs));
        let run = Run {
            revision: &revision,
            started: Clock::system().now(),
            earlier: history.read()?,
            build: build.is_some(),
        };
        run.drills(&catalog, ids, &history).await?;
        if options.tests {
            run.tests(&history).await?;
        }
        if let Some(build) = &mut build {
            build.check()?;
        }
    }
    let results = history.read()?;
    print(&format!("{results}Results and reports: {}", history.path().display()));
    Ok(results.are_as_expected())
}

struct Run<'a> {
    revision: &'a Revision,
    started: Timestamp,
    /// Of the revision.
    earlier: Results,
    /// Whether a build runs at the same time.
    build: bool,
}

impl Run<'_> {
    async fn drills(
        &self,
        catalog: &Catalog,
        ids: &[String],
        history: &History,
    ) -> anyhow::Result<()> {
        for (form, options) in [(Form::Green, GREEN), (Form::Red, RED)] {
            let options = RunOptions { gate: ids.is_empty(), ..options };
            let reds = if options.sabotage && options.gate {
                reds_of_run(catalog, self.earlier.runs(), &self.earlier.rows(Form::Red))
            } else {
                ids.to_vec()
            };
            let report = Box::pin(report_of(catalog, &reds, options)).await?;
            report.write(&history.folder_of(self.started)?)?;
            let entry = |row: &RowResult| Entry {
                as_expected: row.result == options.wanted(),
                took_ms: row.took_ms as u64,
                beside: row.beside.clone(),
                ..self.entry(&row.id, form, row.result.to_string())
            };
            history.append(&report.rows.iter().map(entry).collect::<Vec<_>>())?;
        }
        Ok(())
    }

    async fn tests(&self, history: &History) -> anyhow::Result<()> {
        let begun = Instant::now();
        let log = history.folder_of(self.started)?.join("tests.log");
        let failed = failed_tests(&log).await?;
        let result =
            if failed.is_empty() { "passed".to_owned() } else { format!("failed: {failed:?}") };
        print(&format!("The tests {result}. Log: {}", log.display()));
        let entry = self.entry("tests", Form::Tests, result);
        let took_ms = begun.elapsed().as_millis() as u64;
        history.append(&[Entry { as_expected: failed.is_empty(), took_ms, ..entry }])
    }

    fn entry(&self, row: &str, form: Form, result: String) -> Entry {
        Entry {
            revision: self.revision.to_string(),
            run: self.started,
            row: row.to_owned(),
            form,
            result,
            as_expected: true,
            took_ms: 0,
            beside: [].into(),
            beside_build: self.build,
        }
    }
}

/// The rows of the gate that run without their safeguards after so many runs of a revision: those that
/// are not `known` to have done so, and a seventh in turn, as `./check` runs one with each commit.
fn reds_of_run(catalog: &Catalog, earlier: usize, known: &BTreeSet<&str>) -> Vec<String> {
    let gate = RunOptions { gate: true, ..RED };
    let rows = catalog.drilled();
    let rows = rows.filter(|it| gate.includes(it.drill) && it.drill.no_safeguard.is_none());
    let ids = rows.map(|it| it.row.id.clone()).enumerate();
    let is_due = |position: usize| position % SHARE == earlier % SHARE;
    let chosen = ids.filter(|(position, id)| is_due(*position) || !known.contains(id.as_str()));
    chosen.map(|(_, id)| id).collect()
}

/// Runs all tests and returns the names of those that failed.
async fn failed_tests(log: &Path) -> anyhow::Result<Vec<String>> {
    let Build::Done { folder } = Build::beside_this_program()? else { bail!("no programs") };
    let output = File::create(log).with_context(|| format!("creating {}", log.display()))?;
    let mut command = Command::new(folder.join("launcher"));
    command.args(["test", "--", "--no-fail-fast"]).current_dir(workspace_root());
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).kill_on_drop(true);
    let status = command.status().await.context("running the tests")?;
    let failed = named_failures(&fs::read_to_string(log)?);
    ensure!(
        status.success() || !failed.is_empty(),
        "The tests could not be run. Read {}.",
        log.display()
    );
    Ok(failed)
}

/// The tests that libtest reports as failed.
fn named_failures(log: &str) -> Vec<String> {
    let lines = log.lines().filter_map(|line| line.strip_prefix("test "));
    lines.filter_map(|line| line.strip_suffix(" ... FAILED")).map(str::to_owned).collect()
}

/// cargo building the whole workspace from nothing, again as soon as it has ended.
struct FullBuild {
    process: Process,
    notices: UnboundedReceiver<Notice>,
    #[expect(dead_code, reason = "held: dropping it ends the build")]
    supervisor: Supervisor,
}

impl FullBuild {
    async fn start() -> anyhow::Result<Self> {
        let target = DrillEnv::folder("repeat").join("target");
        let build = "rm -rf \"$1\" && exec cargo build --workspace --target-dir \"$1\"";
        let spec = ChildSpec {
            name: "build".to_owned(),
            program: "sh".into(),
            args: vec!["-c".into(), build.into(), "build".into(), target.into()],
            env: Vec::new(),
            dir: workspace_root().to_owned(),
            exclusive_dir: None,
            log: DrillEnv::folder("repeat").join("build.log"),
            run_as: None,
            stop: StopSignal::Terminate,
            drain: DRAIN_TIMEOUT,
            ready: ReadyCheck::Running,
        };
        let (supervisor, notices) = Supervisor::start()?;
        let process = supervisor.launch(spec);
        process.keep_alive(true).await?;
        Ok(Self { process, notices, supervisor })
    }

    /// Fails if a build has failed since the last check.
    fn check(&mut self) -> anyhow::Result<()> {
        while let Ok(notice) = self.notices.try_recv() {
            let log = self.process.log().display();
            ensure!(
                has_succeeded(&notice),
                "The build beside the drills failed: {} See {log}.",
                notice.sentence()
            );
        }
        Ok(())
    }
}

fn has_succeeded(notice: &Notice) -> bool {
    matches!(
        notice,
        Notice::Restarted { how, .. } | Notice::Waiting { how, .. } if how == SUCCEEDED
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_build_is_an_error_and_a_repeated_one_is_not() {
        let ended = |how: &str| {
            let (name, how) = ("build".to_owned(), how.to_owned());
            Notice::Restarted { name, old_pid: 1, how, pid: 2 }
        };
        assert!(has_succeeded(&ended("ended with status 0")));
        assert!(!has_succeeded(&ended("ended with status 101")));
    }

    #[test]
    fn reds_that_never_ran_come_first_and_then_a_seventh_in_turn() {
        let catalog = Catalog::load().unwrap();
        let all = reds_of_run(&catalog, 0, &BTreeSet::new());
        let known: BTreeSet<_> = all.iter().map(String::as_str).collect();
        let seventh = reds_of_run(&catalog, 1, &known);
        assert!(!seventh.is_empty() && seventh.len() <= all.len().div_ceil(SHARE), "{seventh:?}");
        let turns = 1..=SHARE;
        let mut later: Vec<_> = turns.flat_map(|run| reds_of_run(&catalog, run, &known)).collect();
        later.sort_by_key(|id| all.iter().position(|other| other == id));
        assert_eq!(later, all);
        let some: BTreeSet<_> = all.iter().skip(1).step_by(2).map(String::as_str).collect();
        let completed = reds_of_run(&catalog, 1, &some);
        assert!(all.iter().all(|id| some.contains(id.as_str()) || completed.contains(id)));
    }

    #[test]
    fn failed_tests_are_found_in_a_log() {
        let log =
            "test a::b ... ok\ntest c::d ... FAILED\nfailures:\n    c::d\ntest e ... FAILED\n";
        assert_eq!(named_failures(log), ["c::d", "e"]);
    }
}
