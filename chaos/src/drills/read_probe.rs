//! Reads other than the dashboard that an open desktop depends on: a board, a list, a folio.

use anyhow::Context;
use launcher::desktop::Call;
use reqwest::header::AGE;
use serde_json::Value;

use crate::client::Refundable;
use crate::drill_env::DrillEnv;
use crate::drill_run::DrillRun;

/// A read that one upstream serves, and its behaviour when that upstream fails.
#[derive(Debug, Clone, Copy)]
pub(super) enum ReadProbe {
    /// Serves the last response with its age.
    Kept(&'static str),
    /// Serves an empty list marked as degraded, no stale data.
    Emptied(&'static str),
    /// A folio; serves the last response with its age.
    Folio,
}

/// The parts of a response that are checked.
struct ReadView {
    status: u16,
    cache: String,
    has_age: bool,
    body: Value,
}

impl ReadProbe {
    /// Reads once before the fault, so that the response is cached.
    pub(super) async fn open(self, env: &DrillEnv) -> anyhow::Result<()> {
        let view = self.read(env).await?;
        anyhow::ensure!(view.status == 200, "{} is {} before the fault", self.name(), view.status);
        Ok(())
    }

    /// Checks the response during the fault.
    pub(super) async fn check(self, run: &DrillRun) -> anyhow::Result<()> {
        let ReadView { status, cache, has_age, body } = self.read(&run.env).await?;
        let found = format!("{status} {cache}");
        if let Self::Emptied(path) = self {
            let is_empty = body["items"].as_array().is_some_and(Vec::is_empty);
            let held = status == 200 && is_empty && body["degraded"] == true;
            run.user(format!("{path} is 200, empty and degraded"), held, found);
            return Ok(());
        }
        let held = status == 200 && cache == "STALE" && has_age;
        run.user(format!("{} is 200 and STALE with its Age", self.name()), held, found);
        Ok(())
    }

    fn name(self) -> &'static str {
        match self {
            Self::Kept(path) | Self::Emptied(path) => path,
            Self::Folio => "/folios/{id}",
        }
    }

    async fn read(self, env: &DrillEnv) -> anyhow::Result<ReadView> {
        let path = match self {
            Self::Kept(path) | Self::Emptied(path) => {
                format!("{path}?propertyId={}", env.property)
            }
            Self::Folio => format!("/folios/{}", Refundable::find(env).await?.folio),
        };
        let answer = env.desktop.send(&Call::get(path)).await?;
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let cache = header("x-cache").unwrap_or("without X-Cache").to_owned();
        let (status, has_age) = (answer.status().as_u16(), header(AGE.as_str()).is_some());
        let body = answer.json().await.with_context(|| format!("{} is not JSON", self.name()))?;
        Ok(ReadView { status, cache, has_age, body })
    }
}
