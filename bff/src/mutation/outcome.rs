//! What came of forwarding a mutation: a last word, which is kept, or one that leaves the next
//! repeat free to try again.

use axum::response::{IntoResponse, Response};
use contracts::problem::Problem;
use contracts::upstream::Upstream;
use service_kit::problem::{ApiError, ApiResult};
use upstream_clients::{CallError, Reply};

use crate::idempotency::StoredAnswer;
use crate::upstream_problem;

/// What came of forwarding.
pub(super) enum Outcome {
    /// Kept, and given to every repeat.
    Final(StoredAnswer),
    /// A repeat may try again.
    Open { error: ApiError, was_sent: bool },
}

pub(super) fn outcome<T>(upstream: Upstream, called: Result<Reply<T>, CallError>) -> Outcome {
    let error = match called {
        Ok(reply) => return Outcome::Final(StoredAnswer::json(reply.status, reply.body)),
        Err(error) => error,
    };
    let was_sent = !matches!(
        error,
        CallError::NotConfigured | CallError::BreakerOpen | CallError::ConcurrencyLimit
    );
    let error = upstream_problem::problem(upstream, &error);
    if is_final(&error.0) {
        return Outcome::Final(StoredAnswer::problem(&error.0));
    }
    Outcome::Open { error, was_sent }
}

/// Whether a refusal is an upstream's last word: then a repeat gets it again. Never one that speaks
/// of this attempt alone.
fn is_final(problem: &Problem) -> bool {
    let of_this_attempt = matches!(problem.status, 401 | 408 | 425 | 429);
    let in_flight = problem.status == 409 && problem.retriable;
    (400..500).contains(&problem.status) && !of_this_attempt && !in_flight
}

impl Outcome {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Final(answer) if answer.status < 400 => "success",
            Self::Final(_) => "refused",
            Self::Open { was_sent: true, .. } => "unknown",
            Self::Open { was_sent: false, .. } => "not_sent",
        }
    }

    pub(super) fn code(&self) -> Option<String> {
        match self {
            Self::Final(answer) => answer.as_problem().map(|it: Problem| it.code.into_owned()),
            Self::Open { error, .. } => Some(error.0.code.clone().into_owned()),
        }
    }

    pub(super) fn into_answer(self) -> ApiResult<Response> {
        match self {
            Self::Final(answer) => Ok(answer.into_response()),
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
    fn only_a_last_word_is_final() {
        for status in [400, 403, 404, 409, 410, 422] {
            assert!(is_final(&refused(status, false)), "{status}");
        }
        for status in [401, 408, 425, 429, 500, 502, 504] {
            assert!(!is_final(&refused(status, false)), "{status}");
        }
        assert!(!is_final(&refused(409, true)), "the upstream is still at it");
    }
}
