//! Which drill a lane runs next. Drills that assert response times run one at a time and beside light
//! ones only; an environment is used by as many drills as possible, those that use it up last.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use tokio::sync::{Notify, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::RunOptions;
use crate::catalog::{DrilledRow, ServerSafeguard};
use crate::drill_env::{EnvKind, EnvOptions};
use crate::drill_run::{Drill, Load};
use crate::drills;
use crate::runbook::Runbook;

/// A row, its drill and the environment that it needs.
#[derive(Clone)]
pub(super) struct Planned<'a> {
    pub(super) it: DrilledRow<'a>,
    /// Further rows of the drill.
    pub(super) others: Vec<DrilledRow<'a>>,
    pub(super) drill: &'static dyn Drill,
    /// `None`: an environment of its own.
    pub(super) kind: Option<EnvKind>,
    pub(super) runbooks: Vec<Runbook>,
    sabotage: bool,
}

impl<'a> Planned<'a> {
    pub(super) fn of(it: DrilledRow<'a>, options: RunOptions) -> anyhow::Result<Self> {
        let id = &it.row.id;
        let drill = drills::find(id);
        let drill = drill.with_context(|| format!("{id} is not in chaos/src/drills.rs"))?;
        let (others, runbooks) = (Vec::new(), Runbook::rehearsed_by(it)?);
        let mut planned =
            Self { it, others, drill, kind: None, runbooks, sabotage: options.sabotage };
        planned.kind = EnvKind::of(&planned.environment(EnvOptions::new("".into())));
        Ok(planned)
    }

    /// Adds what the row needs to the options of its environment.
    pub(super) fn environment<'o>(&self, options: EnvOptions<'o>) -> EnvOptions<'o>
    where
        'a: 'o,
    {
        let options = self.drill.environment(options);
        let off: &'o [ServerSafeguard] = &self.it.drill.sabotage;
        if self.sabotage { options.without(off) } else { options }
    }

    pub(super) fn is_sabotaged(&self) -> bool {
        let options = self.environment(EnvOptions::new("".into()));
        options.build == launcher::builder::Build::Sabotage
    }

    /// All rows of the drill, in its order.
    pub(super) fn rows(&self) -> impl Iterator<Item = DrilledRow<'a>> + use<'a, '_> {
        std::iter::once(self.it).chain(self.others.iter().copied())
    }

    fn id(&self) -> &str {
        &self.it.row.id
    }
}

/// Plans rows whose faults may be in force at the same time as one, if all of them are there.
pub(super) fn join_rows(planned: &mut Vec<Planned<'_>>) {
    let (ids, drill) = drills::together();
    let mut rows = Vec::new();
    for id in ids {
        match planned.iter().find(|planned| planned.id() == id) {
            Some(planned) => rows.push(planned.it),
            None => return,
        }
    }
    let (first, others) = (rows.remove(0), rows);
    let is_other =
        |planned: &mut Planned<'_>| others.iter().any(|other| planned.id() == other.row.id);
    let runbooks: Vec<_> =
        planned.extract_if(.., is_other).flat_map(|other| other.runbooks).collect();
    if let Some(joint) = planned.iter_mut().find(|planned| planned.id() == first.row.id) {
        (joint.others, joint.drill) = (others, drill);
        for runbook in runbooks {
            if !joint.runbooks.contains(&runbook) {
                joint.runbooks.push(runbook);
            }
        }
    }
}

/// The rows that wait and those that run.
pub(super) struct Plan<'a> {
    state: Mutex<State<'a>>,
    changed: Notify,
    /// Read while an environment starts, written while response times are asserted.
    starts: RwLock<()>,
}

#[derive(Default)]
struct State<'a> {
    /// In the order of the catalogue.
    waiting: Vec<Planned<'a>>,
    running: Vec<Running>,
}

struct Running {
    ids: Vec<String>,
    load: Load,
    /// Ids of the rows that ran at the same time, for a while at least.
    beside: BTreeSet<String>,
}

enum Next<'a> {
    Row(Planned<'a>),
    /// What is left may not run beside what runs.
    Later,
    End,
}

impl<'a> Plan<'a> {
    pub(super) fn new(waiting: Vec<Planned<'a>>) -> Self {
        let state = State { waiting, running: Vec::new() };
        Self { state: Mutex::new(state), changed: Notify::new(), starts: RwLock::default() }
    }

