//! `.local/stack.json`: addresses, pids and demo credentials of the running stack, for scripts,
//! tests, drills and the desktop client. It exists only while the stack is ready.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::data_dir::write_json;
use crate::user_error::UserError;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StackInfo {
    pub launcher_pid: u32,
    pub gateway: Gateway,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_gateway: Option<Gateway>,
    /// PEM file of the only certificate authority the desktop trusts.
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
    /// `https://localhost:<port>`, with which a proof's `htu` begins. For an instance without TLS, its
    /// listen address.
    pub base_url: String,
    /// Base URL of the API.
    pub api_url: String,
    /// Internal listener: metrics, health and `/internal/*`.
    pub internal_url: String,
    pub pid: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Iam {
    pub issuer: String,
}

/// Service accounts that may call `/internal/*`, and their token issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Internal {
    /// OpenID Connect issuer; its token endpoint is `<issuer>/token`.
    pub issuer: String,
    /// Audience of tokens for the gateway.
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
    /// RFC 6238 secret, base32.
    pub totp_secret: String,
    pub device_id: String,
    pub roles: Vec<String>,
    pub tenant_id: String,
    pub property_ids: Vec<String>,
}

impl StackInfo {
    /// Fails with [`UserError::NotUp`] when the file is missing or its launcher no longer runs.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let Ok(text) = fs::read(file) else { return Err(UserError::NotUp.into()) };
        let info: Self = serde_json::from_slice(&text)
            .with_context(|| format!("{} was written by another version", file.display()))?;
        if !Path::new(&format!("/proc/{}", info.launcher_pid)).exists() {
            return Err(UserError::NotUp.into());
        }
        Ok(info)
    }

    pub fn write(&self, file: &Path) -> anyhow::Result<()> {
        write_json(file, self)
    }

    /// Finds an operator by name; the error lists the known names.
    pub fn operator(&self, username: &str) -> anyhow::Result<&Operator> {
        self.operators.iter().find(|operator| operator.username == username).ok_or_else(|| {
            let known: Vec<&str> = self.operators.iter().map(|o| o.username.as_str()).collect();
            UserError::NoSuchOperator { wanted: username.to_owned(), known: known.join(", ") }
                .into()
        })
    }

    /// Records the pid of a restarted process.
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
