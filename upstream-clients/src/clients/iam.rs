//! iam: tokens, sessions, the second factor.

use contracts::upstream::Upstream;
use contracts::upstream::iam::{
    AttestRequest, Attested, RefreshRequest, SignOutRequest, TokenResponse,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{CallResult, Upstreams};
use crate::context::CallContext;
use crate::request::Call;

impl Upstreams {
    /// Exchanges a refresh token for new tokens. `context` must carry the gateway's own
    /// credentials.
    pub async fn refresh(
        &self,
        context: &CallContext,
        request: &RefreshRequest,
    ) -> CallResult<TokenResponse> {
        self.post_to_iam(context, "/api/v1/auth/refresh", request).await
    }

    /// Ends the caller's session.
    pub async fn sign_out(
        &self,
        context: &CallContext,
        request: &SignOutRequest,
    ) -> CallResult<()> {
        self.post_to_iam(context, "/api/v1/auth/sign-out", request).await
    }

    /// Checks the caller's second factor, once.
    pub async fn attest(
        &self,
        context: &CallContext,
        request: &AttestRequest,
    ) -> CallResult<Attested> {
        self.post_to_iam(context, "/api/v1/auth/mfa/attest", request).await
    }

    async fn post_to_iam<T: DeserializeOwned>(
        &self,
        context: &CallContext,
        path: &str,
        request: &impl Serialize,
    ) -> CallResult<T> {
        let body = serde_json::to_vec(request).expect("requests are plain JSON").into();
        let call = Call { path, body, idempotency_key: None };
        Ok(self.stack(Upstream::Iam)?.post(context, &call).await?.value)
    }
}
