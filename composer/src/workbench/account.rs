//! How a part of a view was had, for the body and for the answer's headers.

use std::time::Duration;

use contracts::dashboard::{Reason, WidgetStatus};
use contracts::upstream::Upstream;
use contracts::workbench::Part;
use upstream_clients::CallError;

use crate::compose::{Told, milliseconds};
use crate::snapshots::{Reading, Rule, Source};

#[derive(Debug)]
pub(super) struct Account {
    name: &'static str,
    upstream: Option<Upstream>,
    outcome: Outcome,
    took: Duration,
}

#[derive(Debug)]
enum Outcome {
    Read(Reading),
    Failed(Reason),
    Forbidden,
}

impl Account {
    pub(super) fn of(rule: &Rule, reading: Reading) -> Self {
        let took = reading.took;
        Self { name: rule.name, upstream: rule.upstream, outcome: Outcome::Read(reading), took }
    }

    pub(super) fn failed(
        name: &'static str,
        rule: &Rule,
        error: &CallError,
        took: Duration,
    ) -> Self {
        Self { name, upstream: rule.upstream, outcome: Outcome::Failed(error.reason()), took }
    }

    pub(super) fn forbidden(name: &'static str, rule: &Rule) -> Self {
        let (upstream, outcome) = (rule.upstream, Outcome::Forbidden);
        Self { name, upstream, outcome, took: Duration::ZERO }
    }

    /// By the column's name.
    pub(super) fn called(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    fn status(&self) -> WidgetStatus {
        match &self.outcome {
            Outcome::Read(reading) if matches!(reading.source, Source::Stale { .. }) => {
                WidgetStatus::Stale
            }
            Outcome::Read(_) => WidgetStatus::Ok,
            Outcome::Failed(_) => WidgetStatus::Unavailable,
            Outcome::Forbidden => WidgetStatus::Forbidden,
        }
    }

    pub(super) fn part(&self) -> Part {
        let (age_ms, reason) = match &self.outcome {
            Outcome::Read(Reading { source: Source::Stale { age, reason }, .. }) => {
                (Some(milliseconds(*age)), Some(*reason))
            }
            Outcome::Failed(reason) => (None, Some(*reason)),
            _ => (None, None),
        };
        let source = self.upstream.map_or("bff-backoffice", Upstream::name).to_owned();
        let as_of = self.reading().map(|reading| reading.snapshot.as_of);
        Part { status: self.status(), source, as_of, age_ms, reason }
    }

    pub(super) fn told(&self) -> Told {
        let reading = self.reading();
        Told {
            name: self.name,
            upstream: self.upstream,
            status: self.status(),
            source: reading.map(|reading| reading.source),
            tag: reading.map_or(0, |reading| reading.snapshot.tag),
            took: self.took,
        }
    }

    fn reading(&self) -> Option<&Reading> {
        match &self.outcome {
            Outcome::Read(reading) => Some(reading),
            _ => None,
        }
    }
}
