//! What the caller is told when an upstream did not do what a route needs (gateway-api section 3).
//!
//! Not here: reads that go on without an upstream; they say so in their own answer.

use contracts::problem::{Problem, code};
use contracts::upstream::Upstream;
use service_kit::problem::{ApiError, chain};
use upstream_clients::CallError;

use crate::guards::{Guard, holds};

/// The upstream's own problem where it is about the request, else what kept the answer away.
pub fn problem(upstream: Upstream, error: &CallError) -> ApiError {
    tracing::info!(%upstream, error = %chain(error), "An upstream did not do what was asked.");
    if !holds(Guard::UpstreamProblems) {
        return ApiError::internal(error);
    }
    match error {
        CallError::Status { status, problem: Some(own) } if is_about_the_request(*status, own) => {
            passed_on(*status, own).into()
        }
        CallError::Timeout => ApiError::new(
            &code::UPSTREAM_TIMEOUT,
            format!("The {upstream} service did not answer in time. Try again in a few seconds."),
        ),
        CallError::SchemaDrift { .. } | CallError::TooLarge { .. } => drifted(upstream),
        CallError::ConcurrencyLimit => ApiError::new(
            &code::OVERLOADED,
            format!("Too many requests wait for the {upstream} service. Try again in a second."),
        ),
        CallError::Unavailable(_)
        | CallError::Status { .. }
        | CallError::BreakerOpen
        | CallError::NotConfigured
        | CallError::Store(_) => ApiError::new(
            &code::UPSTREAM_UNAVAILABLE,
            format!("The {upstream} service cannot do this now. Try again in a few seconds."),
        ),
    }
}

/// The same for reads: an upstream that is too slow is away, because nothing became of it.
pub fn of_read(upstream: Upstream, error: &CallError) -> ApiError {
    match problem(upstream, error) {
        ApiError(slow) if slow.is(&code::UPSTREAM_TIMEOUT) => {
            Problem::new(&code::UPSTREAM_UNAVAILABLE, slow.detail).into()
        }
        other => other,
    }
}

/// The answer when an upstream broke its contract. Whoever finds it counts and logs it.
pub fn drifted(upstream: Upstream) -> ApiError {
    ApiError::new(
        &code::SCHEMA_DRIFT,
        format!(
            "The {upstream} service answered what nobody can read. Call support with the request id."
        ),
    )
}

/// Whether the upstream answered, and what it answered is about the request.
pub fn is_a_refusal(error: &CallError) -> bool {
    match error {
        CallError::Status { status, problem: Some(own) } => is_about_the_request(*status, own),
        _ => false,
    }
}

/// An upstream that does not take the gateway's own token refuses the gateway, not the operator,
/// who must not be sent to sign in for it.
fn is_about_the_request(status: u16, problem: &Problem) -> bool {
    (400..500).contains(&status) && !problem.is(&code::UNAUTHENTICATED)
}

/// Its code and words; the ids are those of the caller's request, which the request layer adds.
fn passed_on(status: u16, problem: &Problem) -> Problem {
    Problem { status, request_id: None, trace_id: None, tenant_id: None, ..problem.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(error: CallError) -> (u16, String) {
        let ApiError(problem) = problem(Upstream::Billing, &error);
        assert!(problem.detail.ends_with('.'), "{}", problem.detail);
        (problem.status, problem.code.replace("MELMASTOON.", ""))
    }

    fn refused(status: u16, code: &'static contracts::problem::Code) -> CallError {
        let problem = Some(Box::new(Problem::new(code, "No.")));
        CallError::Status { status, problem }
    }

    #[test]
    fn each_failure_has_its_place_in_the_decision_order() {
        let drift = CallError::SchemaDrift { path: "a".to_owned() };
        let failed = CallError::Status { status: 500, problem: None };
        for (error, status, code) in [
            (CallError::Timeout, 504, "BFF.UPSTREAM_TIMEOUT"),
            (CallError::BreakerOpen, 502, "BFF.UPSTREAM_UNAVAILABLE"),
            (CallError::NotConfigured, 502, "BFF.UPSTREAM_UNAVAILABLE"),
            (failed, 502, "BFF.UPSTREAM_UNAVAILABLE"),
            (drift, 502, "BFF.SCHEMA_DRIFT"),
            (CallError::TooLarge { limit: 1 }, 502, "BFF.SCHEMA_DRIFT"),
            (CallError::ConcurrencyLimit, 503, "BFF.OVERLOADED"),
        ] {
            assert_eq!(told(error), (status, code.to_owned()));
        }
    }

    #[test]
    fn a_read_says_that_a_slow_upstream_is_away() {
        let ApiError(slow) = of_read(Upstream::Billing, &CallError::Timeout);
        assert!(slow.is(&code::UPSTREAM_UNAVAILABLE) && slow.status == 502);
        let ApiError(other) = of_read(Upstream::Billing, &CallError::ConcurrencyLimit);
        assert!(other.is(&code::OVERLOADED));
    }

    #[test]
    fn a_refusal_about_the_request_passes_through_with_its_code() {
        let conflict = refused(409, &code::OCC_CONFLICT);
        assert_eq!(told(conflict), (409, "GENERAL.OCC_CONFLICT".to_owned()));
    }

    #[test]
    fn a_refusal_of_the_gateway_itself_or_without_a_problem_is_not_the_callers_fault() {
        for error in [
            refused(401, &code::UNAUTHENTICATED),
            refused(500, &code::INTERNAL),
            CallError::Status { status: 404, problem: None },
        ] {
            assert_eq!(told(error), (502, "BFF.UPSTREAM_UNAVAILABLE".to_owned()));
        }
    }
}
