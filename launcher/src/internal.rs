//! A faithful caller of the gateway's internal listener: a service account that asks the issuer for
//! an identity token and sends it. For the command line and for drills.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use contracts::clock::Clock;
use reqwest::{Client, Method, Response};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::desktop::no_answer;
use crate::http_client;
use crate::info::{Internal, StackInfo};

const WITHIN: Duration = Duration::from_secs(20);
/// A token this close to its end is replaced, seconds.
const SPARE: i64 = 60;

#[derive(Debug)]
pub struct Caller {
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
struct Answer {
    id_token: String,
    expires_in: i64,
}

impl Caller {
    pub fn new(info: &StackInfo, clock: Clock) -> anyhow::Result<Self> {
        Ok(Self {
            http: http_client::plain()?,
            gateway: info.gateway.internal_url.clone(),
            internal: info.internal.clone(),
            clock,
            tokens: tokio::sync::Mutex::default(),
        })
    }

    /// Sends as the account of this name: `scheduler`, `events`, `operator-a`, `operator-b`.
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
        let sent = request.timeout(WITHIN).send().await;
        sent.map_err(|error| no_answer("The gateway", &url, error))
    }

    /// An identity token of the account for the gateway, good for at least a minute.
    pub async fn token(&self, account: &str) -> anyhow::Result<String> {
        let mut tokens = self.tokens.lock().await;
        let now = self.clock.unix_seconds();
        if let Some(kept) = tokens.get(account).filter(|token| token.expires_at - SPARE > now) {
            return Ok(kept.text.clone());
        }
        let answer = self.ask(account).await?;
        let text = answer.id_token;
        let expires_at = now + answer.expires_in;
        tokens.insert(account.to_owned(), Token { text: text.clone(), expires_at });
        Ok(text)
    }

    async fn ask(&self, name: &str) -> anyhow::Result<Answer> {
        let known = || self.internal.accounts.keys().cloned().collect::<Vec<_>>().join(", ");
        let account = self.internal.accounts.get(name);
        let account = account.with_context(|| {
            format!("there is no service account {name}: take one of {}", known())
        })?;
        let url = Url::parse(&format!("{}/token", self.internal.issuer))?;
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &account.email),
            ("client_secret", &account.secret),
            ("audience", &self.internal.audience),
        ];
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self
            .http
            .post(url.clone())
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .timeout(WITHIN);
        let answer =
            request.send().await.map_err(|error| no_answer("The stand-in iam", &url, error))?;
        let status = answer.status();
        let body = answer.bytes().await?;
        if !status.is_success() {
            bail!("the issuer refused {name} ({status}): {}", String::from_utf8_lossy(&body));
        }
        serde_json::from_slice(&body).context("reading the issuer's answer")
    }
}
