//! Client of the gateway's internal listener: gets an identity token for a service account and sends
//! requests with it. For the command line, tests and drills.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use contracts::clock::Clock;
use reqwest::{Client, Method, Response};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::desktop::connection_error;
use crate::http_client::{self, with_form};
use crate::stack_info::{Internal, StackInfo};

const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);
/// A token is replaced when it expires within this time.
const EXPIRY_MARGIN_SECONDS: i64 = 60;

#[derive(Debug)]
pub struct InternalClient {
    http: Client,
    gateway: String,
    internal: Internal,
    clock: Clock,
    tokens: tokio::sync::Mutex<BTreeMap<String, Token>>,
}

#[derive(Debug, Clone)]
struct Token {
    text: String,
    expires_at: i64,
}

#[derive(Deserialize)]
struct TokenResponse {
    id_token: String,
    expires_in: i64,
}

impl InternalClient {
    pub fn new(info: &StackInfo, clock: Clock) -> anyhow::Result<Self> {
        Ok(Self {
            http: http_client::plain()?,
            gateway: info.gateway.internal_url.clone(),
            internal: info.internal.clone(),
            clock,
            tokens: tokio::sync::Mutex::default(),
        })
    }

    /// Sends a request as `account`: `scheduler`, `events`, `operator-a` or `operator-b`.
    pub async fn call(
        &self,
        account: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Response> {
        let url = Url::parse(&format!("{}/{}", self.gateway, path.trim_start_matches('/')))
            .with_context(|| format!("{path} is not a path"))?;
        let token = self.token(account).await?;
        let mut request = self.http.request(method, url.clone()).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let sent = request.timeout(RESPONSE_TIMEOUT).send().await;
        sent.map_err(|error| connection_error("The gateway", &url, error))
    }

    /// Returns an identity token of the account that is valid for at least a minute.
    pub async fn token(&self, account: &str) -> anyhow::Result<String> {
        let mut tokens = self.tokens.lock().await;
        let now = self.clock.unix_seconds();
        if let Some(cached) =
            tokens.get(account).filter(|token| token.expires_at - EXPIRY_MARGIN_SECONDS > now)
        {
            return Ok(cached.text.clone());
        }
        let answer = self.fetch_token(account).await?;
        let text = answer.id_token;
        let expires_at = now + answer.expires_in;
        tokens.insert(account.to_owned(), Token { text: text.clone(), expires_at });
        Ok(text)
    }

    async fn fetch_token(&self, name: &str) -> anyhow::Result<TokenResponse> {
        let known = || self.internal.accounts.keys().cloned().collect::<Vec<_>>().join(", ");
        let account = self.internal.accounts.get(name);
        let account = account.with_context(|| {
            format!("there is no service account {name}: use one of {}", known())
        })?;
        let url = Url::parse(&format!("{}/token", self.internal.issuer))?;
        let form: [(&str, &str); 4] = [
            ("grant_type", "client_credentials"),
            ("client_id", &account.email),
            ("client_secret", &account.secret),
            ("audience", &self.internal.audience),
        ];
        let request = with_form(self.http.post(url.clone()), &form).timeout(RESPONSE_TIMEOUT);
        let sent = request.send().await;
        let answer = sent.map_err(|error| connection_error("The stand-in iam", &url, error))?;
        let status = answer.status();
        let body = answer.bytes().await?;
        if !status.is_success() {
            bail!("the issuer refused {name} ({status}): {}", String::from_utf8_lossy(&body));
        }
        serde_json::from_slice(&body).context("reading the issuer's response")
    }
}