    /// Waits for a row that may run now. `kept`: the kind of environment that the lane has.
    pub(super) async fn next(&self, kept: Option<EnvKind>) -> Option<Planned<'a>> {
        loop {
            let changed = self.changed.notified();
            match self.state().next(kept) {
                Next::Row(planned) => return Some(planned),
                Next::End => return None,
                Next::Later => {}
            }
            changed.await;
        }
    }

    /// Notes that the drill has ended, and returns the rows that ran beside it.
    pub(super) fn finish(&self, planned: &Planned<'_>) -> BTreeSet<String> {
        let mut state = self.state();
        let at = state
            .running
            .iter()
            .position(|running| running.ids.iter().any(|id| id == planned.id()));
        let beside = at.map(|at| state.running.swap_remove(at).beside);
        drop(state);
        self.changed.notify_waiters();
        beside.unwrap_or_default()
    }

    /// Waits until no drill asserts response times, and lets none begin while an environment starts.
    pub(super) async fn starting(&self) -> RwLockReadGuard<'_, ()> {
        self.starts.read().await
    }

    /// Waits until no environment starts, and lets none start while the drill asserts response times.
    pub(super) async fn asserting(&self, load: Load) -> Option<RwLockWriteGuard<'_, ()>> {
        if load == Load::Timed { Some(self.starts.write().await) } else { None }
    }

    fn state(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> State<'a> {
    fn next(&mut self, kept: Option<EnvKind>) -> Next<'a> {
        if self.waiting.is_empty() {
            return Next::End;
        }
        let may_run = |planned: &Planned<'_>| {
            let load = planned.drill.load();
            self.running.iter().all(|running| running.load.may_run_beside(load))
        };
        let order = |planned: &Planned<'_>| {
            let is_other = planned.kind.is_none() || planned.kind != kept;
            (planned.drill.load(), is_other, planned.kind, planned.drill.leaves())
        };
        let waiting = self.waiting.iter().enumerate().filter(|(_, planned)| may_run(planned));
        let chosen = waiting.min_by_key(|(_, planned)| order(planned)).map(|(at, _)| at);
        let Some(at) = chosen else { return Next::Later };
        let planned = self.waiting.remove(at);
        self.start(&planned);
        Next::Row(planned)
    }

    fn start(&mut self, planned: &Planned<'_>) {
        let ids: Vec<String> = planned.rows().map(|it| it.row.id.clone()).collect();
        for running in &mut self.running {
            running.beside.extend(ids.iter().cloned());
        }
        let beside = self.running.iter().flat_map(|running| running.ids.clone()).collect();
        self.running.push(Running { ids, load: planned.drill.load(), beside });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::drill_run::EnvAfter;

    const GREEN: RunOptions =
        RunOptions { sabotage: false, changed: false, gate: false, alerts: None };

    fn planned(catalog: &Catalog) -> Vec<Planned<'_>> {
        catalog.drilled().map(|it| Planned::of(it, GREEN).unwrap()).collect()
    }

    fn take<'a>(state: &mut State<'a>, kept: Option<EnvKind>) -> Option<Planned<'a>> {
        match state.next(kept) {
            Next::Row(planned) => Some(planned),
            Next::Later | Next::End => None,
        }
    }

    #[test]
    fn one_lane_runs_every_row_and_changes_its_environment_rarely() {
        let catalog = Catalog::load().unwrap();
        let all = planned(&catalog);
        let kinds: BTreeSet<_> = all.iter().map(|planned| planned.kind).collect();
        let loads: BTreeSet<_> = all.iter().map(|planned| planned.drill.load()).collect();
        let spent = all.iter().filter(|planned| planned.drill.leaves() == EnvAfter::Changed);
        let (count, most) = (all.len(), kinds.len() * loads.len() + spent.count());
        let mut state = State { waiting: all, ..State::default() };
        let (mut kept, mut starts, mut done) = (None, 0, BTreeSet::new());
        while let Some(planned) = take(&mut state, kept) {
            starts += usize::from(kept.is_none() || kept != planned.kind);
            let is_spent = planned.drill.leaves() == EnvAfter::Changed;
            kept = planned.kind.filter(|_| !is_spent);
            done.insert(planned.id().to_owned());
            state.running.clear();
        }
        assert_eq!(done.len(), count);
        assert!(starts <= most, "{starts} environments for {} kinds", kinds.len());
    }

    #[test]
    fn beside_a_row_that_asserts_times_only_light_ones_run() {
        let catalog = Catalog::load().unwrap();
        let mut state = State { waiting: planned(&catalog), ..State::default() };
        assert_eq!(take(&mut state, None).unwrap().drill.load(), Load::Timed);
        let mut beside = 0;
        while let Some(planned) = take(&mut state, None) {
            assert_eq!(planned.drill.load(), Load::Light, "{}", planned.id());
            beside += 1;
        }
        assert!(beside > 0);
        assert!(matches!(state.next(None), Next::Later), "timed and heavy rows must wait");
        assert_eq!(state.running[0].beside.len(), beside);
        state.running.clear();
        assert_eq!(take(&mut state, None).unwrap().drill.load(), Load::Timed);
    }

    #[test]
    fn rows_are_joined_only_if_all_of_them_are_there() {
        let catalog = Catalog::load().unwrap();
        let (ids, _) = drills::together();
        let (mut all, mut some) = (planned(&catalog), planned(&catalog));
        let before: BTreeSet<_> = all.iter().map(|planned| planned.id().to_owned()).collect();
        join_rows(&mut all);
        let joint = all.iter().find(|planned| planned.id() == ids[0]).unwrap();
        assert_eq!(joint.rows().map(|it| it.row.id.as_str()).collect::<Vec<_>>(), ids);
        let after = all.iter().flat_map(|planned| planned.rows().map(|it| it.row.id.clone()));
        let after: Vec<_> = after.collect();
        assert_eq!(after.len(), before.len());
        assert_eq!(after.into_iter().collect::<BTreeSet<_>>(), before);
        some.retain(|planned| planned.id() != ids[1]);
        join_rows(&mut some);
        assert!(some.iter().all(|planned| planned.others.is_empty()));
    }

    #[tokio::test]
    async fn a_lane_waits_until_its_row_may_run() {
        let catalog = Catalog::load().unwrap();
        let mut rows = planned(&catalog);
        rows.retain(|planned| planned.drill.load() == Load::Timed);
        rows.truncate(2);
        let plan = Plan::new(rows);
        let first = plan.next(None).await.unwrap();
        let (second, beside) = tokio::join!(plan.next(None), async {
            tokio::task::yield_now().await;
            plan.finish(&first)
        });
        assert!(beside.is_empty());
        plan.finish(&second.unwrap());
        assert!(plan.next(None).await.is_none());
    }
}
