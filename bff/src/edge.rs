//! Authentication and permissions. Every API request needs a token bound to the device's key and a
//! fresh proof. A handler states its permission in its signature, as [`InProperty`] or [`Caller`].

use std::marker::PhantomData;
use std::sync::Arc;

use auth::Principal;
use auth::edge::{AdmitOutcome, AuthError, SessionClaim, StoredSession};
use auth::proof::ProofError;
use auth::verifier::Verified;
use axum::extract::{FromRequestParts, OptionalFromRequestParts, OriginalUri, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use contracts::id::PropertyId;
use contracts::problem::{Problem, code};
use contracts::safeguard;
use http::HeaderMap;
use http::request::Parts;
use serde::Deserialize;
use service_kit::extract::Query;
use service_kit::problem::ApiError;
use service_kit::request::RequestContext;

pub(crate) use crate::caller_context::CallerContext;
use crate::paths::BASE_PATH;
use crate::sessions::revocation::is_too_old;
use crate::sessions::{ProfileState, Session, details};
use crate::state::Gateway;
pub(crate) use permissions::{Permission, SignedIn};

pub(crate) mod permissions;
pub(crate) mod proof_only;
mod refusal;

use refusal::{Refusal, refusal};
pub(crate) use refusal::{add_auth_headers, refusal_response, session_ended};

/// An authenticated request.
struct AuthenticatedRequest {
    principal: Principal,
    /// `None` while the session store is unavailable.
    session: Option<Session>,
    profile: ProfileState,
}

/// Middleware around the API: authenticates the request or responds with the problem of the first
/// failed check. Handlers get the principal through an extractor.
pub(crate) async fn authenticate(
    State(gateway): State<Gateway>,
    OriginalUri(uri): OriginalUri,
    mut request: Request,
    next: Next,
) -> Response {
    let context = request.extensions().get();
    let line = RequestLine { method: request.method().as_str(), path: uri.path() };
    let mut response = match authenticate_request(&gateway, line, request.headers(), context).await
    {
        Ok(authenticated) => {
            authenticated.attach_to(&mut request);
            next.run(request).await
        }
        Err(Refusal::Auth(AuthError::NoCredentials)) if !safeguard!(Authentication) => {
            next.run(request).await
        }
        Err(error) => refusal(error),
    };
    add_auth_headers(&gateway.authenticator, &mut response);
    response
}

/// Method and path of a request, which a proof names.
#[derive(Debug, Clone, Copy)]
struct RequestLine<'a> {
    method: &'a str,
    path: &'a str,
}

/// Checks the proof and token, the session, the device, then the tenant. The proof is consumed
/// last.
async fn authenticate_request(
    gateway: &Gateway,
    line: RequestLine<'_>,
    headers: &HeaderMap,
    context: Option<&RequestContext>,
) -> Result<AuthenticatedRequest, Refusal> {
    let verified = gateway.authenticator.verify(line.method, line.path, headers).await?;
    let live = gateway.revocations.live();
    let is_sign_out = is_sign_out(line);
    if let Some(reason) = live.against(&verified.principal) {
        if is_sign_out {
            return Err(already_signed_out(gateway, verified, headers).await);
        }
        return Err(Refusal::Revoked(reason));
    }
    if is_too_old(&verified.principal, gateway.authenticator.clock.now()) {
        return Err(Refusal::TooOld);
    }
    if safeguard!(DeviceBinding) {
        verified.check_device(headers)?;
    }
    let details = details(headers);
    let claim = SessionClaim::of(&verified.principal, gateway.env.new_id(), &details);
    let profile = gateway.profiles.lookup(&verified.principal, context).await;
    if safeguard!(TenantSuspension) && gateway.tenant_statuses.is_suspended(claim.tenant) {
        check_admission(gateway.authenticator.peek(&verified, &claim).await)?;
        return Err(Refusal::Suspended(claim.tenant));
    }
    let admission = gateway.authenticator.admit(&verified, &claim).await;
    if is_sign_out && admission == AdmitOutcome::Ended {
        return Err(already_signed_out(gateway, verified, headers).await);
    }
    let held = check_admission(admission)?;
    let session = held.map(|held| Session::of(&claim, held));
    let ended_by = session
        .as_ref()
        .and_then(|session| live.ended(session.tenant, session.id, claim.issued_at));
    match ended_by {
        Some(_) if is_sign_out => Err(Refusal::AlreadySignedOut),
        Some(reason) => Err(Refusal::Revoked(reason)),
        None => Ok(AuthenticatedRequest {
            principal: profile.narrow(verified.principal),
            session,
            profile,
        }),
    }
}

/// Checks a sign-out whose session has already ended: device and proof must be valid as for the
/// first.
async fn already_signed_out(gateway: &Gateway, verified: Verified, headers: &HeaderMap) -> Refusal {
    if safeguard!(DeviceBinding)
        && let Err(error) = verified.check_device(headers)
    {
        return error.into();
    }
    let consumed = gateway.authenticator.consume_proof(verified.replay).await;
    consumed.map_or_else(|error| Refusal::Auth(error.into()), |()| Refusal::AlreadySignedOut)
}

