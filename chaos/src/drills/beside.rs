//! What a desk sees of a failing upstream beside its dashboard: the board, list or folio it has open.

use anyhow::Context;
use launcher::desktop::Call;
use reqwest::header::AGE;
use serde_json::Value;

use crate::desk::Refundable;
use crate::house::House;
use crate::observations::{Observations, Step};

/// A read whose content is the upstream's.
#[derive(Debug, Clone, Copy)]
pub(super) enum Beside {
    /// Shown with its age, as it was read last.
    Kept(&'static str),
    /// Old ones are not shown: an empty list that says so.
    Emptied(&'static str),
    /// A folio, as it was read last.
    Folio,
}

/// An answer as a desk is told of it.
struct Told {
    status: u16,
    cache: String,
    has_age: bool,
    body: Value,
}

impl Beside {
    /// The desk opens it, so that something is kept.
    pub(super) async fn open(self, house: &House) -> anyhow::Result<()> {
        let told = self.ask(house).await?;
        anyhow::ensure!(told.status == 200, "{} is {} before the fault", self.name(), told.status);
        Ok(())
    }

    /// Looked at during the fault.
    pub(super) async fn look(self, house: &House, seen: &mut Observations) -> anyhow::Result<()> {
        let Told { status, cache, has_age, body } = self.ask(house).await?;
        let found = format!("{status} {cache}");
        if let Self::Emptied(path) = self {
            let is_empty = body["items"].as_array().is_some_and(Vec::is_empty);
            let held = status == 200 && is_empty && body["degraded"] == true;
            seen.expect(Step::User, format!("{path} is 200, empty and degraded"), held, found);
            return Ok(());
        }
        let held = status == 200 && cache == "STALE" && has_age;
        seen.expect(
            Step::User,
            format!("{} is 200 and STALE with its Age", self.name()),
            held,
            found,
        );
        Ok(())
    }

    fn name(self) -> &'static str {
        match self {
            Self::Kept(path) | Self::Emptied(path) => path,
            Self::Folio => "/folios/{id}",
        }
    }

    async fn ask(self, house: &House) -> anyhow::Result<Told> {
        let path = match self {
            Self::Kept(path) | Self::Emptied(path) => {
                format!("{path}?propertyId={}", house.property)
            }
            Self::Folio => format!("/folios/{}", Refundable::find(house).await?.folio),
        };
        let answer = house.desktop.send(&Call::get(path)).await?;
        let header = |name: &str| answer.headers().get(name).and_then(|it| it.to_str().ok());
        let cache = header("x-cache").unwrap_or("without X-Cache").to_owned();
        let (status, has_age) = (answer.status().as_u16(), header(AGE.as_str()).is_some());
        let body = answer.json().await.with_context(|| format!("{} is not JSON", self.name()))?;
        Ok(Told { status, cache, has_age, body })
    }
}
