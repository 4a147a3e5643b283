//! Signing in at iam, and staying signed in through the gateway.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use contracts::headers::{DEVICE_ID, DPOP, DPOP_NONCE};
use reqwest::{Client, Method, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use super::key::DeviceKey;
use super::no_answer;
use super::proof::Proof;
use crate::folder::write_private;
use crate::info::Operator;

/// A token this close to its end is replaced, seconds.
const SPARE: i64 = 30;
const WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tokens {
    pub access_token: String,
    pub refresh_token: String,
    /// Seconds since 1970.
    pub expires_at: i64,
    pub issuer: String,
}

impl Tokens {
    /// Those of an iam at another address are worth nothing.
    pub(super) fn load(file: &Path, issuer: &str) -> Option<Self> {
        let tokens: Self = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
        (tokens.issuer == issuer).then_some(tokens)
    }

    pub(super) fn save(&self, file: &Path) -> anyhow::Result<()> {
        write_private(file, &serde_json::to_vec(self)?)
    }

    pub(super) fn is_good(&self, now: i64) -> bool {
        self.expires_at - SPARE > now
    }
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    refresh_token: String,
    expires_in: i64,
}

/// The gateway's form of it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Renewed {
    access_token: String,
    refresh_token: String,
    expires_in: i64,
}

pub(super) struct SignIn<'a> {
    pub(super) http: &'a Client,
    /// The gateway's `/auth/refresh`.
    pub(super) renewal: Url,
    pub(super) issuer: &'a str,
    pub(super) operator: &'a Operator,
    pub(super) key: &'a DeviceKey,
    pub(super) now: i64,
}

impl SignIn<'_> {
    /// By refresh token where there is one that still works, else by password.
    pub(super) async fn obtain(&self, earlier: Option<&Tokens>) -> anyhow::Result<Tokens> {
        if let Some(earlier) = earlier
            && let Ok(tokens) = self.renew(&earlier.refresh_token).await
        {
            return Ok(tokens);
        }
        let operator = self.operator;
        self.ask(&[
            ("grant_type", "password"),
            ("username", &operator.username),
            ("password", &operator.password),
            ("device_id", &operator.device_id),
            ("client_id", "desktop"),
        ])
        .await
    }

    /// A new pair from the gateway, which asks iam.
    async fn renew(&self, refresh_token: &str) -> anyhow::Result<Tokens> {
        let response = self.answer(refresh_token).await?;
        self.renewed(response.error_for_status()?.json().await?)
    }

    /// What the gateway answers to a refresh token; with the nonce it asks for, if it asks.
    pub(super) async fn answer(&self, refresh_token: &str) -> anyhow::Result<Response> {
        let first = self.ask_gateway(refresh_token, None).await?;
        let nonce = first.headers().get(DPOP_NONCE).and_then(|nonce| nonce.to_str().ok());
        match nonce.map(str::to_owned) {
            Some(nonce) if first.status() == StatusCode::UNAUTHORIZED => {
                self.ask_gateway(refresh_token, Some(&nonce)).await
            }
            _ => Ok(first),
        }
    }

    /// The pair in an answer of the gateway.
    pub(super) fn renewed(&self, answer: serde_json::Value) -> anyhow::Result<Tokens> {
        let renewed: Renewed =
            serde_json::from_value(answer).context("reading the gateway's answer")?;
        Ok(Tokens {
            access_token: renewed.access_token,
            refresh_token: renewed.refresh_token,
            expires_at: self.now + renewed.expires_in,
            issuer: self.issuer.to_owned(),
        })
    }

    async fn ask_gateway(
        &self,
        refresh_token: &str,
        nonce: Option<&str>,
    ) -> anyhow::Result<Response> {
        let mut proof = Proof::new(&Method::POST, &self.renewal, self.now);
        if let Some(nonce) = nonce {
            proof = proof.claim("nonce", nonce);
        }
        let request = self
            .http
            .post(self.renewal.clone())
            .header(DPOP, proof.sign(self.key)?)
            .header(DEVICE_ID, &self.operator.device_id)
            .json(&json!({"refreshToken": refresh_token}))
            .timeout(WITHIN);
        request.send().await.map_err(|error| no_answer("The gateway", &self.renewal, error))
    }

    async fn ask(&self, form: &[(&str, &str)]) -> anyhow::Result<Tokens> {
        let first = self.post(form, None).await?;
        let nonce = first.headers().get(DPOP_NONCE).and_then(|nonce| nonce.to_str().ok());
        let response = match nonce.map(str::to_owned) {
            Some(nonce) if !first.status().is_success() => self.post(form, Some(&nonce)).await?,
            _ => first,
        };
        let status = response.status();
        let body = response.bytes().await?;
        if !status.is_success() {
            bail!("iam refused the sign-in ({status}): {}", String::from_utf8_lossy(&body));
        }
        let answer: Answer = serde_json::from_slice(&body).context("reading iam's answer")?;
        Ok(Tokens {
            access_token: answer.access_token,
            refresh_token: answer.refresh_token,
            expires_at: self.now + answer.expires_in,
            issuer: self.issuer.to_owned(),
        })
    }

    async fn post(&self, form: &[(&str, &str)], nonce: Option<&str>) -> anyhow::Result<Response> {
        let url = Url::parse(&format!("{}/oauth2/token", self.issuer))?;
        let mut proof = Proof::new(&Method::POST, &url, self.now);
        if let Some(nonce) = nonce {
            proof = proof.claim("nonce", nonce);
        }
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self
            .http
            .post(url.clone())
            .header(DPOP, proof.sign(self.key)?)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .timeout(WITHIN);
        request.send().await.map_err(|error| no_answer("The stand-in iam", &url, error))
    }
}
