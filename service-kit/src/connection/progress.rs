//! What a connection is waiting for, and until when.

use std::time::Duration;

use tokio::time::Instant;

use super::framing::{Frame, Received};
use super::limits::ConnectionLimits;
use super::metrics::Reason;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Accepted; no byte received.
    Silent,
    /// The headers of a request are incomplete.
    Headers,
    /// A request is active.
    Busy,
    /// All requests are finished.
    Idle,
}

/// When a connection is to be closed, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expiry {
    pub(crate) at: Instant,
    pub(crate) reason: Reason,
}

#[derive(Debug)]
pub(crate) struct Progress {
    phase: Phase,
    /// When the phase began.
    since: Instant,
    /// Active requests.
    requests: usize,
    is_http2: bool,
    /// When the incomplete HTTP/2 frame or header block began.
    frame_since: Option<Instant>,
    /// When the client last accepted bytes, while the socket is blocked.
    write_since: Option<Instant>,
}

impl Progress {
    pub(crate) fn new(accepted: Instant) -> Self {
        Self {
            phase: Phase::Silent,
            since: accepted,
            requests: 0,
            is_http2: false,
            frame_since: None,
            write_since: None,
        }
    }

    pub(crate) fn received(&mut self, received: Received, now: Instant) {
        let begins = match (received, self.phase) {
            (_, Phase::Silent) | (Received::Http1, Phase::Idle) => true,
            (_, Phase::Headers | Phase::Busy | Phase::Idle) => false,
        };
        if begins {
            (self.phase, self.since) = (Phase::Headers, now);
        }
        if let Received::Http2(frame) = received {
            self.is_http2 = true;
            self.frame_since = match frame {
                Frame::Whole => None,
                Frame::NewPart => Some(now),
                Frame::OldPart => self.frame_since.or(Some(now)),
            };
        }
    }

    /// Records that the socket took bytes, or is blocked.
    pub(crate) fn wrote(&mut self, is_blocked: bool, now: Instant) {
        self.write_since = is_blocked.then(|| self.write_since.unwrap_or(now));
    }

    pub(crate) fn request_began(&mut self) {
        self.requests += 1;
        self.phase = Phase::Busy;
    }

    pub(crate) fn request_ended(&mut self, now: Instant) {
        self.requests -= 1;
        if self.requests == 0 {
            (self.phase, self.since) = (Phase::Idle, now);
        }
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.is_http2
    }

    /// Whether bytes arrived that are no whole request, and no request is active.
    pub(crate) fn is_reading_headers(&self) -> bool {
        self.phase == Phase::Headers
    }

    /// The first limit that will be passed if nothing happens.
    pub(crate) fn expiry(&self, limits: &ConnectionLimits) -> Option<Expiry> {
        let after = |since: Instant, ms| since + Duration::from_millis(ms);
        let phase = match self.phase {
            Phase::Silent => Some((after(self.since, limits.first_byte_ms), Reason::Silent)),
            Phase::Headers => Some((after(self.since, limits.headers_ms), Reason::HeadersTimeout)),
            Phase::Busy => None,
            Phase::Idle => Some((after(self.since, limits.idle_ms), Reason::Idle)),
        };
        let frame =
            self.frame_since.map(|at| (after(at, limits.headers_ms), Reason::HeadersTimeout));
        let write =
            self.write_since.map(|at| (after(at, limits.write_stall_ms), Reason::WriteTimeout));
        let all = [phase, frame, write].into_iter().flatten();
        all.map(|(at, reason)| Expiry { at, reason }).min_by_key(|expiry| expiry.at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMITS: ConnectionLimits = ConnectionLimits {
        first_byte_ms: 1_000,
        headers_ms: 2_000,
        body_stall_ms: 0,
        body_total_ms: 0,
        write_stall_ms: 3_000,
        idle_ms: 60_000,
        drain_idle_ms: 0,
        max_connections: 1,
        max_unauthenticated_per_address: 1,
    };

    struct Case {
        progress: Progress,
        start: Instant,
    }

    impl Case {
        fn new() -> Self {
            let start = Instant::now();
            Self { progress: Progress::new(start), start }
        }

        fn at(&self, ms: u64) -> Instant {
            self.start + Duration::from_millis(ms)
        }

        fn receive(&mut self, received: Received, ms: u64) {
            self.progress.received(received, self.at(ms));
        }

        #[track_caller]
        fn expires(&self, ms: u64, reason: Reason) {
            let wanted = Expiry { at: self.at(ms), reason };
            assert_eq!(self.progress.expiry(&LIMITS), Some(wanted));
        }
    }

    #[test]
    fn a_request_over_http1_has_a_limit_in_each_phase() {
        let mut case = Case::new();
        case.expires(1_000, Reason::Silent);
        case.receive(Received::Http1, 500);
        case.receive(Received::Http1, 600);
        case.expires(2_500, Reason::HeadersTimeout);
        case.progress.request_began();
        case.receive(Received::Http1, 700);
        assert_eq!(case.progress.expiry(&LIMITS), None);
        case.progress.request_ended(case.at(9_000));
        case.expires(69_000, Reason::Idle);
        case.receive(Received::Http1, 10_000);
        case.expires(12_000, Reason::HeadersTimeout);
    }

    #[test]
    fn part_of_a_preface_does_not_count_as_headers_twice() {
        let mut case = Case::new();
        case.receive(Received::Preface, 900);
        case.receive(Received::Preface, 1_900);
        case.expires(2_900, Reason::HeadersTimeout);
    }

    #[test]
    fn http2_expires_in_the_middle_of_a_frame_also_beside_requests() {
        let mut case = Case::new();
        case.receive(Received::Http2(Frame::Whole), 100);
        case.expires(2_100, Reason::HeadersTimeout);
        case.progress.request_began();
        case.progress.request_began();
        case.receive(Received::Http2(Frame::NewPart), 5_000);
        case.receive(Received::Http2(Frame::OldPart), 6_000);
        case.expires(7_000, Reason::HeadersTimeout);
        case.receive(Received::Http2(Frame::Whole), 6_500);
        case.progress.request_ended(case.at(6_600));
        assert_eq!(case.progress.expiry(&LIMITS), None);
        case.progress.request_ended(case.at(6_700));
        case.expires(66_700, Reason::Idle);
        case.receive(Received::Http2(Frame::Whole), 7_000);
        case.expires(66_700, Reason::Idle);
    }

    #[test]
    fn a_blocked_write_expires_unless_bytes_are_accepted() {
        let mut case = Case::new();
        case.receive(Received::Http1, 0);
        case.progress.request_began();
        case.progress.wrote(true, case.at(1_000));
        case.progress.wrote(true, case.at(2_000));
        case.expires(4_000, Reason::WriteTimeout);
        case.progress.wrote(false, case.at(3_000));
        assert_eq!(case.progress.expiry(&LIMITS), None);
    }
}
