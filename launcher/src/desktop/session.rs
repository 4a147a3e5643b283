//! Sign-in at iam and token refresh through the gateway.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use contracts::headers::{DEVICE_ID, DPOP, DPOP_NONCE};
use reqwest::{Method, RequestBuilder, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use super::proof::Proof;
use super::{Desktop, connection_error};
use crate::data_dir::{read_json, write_json};
use crate::http_client::with_form;

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
        read_json(file).filter(|tokens: &Self| tokens.issuer == issuer)
    }

    pub(super) fn save(&self, file: &Path) -> anyhow::Result<()> {
        write_json(file, self)
    }

    pub(super) fn is_good(&self, now: i64) -> bool {
        self.expires_at - EXPIRY_MARGIN_SECONDS > now
    }
}

/// The response of iam's token endpoint, or of the gateway to a refresh, which has camel case names.
#[derive(Deserialize)]
struct TokenResponse {
    #[serde(alias = "accessToken")]
    access_token: String,
    #[serde(alias = "refreshToken")]
    refresh_token: String,
    #[serde(alias = "expiresIn")]
    expires_in: i64,
}

impl Desktop {
    /// Refreshes earlier tokens if that works, otherwise signs in with the password.
    pub(super) async fn obtain(&self, earlier: Option<&Tokens>) -> anyhow::Result<Tokens> {
        if let Some(earlier) = earlier
            && let Ok(tokens) = self.refresh(&earlier.refresh_token).await
        {
            return Ok(tokens);
        }
        let url = Url::parse(&format!("{}/oauth2/token", self.issuer))?;
        let form: [(&str, &str); 5] = [
            ("grant_type", "password"),
            ("username", &self.operator.username),
            ("password", &self.operator.password),
            ("device_id", &self.operator.device_id),
            ("client_id", "desktop"),
        ];
        let request = with_form(self.http.post(url.clone()), &form);
        let response = self.send_proven("The stand-in iam", &url, request).await?;
        let status = response.status();
        let body = response.bytes().await?;
        if !status.is_success() {
            bail!("iam refused the sign-in ({status}): {}", String::from_utf8_lossy(&body));
        }
        self.parse_tokens(serde_json::from_slice(&body).context("reading iam's response")?)
    }

    /// Refreshes the tokens through the gateway.
    async fn refresh(&self, refresh_token: &str) -> anyhow::Result<Tokens> {
        let response = self.send_refresh(refresh_token).await?;
        self.parse_tokens(response.error_for_status()?.json().await?)
    }

    /// Sends a refresh token to the gateway.
    pub(super) async fn send_refresh(&self, refresh_token: &str) -> anyhow::Result<Response> {
        let url = self.url("/auth/refresh")?;
        let request = self.http.post(url.clone()).header(DEVICE_ID, &self.operator.device_id);
        let request = request.json(&json!({"refreshToken": refresh_token}));
        self.send_proven("The gateway", &url, request).await
    }

    /// Parses the tokens in a response.
    pub(super) fn parse_tokens(&self, response: serde_json::Value) -> anyhow::Result<Tokens> {
        let response: TokenResponse =
            serde_json::from_value(response).context("reading the tokens of a response")?;
        Ok(Tokens {
            access_token: response.access_token,
            refresh_token: response.refresh_token,
            expires_at: self.clock.unix_seconds() + response.expires_in,
            issuer: self.issuer.clone(),
        })
    }

    /// Sends a request with a proof, and again with a nonce if the server requires one.
    async fn send_proven(
        &self,
        server: &'static str,
        url: &Url,
        request: RequestBuilder,
    ) -> anyhow::Result<Response> {
        let first = self.attempt_proven(server, url, &request, None).await?;
        let nonce = first.headers().get(DPOP_NONCE).and_then(|nonce| nonce.to_str().ok());
        match nonce.map(str::to_owned) {
            // RFC 9449: 400 of an authorization server (section 8), 401 of a resource server (9).
            Some(nonce) if matches!(first.status().as_u16(), 400 | 401) => {
                self.attempt_proven(server, url, &request, Some(&nonce)).await
            }
            _ => Ok(first),
        }
    }

    async fn attempt_proven(
        &self,
        server: &'static str,
        url: &Url,
        request: &RequestBuilder,
        nonce: Option<&str>,
    ) -> anyhow::Result<Response> {
        let mut proof = Proof::new(&Method::POST, url, self.clock.unix_seconds());
        if let Some(nonce) = nonce {
            proof = proof.claim("nonce", nonce);
        }
        let request = request.try_clone().context("a stream cannot be sent again")?;
        let request = request.header(DPOP, proof.sign(&self.key)?).timeout(RESPONSE_TIMEOUT);
        request.send().await.map_err(|error| connection_error(server, url, error))
    }
}
