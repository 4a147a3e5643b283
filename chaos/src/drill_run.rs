//! A drill, and one run of it: its environment, what is required of it, and what it finds.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::drill_env::{DeviceUse, DrillEnv, EnvOptions};
use crate::observations::{Observations, Step};
use crate::runbook::Runbook;
use crate::timeline::EventKind;

pub type DrillFuture<'a> = LocalBoxFuture<'a, anyhow::Result<()>>;

/// Injects a failure into real processes and records what it finds.
pub trait Drill: Sync {
    /// Adds what the drill needs to the options of its environment.
    fn environment<'a>(&self, options: EnvOptions<'a>) -> EnvOptions<'a> {
        options
    }

    /// How the drill leaves its environment, once it has run to its end.
    fn leaves(&self) -> EnvAfter {
        EnvAfter::Changed
    }

    /// What the drill needs of the machine.
    fn load(&self) -> Load {
        Load::Light
    }

    /// What the drill uses up of the operator's device, if other drills need it too.
    fn uses_up(&self) -> DeviceUse {
        DeviceUse::default()
    }

    /// The module of the drill's type, such as `chaos::drills::certificate`.
    fn module(&self) -> &'static str {
        let name = std::any::type_name::<Self>();
        name.rsplit_once("::").map_or(name, |(module, _)| module)
    }

    /// Runs the drill. An error means that the drill itself failed.
    fn run<'a>(&'a self, run: &'a mut DrillRun) -> DrillFuture<'a>;
}

/// The environment after a drill. The runner checks it before another drill uses the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EnvAfter {
    /// As it was: the same processes, well, without a fault.
    Unchanged,
    /// The same, but these processes were started again.
    Restarted(&'static [&'static str]),
    /// Of no use to another drill.
    Changed,
}

/// What a drill needs of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Load {
    /// It asserts response times: beside it, only light drills run, and not another such drill.
    Timed,
    /// It mostly waits.
    Light,
    /// It keeps a processor busy.
    Heavy,
}

impl Load {
    /// Whether drills with these loads may run at the same time.
    pub fn may_run_beside(self, other: Self) -> bool {
        matches!((self, other), (Self::Light, _) | (_, Self::Light) | (Self::Heavy, Self::Heavy))
    }
}

/// Length of a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Includes the wait for the alert.
    Full,
    /// Takes seconds; used by `./check`.
    Short,
}

#[derive(Debug)]
pub struct DrillRun {
    pub env: DrillEnv,
    pub mode: Mode,
    /// Time from the end of a fault to steady state.
    pub objective: Duration,
    /// Of the row whose findings are recorded now.
    observations: RefCell<Observations>,
    /// Of all rows, except the one whose findings are recorded now.
    rows: RefCell<Vec<Observations>>,
    /// Position of the row whose findings are recorded now.
    row: Cell<usize>,
    /// Names of the findings at which the run stops when one breaks.
    stops_at: Vec<String>,
    stop: Arc<Notify>,
    /// Pages whose commands were not run yet.
    runbooks: RefCell<Vec<Runbook>>,
}

impl DrillRun {
    pub fn new(env: DrillEnv, mode: Mode, objective: Duration) -> Self {
        let (observations, stop) = (RefCell::default(), Arc::default());
        let (rows, row) = (RefCell::new(vec![Observations::default()]), Cell::default());
        let (stops_at, runbooks) = (Vec::new(), RefCell::default());
        Self { env, mode, objective, observations, rows, row, stops_at, stop, runbooks }
    }

    /// Runs the commands of these pages during the fault.
    #[must_use]
    pub fn rehearse(self, runbooks: Vec<Runbook>) -> Self {
        Self { runbooks: runbooks.into(), ..self }
    }

    /// For a drill that drills so many rows at the same time.
    #[must_use]
    pub fn of_rows(self, count: usize) -> Self {
        let rows = std::iter::repeat_with(Observations::default).take(count).collect();
        Self { rows: RefCell::new(rows), ..self }
    }

    /// Records what follows as findings of the row at this position.
    pub fn choose_row(&self, row: usize) {
        let (mut rows, mut observations) = (self.rows.borrow_mut(), self.observations.borrow_mut());
        for position in [self.row.replace(row), row] {
            if let Some(kept) = rows.get_mut(position) {
                std::mem::swap(kept, &mut *observations);
            }
        }
    }

