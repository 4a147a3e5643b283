//! Passwords and signing keys of the local stack: generated once, stored in the data folder, readable
//! by its owner only.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use rand::RngCore;
use rcgen::KeyPair;
use serde::{Deserialize, Serialize};

use crate::data_dir::{DataDir, read_json, write_json, write_private};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Secrets {
    pub postgres_admin: String,
    pub redis: String,
    /// Password of all four login roles; each role can connect to its own database only.
    pub postgres_roles: String,
}

impl Secrets {
    pub fn load_or_make(folder: &DataDir) -> anyhow::Result<Self> {
        let path = folder.join("secrets.json");
        if let Some(secrets) = read_json(&path) {
            return Ok(secrets);
        }
        let secrets = Self {
            postgres_admin: random_hex(24),
            redis: random_hex(24),
            postgres_roles: random_hex(24),
        };
        write_json(&path, &secrets)?;
        Ok(secrets)
    }
}

/// Returns `bytes` random bytes in hexadecimal.
pub fn random_hex(bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    rand::rng().fill_bytes(&mut buffer);
    buffer.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// Returns the path of a P-256 key (PKCS#8 PEM) at `keys/<name>.pem`, generating it on first use.
pub fn signing_key(folder: &DataDir, name: &str) -> anyhow::Result<PathBuf> {
    let path = folder.dir("keys")?.join(format!("{name}.pem"));
    let is_key = fs::read_to_string(&path).is_ok_and(|pem| KeyPair::from_pem(&pem).is_ok());
    if !is_key {
        let key = KeyPair::generate().context("making a signing key")?;
        write_private(&path, key.serialize_pem().as_bytes())?;
    }
    Ok(path)
}
