//! `.local/stack.json`: what runs and where, for scripts, tests, drills and the
//! desktop client. It exists only while the stack is up and ready.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::folder::write_private;
use crate::obstacle::Obstacle;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StackInfo {
    pub launcher_pid: u32,
    pub gateway: Gateway,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_gateway: Option<Gateway>,
    /// PEM: the only authority the desktop trusts.
    pub ca_file: PathBuf,
    pub iam: Iam,
    pub internal: Internal,
    pub services: BTreeMap<String, Server>,
    pub stand_ins: Server,
    pub postgres: Postgres,
    pub redis: Redis,
    pub operators: Vec<Operator>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// `https://localhost:<port>`: what desktops call it, and what a proof's `htu` begins with.
    /// Of one without TLS of its own: where it listens.
    pub base_url: String,
    /// Where the API stands below it.
    pub api_url: String,
    /// Metrics, health and `/internal/*`.
    pub internal_url: String,
    pub pid: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Iam {
    pub issuer: String,
}

/// Who may call `/internal/*`, and how they get their tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Internal {
    /// OpenID Connect issuer; `/token` below it gives tokens.
    pub issuer: String,
    /// What a token for the gateway is asked for.
    pub audience: String,
    /// By name: scheduler, events, operator-a, operator-b.
    pub accounts: BTreeMap<String, ServiceAccount>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAccount {
    pub email: String,
    pub secret: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    pub url: String,
    pub pid: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Postgres {
    pub pid: u32,
    pub admin_url: String,
    /// By service: bff, inventory, housekeeping, staff.
    pub urls: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redis {
    pub session: Server,
    pub cache: Server,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operator {
    pub username: String,
    pub password: String,
    /// RFC 6238, base32.
    pub totp_secret: String,
    pub device_id: String,
    pub roles: Vec<String>,
    pub tenant_id: String,
    pub property_ids: Vec<String>,
}

impl StackInfo {
    /// Fails with [`Obstacle::NotUp`] when there is no file, or its launcher was killed.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let Ok(text) = fs::read(file) else { return Err(Obstacle::NotUp.into()) };
        let info: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{} is not of this version", file.display()))?;
        if !Path::new(&format!("/proc/{}", info.launcher_pid)).exists() {
            return Err(Obstacle::NotUp.into());
        }
        Ok(info)
    }

    pub fn write(&self, file: &Path) -> anyhow::Result<()> {
        write_private(file, &serde_json::to_vec_pretty(self)?)
    }

    /// Fails with the names there are.
    pub fn operator(&self, username: &str) -> anyhow::Result<&Operator> {
        self.operators.iter().find(|operator| operator.username == username).ok_or_else(|| {
            let known: Vec<&str> = self.operators.iter().map(|o| o.username.as_str()).collect();
            Obstacle::NoSuchOperator { wanted: username.to_owned(), known: known.join(", ") }.into()
        })
    }

    /// Keeps the pid of a process that was started again.
    pub fn set_pid(&mut self, name: &str, pid: u32) {
        let slot = match name {
            "bff" => Some(&mut self.gateway.pid),
            "bff-2" => self.second_gateway.as_mut().map(|gateway| &mut gateway.pid),
            "stand-ins" => Some(&mut self.stand_ins.pid),
            "postgres" => Some(&mut self.postgres.pid),
            "redis-session" => Some(&mut self.redis.session.pid),
            "redis-cache" => Some(&mut self.redis.cache.pid),
            service => self.services.get_mut(service).map(|server| &mut server.pid),
        };
        if let Some(slot) = slot {
            *slot = pid;
        }
    }
}