    /// Stops the run when a finding with one of these names breaks.
    #[must_use]
    pub fn stop_at(self, findings: &[String]) -> Self {
        Self { stops_at: findings.to_vec(), ..self }
    }

    /// Runs the drill to its end, or until it stops.
    pub async fn execute(&mut self, drill: &dyn Drill) -> anyhow::Result<()> {
        let stop = Arc::clone(&self.stop);
        tokio::select! {
            biased;
            () = stop.notified() => return Ok(()),
            outcome = drill.run(self) => outcome?,
        }
        for runbook in self.runbooks.take() {
            self.check(Step::Runbook, runbook.finding(), false, "the drill never ran them");
        }
        self.check_resolved().await
    }

    /// Whether a finding is about response times.
    pub fn asserts_times(&self) -> bool {
        self.observations.borrow().asserts_times
    }

    /// Returns the environment, and what was observed of each row.
    pub fn finish(self) -> (DrillEnv, Vec<Observations>) {
        let mut rows = self.rows.into_inner();
        if let Some(row) = rows.get_mut(self.row.get()) {
            *row = self.observations.into_inner();
        }
        (self.env, rows)
    }

    pub fn check(&self, step: Step, name: impl Display, held: bool, found: impl Display) {
        let name = name.to_string();
        self.stop_if_named(&name, held);
        self.observations.borrow_mut().check(step, name, held, found);
    }

    fn stop_if_named(&self, name: &String, held: bool) {
        if !held && self.stops_at.contains(name) {
            self.stop.notify_one();
        }
    }

    /// Records a finding of the state before the fault.
    pub fn steady(&self, name: impl Display, held: bool, found: impl Display) {
        self.check(Step::Steady, name, held, found);
    }

    /// Records that a fault is in force. Findings from now on belong to it.
    pub fn inject(&self, fault: impl Display) {
        self.check(Step::Fault, fault, true, "done");
    }

    /// Records a finding about how the failure is detected.
    pub fn detect(&self, name: impl Display, held: bool, found: impl Display) {
        self.check(Step::Detection, name, held, found);
    }

    /// Records a finding about what users see.
    pub fn user(&self, name: impl Display, held: bool, found: impl Display) {
        self.check(Step::User, name, held, found);
    }

    /// Records a finding about what happens without a person.
    pub fn automatic(&self, name: impl Display, held: bool, found: impl Display) {
        self.check(Step::Automatic, name, held, found);
    }

    /// Records a finding about the commands of a runbook.
    pub fn runbook(&self, name: impl Display, held: bool, found: impl Display) {
        self.check(Step::Runbook, name, held, found);
    }

    /// Records a finding of the state after the fault.
    pub fn recover(&self, name: impl Display, held: bool, found: impl Display) {
        self.check(Step::Recovery, name, held, found);
    }

    /// Records a timed step; an error is a broken finding. Returns the time it took.
    pub fn within(
        &self,
        step: Step,
        name: impl Display,
        outcome: anyhow::Result<Duration>,
    ) -> Option<Duration> {
        let name = name.to_string();
        self.stop_if_named(&name, outcome.is_ok());
        self.observations.borrow_mut().check_timed(step, name, outcome)
    }

    pub fn steady_within(&self, name: impl Display, outcome: anyhow::Result<Duration>) {
        self.within(Step::Steady, name, outcome);
    }

    /// Returns the time it took; for time to detect, pass it to [`Self::detected_after`].
    pub fn detect_within(
        &self,
        name: impl Display,
        outcome: anyhow::Result<Duration>,
    ) -> Option<Duration> {
        self.within(Step::Detection, name, outcome)
    }

    pub fn user_within(
        &self,
        name: impl Display,
        outcome: anyhow::Result<Duration>,
    ) -> Option<Duration> {
        self.within(Step::User, name, outcome)
    }

    /// Records whether the slowest response was within the limit. The drill's load must be
    /// [`Load::Timed`].
    pub fn user_in_time(&self, slowest: Duration, limit: Duration) {
        self.observations.borrow_mut().asserts_times = true;
        let found = format!("the slowest in {} of {} ms", slowest.as_millis(), limit.as_millis());
        self.user("every response is in time", slowest <= limit, found);
    }

