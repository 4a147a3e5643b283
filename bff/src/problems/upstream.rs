//! Maps failed upstream calls to problems (gateway-api section 3).
//!
//! Not here: reads that degrade without an upstream; they report that in their own response.

use contracts::problem::{Problem, code};
use contracts::upstream::Upstream;
use service_kit::problem::{ApiError, chain};
use upstream_clients::CallError;

/// Upper bound for an upstream's `Retry-After`, in seconds.
const MAX_RETRY_AFTER_SECONDS: u64 = 300;

/// Maps a failed call. A refusal of the request passes through with its code; every other failure
/// becomes a gateway problem. Only the status decides which.
pub(crate) fn problem(upstream: Upstream, error: &CallError) -> ApiError {
    tracing::info!(%upstream, error = %chain(error), "An upstream call failed.");
    match error {
        CallError::Status { status, problem: Some(own) } if is_about_the_request(*status) => {
            pass_through(*status, own).into()
        }
        CallError::Timeout | CallError::Status { status: 408, .. } => ApiError::new(
            &code::UPSTREAM_TIMEOUT,
            format!("The {upstream} service did not answer in time. Try again in a few seconds."),
        ),
        CallError::SchemaDrift { .. } | CallError::TooLarge { .. } => schema_drift(upstream),
        CallError::ConcurrencyLimit => ApiError::new(
            &code::OVERLOADED,
            format!(
                "Too many requests are waiting for the {upstream} service. Try again in a second."
            ),
        ),
        CallError::Unavailable(_)
        | CallError::Status { .. }
        | CallError::BreakerOpen
        | CallError::NotConfigured
        | CallError::Store(_) => ApiError::new(
            &code::UPSTREAM_UNAVAILABLE,
            format!("The {upstream} service is unavailable. Try again in a few seconds."),
        ),
    }
}

/// As [`problem`], for reads: a timeout is 502 `UPSTREAM_UNAVAILABLE`, because a read has no effect
/// that could be unknown.
pub(crate) fn read_problem(upstream: Upstream, error: &CallError) -> ApiError {
    let ApiError(mapped) = problem(upstream, error);
    match error {
        CallError::Timeout if mapped.is(&code::UPSTREAM_TIMEOUT) => {
            Problem::new(&code::UPSTREAM_UNAVAILABLE, mapped.detail).into()
        }
        _ => ApiError(mapped),
    }
}

/// As [`problem`], for iam's answers about the operator's token or second factor: a 401 passes
/// through, unless it refuses the gateway's own token.
pub(crate) fn iam_problem(error: &CallError) -> ApiError {
    match error {
        CallError::Status { status: 401, problem: Some(own) }
            if !own.is(&code::UNAUTHENTICATED) =>
        {
            tracing::info!(error = %chain(error), "iam refused the operator.");
            pass_through(401, own).into()
        }
        _ => problem(Upstream::Iam, error),
    }
}

/// Problem for a response that breaks the upstream's contract. The caller counts and logs it.
pub(crate) fn schema_drift(upstream: Upstream) -> ApiError {
    ApiError::new(
        &code::SCHEMA_DRIFT,
        format!(
            "The {upstream} service sent an invalid response. Contact support and quote the request ID."
        ),
    )
}

/// Whether the upstream refused the request itself.
pub(crate) fn is_a_refusal(error: &CallError) -> bool {
    match error {
        CallError::Status { status, problem: Some(_) } => is_about_the_request(*status),
        _ => false,
    }
}

/// A 401 or 407 refuses the gateway, so the operator must not be asked to sign in; a 408 means that
/// the gateway's request arrived too slowly.
fn is_about_the_request(status: u16) -> bool {
    (400..500).contains(&status) && !matches!(status, 401 | 407 | 408)
}

/// Copies the upstream's code and detail without its ids; the request layer adds the caller's.
fn pass_through(status: u16, problem: &Problem) -> Problem {
    let retry_after = problem.retry_after.map(|seconds| seconds.clamp(1, MAX_RETRY_AFTER_SECONDS));
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

    fn mapped(error: CallError) -> (u16, String) {
        let ApiError(problem) = problem(Upstream::Billing, &error);
        assert!(problem.detail.ends_with('.'), "{}", problem.detail);
        (problem.status, problem.code.replace("MELMASTOON.", ""))
    }

    fn refused(status: u16, code: &'static contracts::problem::Code) -> CallError {
        let problem = Some(Box::new(Problem::new(code, "No.")));
        CallError::Status { status, problem }
    }

    #[test]
    fn each_failure_maps_to_its_problem() {
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
            assert_eq!(mapped(error), (status, code.to_owned()));
        }
    }

    #[test]
    fn a_read_reports_a_slow_upstream_as_unavailable() {
        let ApiError(slow) = read_problem(Upstream::Billing, &CallError::Timeout);
        assert!(slow.is(&code::UPSTREAM_UNAVAILABLE) && slow.status == 502);
        let ApiError(other) = read_problem(Upstream::Billing, &CallError::ConcurrencyLimit);
        assert!(other.is(&code::OVERLOADED));
    }

    #[test]
    fn a_refusal_about_the_request_passes_through_with_its_code() {
        let conflict = refused(409, &code::OCC_CONFLICT);
        assert_eq!(mapped(conflict), (409, "GENERAL.OCC_CONFLICT".to_owned()));
    }

    #[test]
    fn the_status_of_a_refusal_decides_and_not_its_code() {
        for status in 300..=599 {
            let (mapped, code) = mapped(refused(status, &code::OCC_CONFLICT));
            let expected = match status {
                408 => (504, "BFF.UPSTREAM_TIMEOUT"),
                401 | 407 | ..=399 | 500.. => (502, "BFF.UPSTREAM_UNAVAILABLE"),
                _ => (status, "GENERAL.OCC_CONFLICT"),
            };
            assert_eq!((mapped, code.as_str()), expected, "{status}");
            let bare = CallError::Status { status, problem: None };
            assert!(matches!(self::mapped(bare).0, 502 | 504), "{status}");
        }
    }

    #[test]
    fn only_iams_refusal_of_the_operator_passes_with_401() {
        let mapped = |code| iam_problem(&refused(401, code)).0.status;
        assert_eq!(mapped(&code::OCC_CONFLICT), 401);
        assert_eq!(mapped(&code::UNAUTHENTICATED), 502);
        assert_eq!(iam_problem(&CallError::Status { status: 401, problem: None }).0.status, 502);
        assert_eq!(iam_problem(&refused(407, &code::OCC_CONFLICT)).0.status, 502);
    }

    #[test]
    fn retry_after_is_bounded() {
        let waits = |seconds| {
            let own = Problem::new(&code::RATE_LIMITED, "No.").with_retry_after(seconds);
            let error = CallError::Status { status: 429, problem: Some(Box::new(own)) };
            problem(Upstream::Billing, &error).0.retry_after
        };
        assert_eq!([waits(0), waits(7), waits(u64::MAX)], [Some(1), Some(7), Some(300)]);
    }
}
