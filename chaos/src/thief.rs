//! Proofs as a thief holds them: sent again and again, over many connections, to every instance.

use std::collections::BTreeMap;

use anyhow::Context;
use contracts::clock::Clock;
use futures_util::{StreamExt, stream};
use launcher::desktop::{Call, Desktop};
use reqwest::Method;
use serde_json::Value;

use crate::house::House;

/// Requests under way at once.
const AT_ONCE: usize = 64;
const PATH: &str = "/session";
const REFUSED: &str = "MELMASTOON.BFF.DPOP_INVALID";

/// Credentials of one request, good for as long as its proof is young.
#[derive(Debug, Clone)]
pub struct Stolen {
    token: String,
    proof: String,
}

/// What became of a request with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Accepted,
    /// 401 `DPOP_INVALID`
    Refused,
    Other(String),
}

/// What became of many.
#[derive(Debug, Default)]
pub struct Tally {
    /// How often each proof was let in.
    pub accepted: Vec<usize>,
    pub refused: usize,
    pub other: BTreeMap<String, usize>,
}

impl Tally {
    fn add(mut self, (proof, answer): (usize, Answer)) -> Self {
        match answer {
            Answer::Accepted => self.accepted[proof] += 1,
            Answer::Refused => self.refused += 1,
            Answer::Other(what) => *self.other.entry(what).or_default() += 1,
        }
        self
    }

    /// Acceptances beyond the first of each proof.
    pub fn replayed(&self) -> usize {
        self.accepted.iter().map(|times| times.saturating_sub(1)).sum()
    }

    pub fn used(&self) -> usize {
        self.accepted.iter().filter(|times| **times > 0).count()
    }
}

/// Connections of their own, to all instances in turn: line n leads to instance n, modulo.
#[derive(Debug)]
pub struct Thief<'a> {
    house: &'a House,
    lines: Vec<Desktop>,
}

impl<'a> Thief<'a> {
    /// `lines`: connections to each instance.
    pub fn with(house: &'a House, lines: usize) -> anyhow::Result<Self> {
        let (info, folder) = (house.stack.info(), house.folder.join("desktop"));
        let username = &house.desktop.operator().username;
        let gateways = house.gateways();
        let line = |number: usize| {
            let mut info = info.clone();
            info.gateway = gateways[number % gateways.len()].clone();
            Desktop::open(&info, username, &folder, Clock::system())
        };
        let lines = (0..lines * gateways.len()).map(line).collect::<anyhow::Result<_>>()?;
        Ok(Self { house, lines })
    }

    /// What the operator's desktop would send next.
    pub async fn steal(&self) -> anyhow::Result<Stolen> {
        let desktop = &self.house.desktop;
        let (token, url) = (desktop.access_token().await?, desktop.url(PATH)?);
        let proof = desktop.proof(&Method::GET, &url, &token).sign(desktop.key())?;
        Ok(Stolen { token, proof })
    }

    pub async fn steal_many(&self, count: usize) -> anyhow::Result<Vec<Stolen>> {
        let mut stolen = Vec::with_capacity(count);
        for _ in 0..count {
            stolen.push(self.steal().await?);
        }
        Ok(stolen)
    }

    /// Over one of the lines.
    pub async fn send(&self, line: usize, stolen: &Stolen) -> Answer {
        let desktop = &self.lines[line % self.lines.len()];
        match ask(desktop, stolen).await {
            Ok((200, _)) => Answer::Accepted,
            Ok((401, code)) if code == REFUSED => Answer::Refused,
            Ok((status, code)) => Answer::Other(format!("{status} {code}")),
            Err(error) => Answer::Other(format!("no answer: {:#}", error.root_cause())),
        }
    }

    /// A fresh request at an instance.
    pub async fn fresh(&self, instance: usize) -> anyhow::Result<Answer> {
        Ok(self.send(instance, &self.steal().await?).await)
    }

    /// Each proof so many times over all lines. `racing`: the copies of a proof all at once, so
    /// that its first use is among them; else every proof once, then every proof again.
    pub async fn flood(&self, stolen: &[Stolen], copies: usize, racing: bool) -> Tally {
        let tally = Tally { accepted: vec![0; stolen.len()], ..Tally::default() };
        let requests = stream::iter(0..stolen.len() * copies).map(|number| async move {
            let proof = if racing { number / copies } else { number % stolen.len() };
            (proof, self.send(number, &stolen[proof]).await)
        });
        requests.buffer_unordered(AT_ONCE).fold(tally, async |tally, one| tally.add(one)).await
    }
}

async fn ask(desktop: &Desktop, stolen: &Stolen) -> anyhow::Result<(u16, String)> {
    let request = desktop.request(&Call::get(PATH), &stolen.token, &stolen.proof)?;
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.context("an answer is JSON")?;
    Ok((status, body["code"].as_str().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_let_in_more_than_once_is_counted() {
        let tally = Tally { accepted: vec![0; 3], ..Tally::default() };
        let answers = [(0, Answer::Accepted), (1, Answer::Accepted), (1, Answer::Accepted)];
        let tally = answers.into_iter().fold(tally, Tally::add).add((0, Answer::Refused));
        assert_eq!((tally.used(), tally.replayed(), tally.refused), (2, 1, 1));
    }
}
