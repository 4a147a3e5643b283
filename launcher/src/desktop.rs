//! A faithful desktop: one device with its own key, signed in as one operator, that
//! sends every request with a fresh proof of possession (RFC 9449).
//!
//! Its parts are public so that tests and drills can present wrong proofs.
//! Not here: what the gateway checks. Nothing is shared with the verifying side.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use contracts::clock::Clock;
use contracts::headers::{DEVICE_ID, DPOP, DPOP_NONCE};
use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use stand_ins::totp;
use url::Url;

use crate::http_client;
use crate::info::{Operator, StackInfo};
use crate::obstacle::Obstacle;

mod key;
mod proof;
mod session;

pub use key::DeviceKey;
pub use proof::Proof;
pub use session::Tokens;

/// No answer of the gateway takes this long, streams excepted.
const WITHIN: Duration = Duration::from_secs(20);

/// One request as an operator means it.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: Method,
    /// Relative to the API's base, with its query: `/dashboard?propertyId=…`.
    pub path: String,
    pub headers: HeaderMap,
    pub json: Option<serde_json::Value>,
    /// `None`: no limit, for streams.
    pub within: Option<Duration>,
}

impl Call {
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        let (path, headers) = (path.into(), HeaderMap::new());
        Self { method, path, headers, json: None, within: Some(WITHIN) }
    }

    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }
}

/// A refused connection is an obstacle; anything else keeps its causes.
pub(crate) fn no_answer(name: &'static str, url: &Url, error: reqwest::Error) -> anyhow::Error {
    let told = anyhow::Error::from(error);
    if told.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_connect) {
        return told.context(Obstacle::NoAnswer { name, url: url.to_string() });
    }
    told.context(format!("asking {url}"))
}

#[derive(Debug)]
pub struct Desktop {
    http: Client,
    base: Url,
    issuer: String,
    operator: Operator,
    key: DeviceKey,
    token_file: PathBuf,
    clock: Clock,
    /// The gateway's latest nonce, sent with every proof once it has asked for one.
    nonce: Mutex<Option<String>>,
    tokens: tokio::sync::Mutex<Option<Tokens>>,
}

impl Desktop {
    /// The desktop of `username`. Its key and tokens are kept in `folder`.
    pub fn open(
        info: &StackInfo,
        username: &str,
        folder: &Path,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let operator = info.operator(username)?.clone();
        let key = DeviceKey::load_or_make(&folder.join(format!("{}.jwk", operator.device_id)))?;
        Ok(Self {
            http: http_client::trusting(&info.ca_file)?,
            base: Url::parse(&info.gateway.api_url)?,
            issuer: info.iam.issuer.clone(),
            token_file: folder.join(format!("{username}.token")),
            operator,
            key,
            clock,
            nonce: Mutex::new(None),
            tokens: tokio::sync::Mutex::new(None),
        })
    }

    pub fn operator(&self) -> &Operator {
        &self.operator
    }

    pub fn key(&self) -> &DeviceKey {
        &self.key
    }

    /// The client, which trusts only the stack's own authority.
    pub fn http(&self) -> &Client {
        &self.http
    }

    /// Full URL of a path relative to the API's base.
    pub fn url(&self, path: &str) -> anyhow::Result<Url> {
        let joined = format!(
            "{}/{}",
            self.base.as_str().trim_end_matches('/'),
            path.trim_start_matches('/')
        );
        Url::parse(&joined).with_context(|| format!("{path} is not a path"))
    }

    /// A token that is good for at least half a minute.
    pub async fn access_token(&self) -> anyhow::Result<String> {
        let mut tokens = self.tokens.lock().await;
        if tokens.is_none() {
            *tokens = Tokens::load(&self.token_file, &self.issuer);
        }
        let now = self.clock.unix_seconds();
        let fresh = match tokens.take() {
            Some(current) if current.is_good(now) => current,
            earlier => {
                let new = self.signing_in(now)?.obtain(earlier.as_ref()).await?;
                new.save(&self.token_file)?;
                new
            }
        };
        let token = fresh.access_token.clone();
        *tokens = Some(fresh);
        Ok(token)
    }

