//! Where a widget or a part of a view came from: for the body, and for the response headers.

use std::time::Duration;

use contracts::dashboard::{Reason, WidgetStatus};
use contracts::upstream::Upstream;
use contracts::workbench::Part;
use upstream_clients::CallError;

use crate::read_policy::ReadPolicy;
use crate::result::{WidgetOrigin, milliseconds};
use crate::snapshots::{Reading, Source};

#[derive(Debug)]
pub(crate) struct Provenance {
    name: &'static str,
    upstream: Option<Upstream>,
    outcome: PartOutcome,
    took: Duration,
}

#[derive(Debug)]
enum PartOutcome {
    Read(Reading),
    Failed(Reason),
    Forbidden,
}

impl Provenance {
    pub(crate) fn of(name: &'static str, policy: &ReadPolicy, reading: Reading) -> Self {
        let took = reading.took;
        Self { name, upstream: policy.upstream, outcome: PartOutcome::Read(reading), took }
    }

    pub(crate) fn failed(
        name: &'static str,
        policy: &ReadPolicy,
        error: &CallError,
        took: Duration,
    ) -> Self {
        Self { name, upstream: policy.upstream, outcome: PartOutcome::Failed(error.reason()), took }
    }

    pub(crate) fn forbidden(name: &'static str, policy: &ReadPolicy) -> Self {
        let (upstream, outcome) = (policy.upstream, PartOutcome::Forbidden);
        Self { name, upstream, outcome, took: Duration::ZERO }
    }

    fn status(&self) -> WidgetStatus {
        match &self.outcome {
            PartOutcome::Read(reading) if matches!(reading.source, Source::Stale { .. }) => {
                WidgetStatus::Stale
            }
            PartOutcome::Read(_) => WidgetStatus::Ok,
            PartOutcome::Failed(_) => WidgetStatus::Unavailable,
            PartOutcome::Forbidden => WidgetStatus::Forbidden,
        }
    }

    pub(crate) fn part(&self) -> Part {
        let (age_ms, reason) = match &self.outcome {
            PartOutcome::Read(Reading { source: Source::Stale { age, reason }, .. }) => {
                (Some(milliseconds(*age)), Some(*reason))
            }
            PartOutcome::Failed(reason) => (None, Some(*reason)),
            _ => (None, None),
        };
        let source = self.upstream.map_or("bff-backoffice", Upstream::name).to_owned();
        let as_of = self.reading().map(|reading| reading.snapshot.as_of.into());
        Part { status: self.status(), source, as_of, age_ms, reason }
    }

    pub(crate) fn origin(&self) -> WidgetOrigin {
        let reading = self.reading();
        WidgetOrigin {
            name: self.name,
            upstream: self.upstream,
            status: self.status(),
            source: reading.map(|reading| reading.source),
            tag: reading.map_or(0, |reading| reading.snapshot.tag),
            took: self.took,
        }
    }

    pub(crate) fn reading(&self) -> Option<&Reading> {
        match &self.outcome {
            PartOutcome::Read(reading) => Some(reading),
            _ => None,
        }
    }
}