    pub fn automatic_within(&self, name: impl Display, outcome: anyhow::Result<Duration>) {
        self.within(Step::Automatic, name, outcome);
    }

    /// Records the way back to steady state, and its time as time to recover.
    pub fn recover_within(&self, name: impl Display, outcome: anyhow::Result<Duration>) {
        let took = self.within(Step::Recovery, name, outcome);
        self.recovered_after(took);
    }

    pub fn detected_after(&self, took: Option<Duration>) {
        let mut observations = self.observations.borrow_mut();
        observations.detected_after(took);
        if let Some(took) = took {
            observations.note_symptom(took);
        }
    }

    pub fn recovered_after(&self, took: Option<Duration>) {
        if let Some(took) = took {
            self.observations.borrow_mut().recovered_after(took);
        }
    }

    /// Waits until a dashboard is whole, for as long as recovery may take.
    pub async fn until_whole(&self) -> anyhow::Result<Duration> {
        let is_whole = async |env: &DrillEnv| Ok(env.dashboard().await.is_whole());
        self.env.wait_until("a whole dashboard", self.objective, is_whole).await
    }

    /// Runs `work`, and afterwards the commands of the runbooks that the drill rehearses: the fault must
    /// still be in force. A full run also checks that these alerts are raised by `fault`.
    pub async fn raised_during<T>(
        &self,
        alerts: &[&'static str],
        fault: Instant,
        work: impl Future<Output = T>,
    ) -> anyhow::Result<T> {
        let given = if alerts.is_empty() || self.mode == Mode::Short {
            work.await
        } else {
            let (given, raised) = self.env.alerts()?.raised_during(alerts, fault, work).await?;
            raised.report(&mut self.observations.borrow_mut());
            given
        };
        self.run_runbooks().await?;
        Ok(given)
    }

    /// Runs the commands of the runbooks that the drill rehearses, once. A drill that does not wait for an
    /// alert calls it while its fault is in force.
    pub async fn run_runbooks(&self) -> anyhow::Result<()> {
        for runbook in self.runbooks.take() {
            self.observations.borrow_mut().note(EventKind::Command, Instant::now(), &runbook.page);
            let output = runbook.run(&self.env.folder).await?;
            self.check(Step::Runbook, runbook.finding(), output.succeeded, output.summary());
            self.observations.borrow_mut().command_outputs.push((runbook.page, output.text));
        }
        Ok(())
    }

    /// Runs the commands of a page that change something, as a person would during an incident.
    pub async fn act_by_runbook(&self, page: &str) -> anyhow::Result<()> {
        let output = Runbook::new(page).act(&self.env.folder).await?;
        let what = format!("the commands of {page} that change something run");
        self.runbook(what, output.succeeded, output.summary());
        Ok(())
    }

    /// What the commands of runbooks have printed.
    pub fn command_outputs(&self) -> String {
        let observations = self.observations.borrow();
        observations.command_outputs.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// A full run records whether the first command of a runbook was run soon after the alert.
    pub fn check_acknowledged(&self, objective: Duration) {
        let took = self.observations.borrow().acknowledged();
        if self.mode == Mode::Full {
            let held = took.is_some_and(|took| took < objective);
            let found = took.map_or("none was".to_owned(), |took| {
                format!("after {} ms of {} s", took.as_millis(), objective.as_secs())
            });
            self.runbook("after the alert, the first command is run in time", held, found);
        }
    }

    /// Time to watch a fault: in a full run until these alerts must fire, else `short`.
    pub fn watch_length(&self, alerts: &[&str], short: Duration) -> anyhow::Result<Duration> {
        if alerts.is_empty() || self.mode == Mode::Short {
            return Ok(short);
        }
        self.env.alerts()?.fire_within(alerts)
    }

    /// Checks that the alerts that the drill raised are inactive again.
    async fn check_resolved(&self) -> anyhow::Result<()> {
        let Ok(alerts) = self.env.alerts() else { return Ok(()) };
        let mut seen = self.observations.take();
        let outcome = alerts.check_resolved(&mut seen).await;
        self.observations.replace(seen);
        outcome
    }
}