fn check_admission(admission: AdmitOutcome) -> Result<Option<StoredSession>, Refusal> {
    match admission {
        AdmitOutcome::Admitted(held) => Ok(held),
        AdmitOutcome::Replayed => Err(AuthError::Proof(ProofError::Replayed).into()),
        AdmitOutcome::Mismatch => Err(Refusal::OtherSession),
        AdmitOutcome::Ended => Err(Refusal::Revoked("the session was ended".into())),
    }
}

impl AuthenticatedRequest {
    /// Stores the caller in the request's extensions, for extractors, log and metrics.
    fn attach_to(self, request: &mut Request) {
        let extensions = request.extensions_mut();
        if let Some(context) = extensions.get::<RequestContext>() {
            context.note_caller(&self.principal);
        }
        extensions.insert(self.profile);
        let unstored = || (!safeguard!(LiveSession)).then(|| Session::unstored(&self.principal));
        if let Some(session) = self.session.or_else(unstored) {
            extensions.insert(Arc::new(session));
        }
        extensions.insert(Arc::new(self.principal));
    }
}

/// Below the base path.
const SIGN_OUT_PATH: &str = "/auth/sign-out";

/// Whether the request is a sign-out, which also succeeds when the session has ended already.
fn is_sign_out(line: RequestLine<'_>) -> bool {
    line.method == "POST" && line.path.strip_prefix(BASE_PATH) == Some(SIGN_OUT_PATH)
}

/// A caller with this permission.
#[derive(Debug, Clone)]
pub(crate) struct Caller<P> {
    pub principal: Arc<Principal>,
    permission: PhantomData<P>,
}

/// A caller with this permission in the property the query names.
#[derive(Debug, Clone)]
pub(crate) struct InProperty<P> {
    pub caller: Caller<P>,
    pub property: PropertyId,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct PropertyQuery {
    /// The property shown; it must be in the caller's scope.
    #[param(value_type = String, required = true)]
    property_id: Option<String>,
}

impl<S: Send + Sync, P: Permission> FromRequestParts<S> for Caller<P> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let principal = principal(parts)?;
        if !principal.roles.intersects(P::ROLES) {
            return Err(ApiError::new(
                &code::ROLE_FORBIDDEN,
                "Your role does not permit this. Ask a manager.",
            ));
        }
        Ok(Self { principal, permission: PhantomData })
    }
}

impl<S: Send + Sync, P: Permission> FromRequestParts<S> for InProperty<P> {
    type Rejection = ApiError;

    /// Checks the scope before the role, as the decision order requires.
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(query) = Query::<PropertyQuery>::from_request_parts(parts, state).await?;
        let given = query.property_id.ok_or_else(|| {
            Problem::field(
                "query.propertyId",
                "REQUIRED",
                "Send the query parameter propertyId, in the form ppt_<ULID>.",
            )
        })?;
        let property: PropertyId = given.parse().map_err(|_| {
            Problem::field("query.propertyId", "INVALID", "propertyId has the form ppt_<ULID>.")
        })?;
        if safeguard!(PropertyScope) && !principal(parts)?.covers(property) {
            return Err(ApiError::new(
                &code::PROPERTY_OUT_OF_SCOPE,
                "You do not have access to this property. Ask a manager for access.",
            ));
        }
        Ok(Self { caller: Caller::from_request_parts(parts, state).await?, property })
    }
}

/// The session of this request, for mutations and streams; 503 while the session store is
/// unavailable. Comes after the permission in a handler's signature, as the decision order
/// requires.
#[derive(Debug, Clone)]
pub(crate) struct LiveSession(pub Arc<Session>);

impl<S: Send + Sync> FromRequestParts<S> for LiveSession {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Arc<Session>>().cloned().map(Self).ok_or_else(|| {
            ApiError::new(
                &code::CACHE_UNAVAILABLE,
                "The session store is unavailable, so only reads are possible. Try again in a few seconds.",
            )
        })
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for LiveSession {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, ApiError> {
        Ok(parts.extensions.get::<Arc<Session>>().cloned().map(Self))
    }
}

/// The caller's profile; always present behind [`authenticate`].
impl<S: Send + Sync> FromRequestParts<S> for ProfileState {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let state = parts.extensions.get::<Self>().cloned();
        state.ok_or_else(|| ApiError::new(&code::INTERNAL, "The request has no caller."))
    }
}

/// Returns the principal that [`authenticate`] stored; without the middleware the request is
/// refused.
fn principal(parts: &Parts) -> Result<Arc<Principal>, ApiError> {
    parts.extensions.get::<Arc<Principal>>().cloned().ok_or_else(|| {
        ApiError::new(
            &code::SESSION_REQUIRED,
            "Sign in, then send the access token with a DPoP proof.",
        )
    })
}

impl FromRequestParts<Gateway> for CallerContext {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, gateway: &Gateway) -> Result<Self, ApiError> {
        let principal = principal(parts)?;
        let context = parts.extensions.get::<RequestContext>().cloned();
        let context =
            context.ok_or_else(|| ApiError::new(&code::INTERNAL, "The request has no context."))?;
        Ok(Self::new(context, Arc::clone(&gateway.request_tokens), principal))
    }
}
