//! Responses to refused requests, and the headers of every authenticated response.

use std::sync::Arc;

use auth::edge::{AuthError, Authenticator};
use auth::proof::{ALGORITHMS, ProofError};
use auth::token::TokenError;
use axum::response::{IntoResponse, Response};
use contracts::headers;
use contracts::id::TenantId;
use contracts::problem::{Problem, code};
use http::header::{CACHE_CONTROL, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use metrics::counter;
use service_kit::problem::ApiError;

use crate::config::ATTESTATION_LIFETIME;

/// Why a request is refused, in the order of gateway-api section 3.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error("the session was revoked: {0}")]
    Revoked(Arc<str>),
    #[error("the token is older than any may be")]
    TooOld,
    #[error("the session is another operator's, device's or key's")]
    OtherSession,
    #[error("the session has already ended")]
    AlreadySignedOut,
    #[error("the tenant is suspended")]
    Suspended(TenantId),
}

/// Adds the challenge to a 401 and the next nonce.
pub(crate) fn add_auth_headers(authenticator: &Authenticator, response: &mut Response) {
    if response.status() == StatusCode::UNAUTHORIZED
        && !response.headers().contains_key(WWW_AUTHENTICATE)
    {
        let challenge = challenge_for(response);
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    if let Some(nonce) = authenticator.nonce() {
        add_nonce(&nonce, response.headers_mut());
    }
}

/// Builds the challenge for a handler's 401 (RFC 9110 section 15.5.2).
fn challenge_for(response: &Response) -> HeaderValue {
    let algorithms = ALGORITHMS.join(" ");
    let code =
        response.extensions().get::<ApiError>().map_or("", |ApiError(problem)| &problem.code);
    let challenge = second_factor_challenge(code, &algorithms)
        .unwrap_or_else(|| format!(r#"DPoP algs="{algorithms}""#));
    challenge.parse().expect("a challenge is ASCII")
}

/// RFC 9470 section 3, where the code asks for a second factor.
fn second_factor_challenge(code: &str, algorithms: &str) -> Option<String> {
    let asks = [&code::MFA_REQUIRED, &code::MFA_INVALID_OR_USED].map(|code| code.name);
    let max_age = ATTESTATION_LIFETIME.as_secs();
    asks.contains(&code).then(|| {
        format!(
            r#"DPoP error="insufficient_user_authentication", error_description="A fresh second factor is required", max_age="{max_age}", algs="{algorithms}""#
        )
    })
}

/// Adds the nonce for the next proof (RFC 9449 section 8.2). No cache may store it.
fn add_nonce(nonce: &str, answer: &mut HeaderMap) {
    let nonce = HeaderValue::from_str(nonce).expect("a nonce is base64url");
    answer.insert(headers::DPOP_NONCE, nonce);
    answer.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// Responds to a request whose proof or headers were refused.
pub(crate) fn refusal_response(error: AuthError) -> Response {
    refusal(error.into())
}

/// Builds the response of gateway-api section 3, with the challenge of RFC 9449 section 7.1.
pub(super) fn refusal(refusal: Refusal) -> Response {
    if matches!(refusal, Refusal::AlreadySignedOut) {
        return StatusCode::NO_CONTENT.into_response();
    }
    tracing::info!(reason = %refusal, "A request was refused.");
    let (problem, challenge) = match refusal {
        Refusal::Auth(error) => {
            if error == AuthError::Proof(ProofError::Replayed) {
                counter!("bff_backoffice_dpop_replay_blocked_total").increment(1);
            }
            (problem(error), challenge(error))
        }
        Refusal::Revoked(_) | Refusal::AlreadySignedOut => (
            session_ended("Your session was ended. Sign in again."),
            challenge(AuthError::Token(TokenError::Expired)),
        ),
        Refusal::TooOld => (
            session_ended("The access token is too old. Refresh it."),
            challenge(AuthError::Token(TokenError::Expired)),
        ),
        Refusal::OtherSession => (
            Problem::new(
                &code::DEVICE_MISMATCH,
                "The token names a session of another device or operator. Sign in again.",
            ),
            None,
        ),
        Refusal::Suspended(tenant) => (
            Problem::new(
                &code::TENANT_SUSPENDED,
                "Your company's account is suspended. Contact its administrator.",
            )
            .with_tenant(tenant),
            None,
        ),
    };
    let mut response = ApiError::from(problem).into_response();
    if let Some(challenge) = challenge {
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, challenge.parse().expect("a challenge is ASCII"));
    }
    response
}

pub(crate) fn session_ended(detail: &'static str) -> Problem {
    Problem::new(&code::SESSION_EXPIRED, detail)
}

fn problem(error: AuthError) -> Problem {
    match error {
        AuthError::NoCredentials => Problem::new(
            &code::SESSION_REQUIRED,
            "Sign in, then send the access token as `Authorization: DPoP …` with a DPoP proof.",
        ),
        AuthError::SeveralCredentials => {
            Problem::new(&code::MALFORMED_REQUEST, "Send one Authorization header, not several.")
        }
        AuthError::Scheme => Problem::new(
            &code::TOKEN_INVALID,
            "Send the token with the DPoP scheme; it is bound to your device's key.",
        ),
        AuthError::Proof(reason) => Problem::new(
            &code::DPOP_INVALID,
            format!("The proof was not accepted: {reason}. Make a new proof for this request."),
        ),
        AuthError::Token(TokenError::Expired) => {
            session_ended("The access token has expired. Refresh it.")
        }
        AuthError::Token(reason) => Problem::new(
            &code::TOKEN_INVALID,
            format!("The access token was not accepted: {reason}. Sign in again."),
        ),
        AuthError::Device => Problem::new(
            &code::DEVICE_MISMATCH,
            "Send X-Device-Id with the device the token was issued to.",
        ),
        AuthError::KeysUnavailable => Problem::new(
            &code::UPSTREAM_UNAVAILABLE,
            "The sign-in service is unavailable. Try again in a few seconds.",
        ),
    }
}

/// No error code when no credentials were sent (RFC 6750 section 3.1).
fn challenge(error: AuthError) -> Option<String> {
    let error = match error {
        AuthError::NoCredentials => "",
        AuthError::Proof(reason) if reason.asks_for_nonce() => r#"error="use_dpop_nonce", "#,
        AuthError::Proof(_) => r#"error="invalid_dpop_proof", "#,
        AuthError::Token(_) | AuthError::Scheme => r#"error="invalid_token", "#,
        _ => return None,
    };
    Some(format!(r#"DPoP {error}algs="{}""#, ALGORITHMS.join(" ")))
}