    fn signing_in(&self, now: i64) -> anyhow::Result<session::SignIn<'_>> {
        Ok(session::SignIn {
            http: &self.http,
            renewal: self.url("/auth/refresh")?,
            issuer: &self.issuer,
            operator: &self.operator,
            key: &self.key,
            now,
        })
    }

    /// Asks the gateway for a new pair before the old one ends, and keeps what it is given. Its
    /// status and body, whatever they are; it never falls back to the password.
    pub async fn renew(&self) -> anyhow::Result<(u16, serde_json::Value)> {
        self.access_token().await?;
        let mut tokens = self.tokens.lock().await;
        let current = tokens.as_ref().context("there is no refresh token")?;
        let signing_in = self.signing_in(self.clock.unix_seconds())?;
        let response = signing_in.answer(&current.refresh_token).await?;
        let status = response.status().as_u16();
        let body: serde_json::Value = response.json().await?;
        if status == 200 {
            let new = signing_in.renewed(body.clone())?;
            new.save(&self.token_file)?;
            *tokens = Some(new);
        }
        Ok((status, body))
    }

    /// What the operator's authenticator showed in the period before, shows now, and shows next:
    /// iam takes each of them once.
    pub fn codes(&self) -> anyhow::Result<[String; 3]> {
        let now = totp::step(self.clock.now());
        let code = |step| totp::code(&self.operator.totp_secret, step);
        Ok([code(now - 1)?, code(now)?, code(now + 1)?])
    }

    /// Forgets the tokens, here and on disk, so that the next request signs in.
    pub async fn forget_tokens(&self) -> anyhow::Result<()> {
        *self.tokens.lock().await = None;
        crate::run_as::remove_any(&self.token_file)
    }

    /// A fresh proof for one request with `token`.
    pub fn proof(&self, method: &Method, url: &Url, token: &str) -> Proof {
        let proof = Proof::new(method, url, self.clock.unix_seconds()).for_token(token);
        match self.nonce.lock().unwrap_or_else(PoisonError::into_inner).as_deref() {
            Some(nonce) => proof.claim("nonce", nonce),
            None => proof,
        }
    }

    /// Sends with token and proof. When the gateway asks for a nonce, or refuses a token
    /// that was kept from before, it is done once more with what was missing.
    pub async fn send(&self, call: &Call) -> anyhow::Result<Response> {
        let first = self.attempt(call).await?;
        if first.status() != StatusCode::UNAUTHORIZED {
            return Ok(first);
        }
        if !self.keep_nonce(&first) {
            self.forget_tokens().await?;
        }
        self.attempt(call).await
    }

    async fn attempt(&self, call: &Call) -> anyhow::Result<Response> {
        let url = self.url(&call.path)?;
        let token = self.access_token().await?;
        let proof = self.proof(&call.method, &url, &token).sign(&self.key)?;
        let request = self.request(call, &token, &proof)?;
        request.send().await.map_err(|error| no_answer("The gateway", &url, error))
    }

    /// The request with any token and proof, right or wrong.
    pub fn request(&self, call: &Call, token: &str, proof: &str) -> anyhow::Result<RequestBuilder> {
        let mut request = self
            .http
            .request(call.method.clone(), self.url(&call.path)?)
            .header(AUTHORIZATION, format!("DPoP {token}"))
            .header(DPOP, proof)
            .header(DEVICE_ID, &self.operator.device_id)
            .headers(call.headers.clone());
        if let Some(json) = &call.json {
            request = request.json(json);
        }
        if let Some(within) = call.within {
            request = request.timeout(within);
        }
        Ok(request)
    }

    /// True when the refusal was for want of a nonce.
    fn keep_nonce(&self, response: &Response) -> bool {
        let Some(nonce) = response.headers().get(DPOP_NONCE).and_then(|n| n.to_str().ok()) else {
            return false;
        };
        let mut kept = self.nonce.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Some(nonce.to_owned());
        true
    }
}
