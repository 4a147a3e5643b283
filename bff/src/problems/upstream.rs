//! What the caller is told when an upstream did not do what a route needs (gateway-api section 3).
//!
//! Not here: reads that go on without an upstream; they say so in their own answer.

use contracts::problem::{Problem, code};
use contracts::upstream::Upstream;
use service_kit::problem::{ApiError, chain};
use upstream_clients::CallError;

/// Seconds that a caller is asked to wait at most, whatever an upstream says.
const LONGEST_RETRY_AFTER: u64 = 300;

/// The upstream's own problem where it is about the request, else what kept the answer away. The
/// status decides, whatever the code says.
pub fn problem(upstream: Upstream, error: &CallError) -> ApiError {
    tracing::info!(%upstream, error = %chain(error), "An upstream did not do what was asked.");
    match error {
        CallError::Status { status, problem: Some(own) } if is_about_the_request(*status) => {
            passed_on(*status, own).into()
        }
        CallError::Timeout | CallError::Status { status: 408, .. } => ApiError::new(
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
    let ApiError(told) = problem(upstream, error);
    match error {
        CallError::Timeout if told.is(&code::UPSTREAM_TIMEOUT) => {
            Problem::new(&code::UPSTREAM_UNAVAILABLE, told.detail).into()
        }
        _ => ApiError(told),
    }
}

/// The same for what iam answers about the operator's own token or second factor: its 401 speaks of
/// them, unless it refuses the gateway's own token.
pub fn of_iam(error: &CallError) -> ApiError {
    match error {
        CallError::Status { status: 401, problem: Some(own) }
            if !own.is(&code::UNAUTHENTICATED) =>
        {
            tracing::info!(error = %chain(error), "iam refused the operator.");
            passed_on(401, own).into()
        }
        _ => problem(Upstream::Iam, error),
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
        CallError::Status { status, problem: Some(_) } => is_about_the_request(*status),
        _ => false,
    }
}

/// A 401 or 407 refuses the gateway, not the operator, who must not be sent to sign in for it; a 408
/// says that the gateway's request was slow to arrive.
fn is_about_the_request(status: u16) -> bool {
    (400..500).contains(&status) && !matches!(status, 401 | 407 | 408)
}

/// Its code and words; the ids are those of the caller's request, which the request layer adds.
fn passed_on(status: u16, problem: &Problem) -> Problem {
    let retry_after = problem.retry_after.map(|seconds| seconds.clamp(1, LONGEST_RETRY_AFTER));
    Problem {
        status,
        retry_after,
        request_id: None,
        trace_id: None,
        tenant_id: None,
        ..problem.clone()
    }
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
    fn the_status_of_a_refusal_decides_and_not_its_code() {
        for status in 300..=599 {
            let (told, code) = told(refused(status, &code::OCC_CONFLICT));
            let expected = match status {
                408 => (504, "BFF.UPSTREAM_TIMEOUT"),
                401 | 407 | ..=399 | 500.. => (502, "BFF.UPSTREAM_UNAVAILABLE"),
                _ => (status, "GENERAL.OCC_CONFLICT"),
            };
            assert_eq!((told, code.as_str()), expected, "{status}");
            let bare = CallError::Status { status, problem: None };
            assert!(matches!(self::told(bare).0, 502 | 504), "{status}");
        }
    }

    #[test]
    fn only_what_iam_says_of_the_operator_passes_with_401() {
        let told = |code| of_iam(&refused(401, code)).0.status;
        assert_eq!(told(&code::OCC_CONFLICT), 401);
        assert_eq!(told(&code::UNAUTHENTICATED), 502);
        assert_eq!(of_iam(&CallError::Status { status: 401, problem: None }).0.status, 502);
        assert_eq!(of_iam(&refused(407, &code::OCC_CONFLICT)).0.status, 502);
    }

    #[test]
    fn a_caller_is_not_asked_to_wait_for_ever() {
        let waits = |seconds| {
            let own = Problem::new(&code::RATE_LIMITED, "No.").with_retry_after(seconds);
            let error = CallError::Status { status: 429, problem: Some(Box::new(own)) };
            problem(Upstream::Billing, &error).0.retry_after
        };
        assert_eq!([waits(0), waits(7), waits(u64::MAX)], [Some(1), Some(7), Some(300)]);
    }
}
