//! Sign-in at iam and token refresh through the gateway.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use contracts::headers::{DEVICE_ID, DPOP, DPOP_NONCE};
use reqwest::{Client, Method, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use super::connection_error;
use super::key::DeviceKey;
use super::proof::Proof;
use crate::data_dir::write_private;
use crate::stack_info::Operator;

/// A token is replaced when it expires within this time.
const EXPIRY_MARGIN_SECONDS: i64 = 30;
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tokens {
    pub access_token: String,
    pub refresh_token: String,
    /// Unix seconds.
    pub expires_at: i64,
    pub issuer: String,
}

impl Tokens {
    /// Loads stored tokens, unless another issuer issued them.
    pub(super) fn load(file: &Path, issuer: &str) -> Option<Self> {
        let tokens: Self = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
        (tokens.issuer == issuer).then_some(tokens)
    }

    pub(super) fn save(&self, file: &Path) -> anyhow::Result<()> {
        write_private(file, &serde_json::to_vec(self)?)
    }

    pub(super) fn is_good(&self, now: i64) -> bool {
        self.expires_at - EXPIRY_MARGIN_SECONDS > now
    }
}

#[derive(Deserialize)]
struct TokenResponse {
    access_token: String,
    refresh_token: String,
    expires_in: i64,
}

/// The gateway's response to a refresh.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RefreshResponse {
    access_token: String,
    refresh_token: String,
    expires_in: i64,
}

pub(super) struct SignIn<'a> {
    pub(super) http: &'a Client,
    /// The gateway's `/auth/refresh`.
    pub(super) refresh_url: Url,
    pub(super) issuer: &'a str,
    pub(super) operator: &'a Operator,
    pub(super) key: &'a DeviceKey,
    pub(super) now: i64,
}

impl SignIn<'_> {
    /// Refreshes earlier tokens if that works, otherwise signs in with the password.
    pub(super) async fn obtain(&self, earlier: Option<&Tokens>) -> anyhow::Result<Tokens> {
        if let Some(earlier) = earlier
            && let Ok(tokens) = self.renew(&earlier.refresh_token).await
        {
            return Ok(tokens);
        }
        let operator = self.operator;
        self.request_tokens(&[
            ("grant_type", "password"),
            ("username", &operator.username),
            ("password", &operator.password),
            ("device_id", &operator.device_id),
            ("client_id", "desktop"),
        ])
        .await
    }

    /// Refreshes the tokens through the gateway.
    async fn renew(&self, refresh_token: &str) -> anyhow::Result<Tokens> {
        let response = self.send_refresh(refresh_token).await?;
        self.parse_refreshed(response.error_for_status()?.json().await?)
    }

    /// Sends a refresh token to the gateway, repeating with a nonce if the gateway requires one.
    pub(super) async fn send_refresh(&self, refresh_token: &str) -> anyhow::Result<Response> {
        let first = self.post_refresh(refresh_token, None).await?;
        let nonce = first.headers().get(DPOP_NONCE).and_then(|nonce| nonce.to_str().ok());
        match nonce.map(str::to_owned) {
            Some(nonce) if first.status() == StatusCode::UNAUTHORIZED => {
                self.post_refresh(refresh_token, Some(&nonce)).await
            }
            _ => Ok(first),
        }
    }

    /// Parses the tokens in the gateway's response.
    pub(super) fn parse_refreshed(&self, answer: serde_json::Value) -> anyhow::Result<Tokens> {
        let renewed: RefreshResponse =
            serde_json::from_value(answer).context("reading the gateway's answer")?;
        Ok(Tokens {
            access_token: renewed.access_token,
            refresh_token: renewed.refresh_token,
            expires_at: self.now + renewed.expires_in,
            issuer: self.issuer.to_owned(),
        })
    }

    async fn post_refresh(
        &self,
        refresh_token: &str,
        nonce: Option<&str>,
    ) -> anyhow::Result<Response> {
        let mut proof = Proof::new(&Method::POST, &self.refresh_url, self.now);
        if let Some(nonce) = nonce {
            proof = proof.claim("nonce", nonce);
        }
        let request = self
            .http
            .post(self.refresh_url.clone())
            .header(DPOP, proof.sign(self.key)?)
            .header(DEVICE_ID, &self.operator.device_id)
            .json(&json!({"refreshToken": refresh_token}))
            .timeout(RESPONSE_TIMEOUT);
        request
            .send()
            .await
            .map_err(|error| connection_error("The gateway", &self.refresh_url, error))
    }

    async fn request_tokens(&self, form: &[(&str, &str)]) -> anyhow::Result<Tokens> {
        let first = self.post_token_request(form, None).await?;
        let nonce = first.headers().get(DPOP_NONCE).and_then(|nonce| nonce.to_str().ok());
        let response = match nonce.map(str::to_owned) {
            Some(nonce) if !first.status().is_success() => {
                self.post_token_request(form, Some(&nonce)).await?
            }
            _ => first,
        };
        let status = response.status();
        let body = response.bytes().await?;
        if !status.is_success() {
            bail!("iam refused the sign-in ({status}): {}", String::from_utf8_lossy(&body));
        }
        let answer: TokenResponse =
            serde_json::from_slice(&body).context("reading iam's answer")?;
        Ok(Tokens {
            access_token: answer.access_token,
            refresh_token: answer.refresh_token,
            expires_at: self.now + answer.expires_in,
            issuer: self.issuer.to_owned(),
        })
    }

    async fn post_token_request(
        &self,
        form: &[(&str, &str)],
        nonce: Option<&str>,
    ) -> anyhow::Result<Response> {
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
            .timeout(RESPONSE_TIMEOUT);
        request.send().await.map_err(|error| connection_error("The stand-in iam", &url, error))
    }
}
