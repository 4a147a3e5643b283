//! Outcome of forwarding a mutation: final, then it is stored, or open, then the next repeat may try
//! again.

use axum::response::{IntoResponse, Response};
use contracts::problem::Problem;
use contracts::upstream::Upstream;
use service_kit::problem::{ApiError, ApiResult};
use upstream_clients::CallError;

use super::Forwarded;
use super::idempotency::StoredResponse;
use crate::problems::upstream;

/// Outcome of forwarding.
pub(super) enum Outcome {
    /// Stored, and sent again to every repeat.
    Final(StoredResponse),
    /// A repeat may try again.
    Open { error: ApiError, was_sent: bool },
}

pub(super) fn outcome(upstream: Upstream, forwarded: &Forwarded) -> Outcome {
    let error = match forwarded {
        Ok(reply) => return Outcome::Final(StoredResponse::json(reply.status, reply.body.clone())),
        Err(error) => error,
    };
    let was_sent = !matches!(
        error,
        CallError::NotConfigured | CallError::BreakerOpen | CallError::ConcurrencyLimit
    );
    let error = upstream::problem(upstream, error);
    if is_final(&error.0) {
        return Outcome::Final(StoredResponse::problem(&error.0));
    }
    Outcome::Open { error, was_sent }
}

/// Whether a refusal is final, so that a repeat gets it again. One about this attempt alone is not.
fn is_final(problem: &Problem) -> bool {
    let of_this_attempt = matches!(problem.status, 401 | 408 | 425 | 429);
    let in_flight = problem.status == 409 && problem.retriable;
    (400..500).contains(&problem.status) && !of_this_attempt && !in_flight
}

impl Outcome {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Final(response) if response.status < 400 => "success",
            Self::Final(_) => "refused",
            Self::Open { was_sent: true, .. } => "unknown",
            Self::Open { was_sent: false, .. } => "not_sent",
        }
    }

    pub(super) fn code(&self) -> Option<String> {
        match self {
            Self::Final(response) => {
                response.as_problem().map(|problem: Problem| problem.code.into_owned())
            }
            Self::Open { error, .. } => Some(error.0.code.clone().into_owned()),
        }
    }

    pub(super) fn into_response(self) -> ApiResult<Response> {
        match self {
            Self::Final(response) => Ok(response.into_response()),
            Self::Open { error, .. } => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use contracts::problem::code;

    use super::*;

    fn refused(status: u16, retriable: bool) -> Problem {
        let problem = Problem::new(&code::OCC_CONFLICT, "Somebody else was first. Look again.");
        Problem { status, retriable, ..problem }
    }

    #[test]
    fn only_a_refusal_of_the_request_itself_is_final() {
        for status in [400, 403, 404, 409, 410, 422] {
            assert!(is_final(&refused(status, false)), "{status}");
        }
        for status in [401, 408, 425, 429, 500, 502, 504] {
            assert!(!is_final(&refused(status, false)), "{status}");
        }
        assert!(!is_final(&refused(409, true)), "the upstream is still at it");
    }
}
