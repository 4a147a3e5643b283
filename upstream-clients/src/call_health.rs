//! What the outcome of a call says about its upstream.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallHealth {
    /// It responded, whatever the response was.
    Responsive,
    /// It was too slow.
    TimedOut,
    /// It refused the connection, broke it off, or responded with a server error.
    Failed,
    /// Nothing: the call was cancelled, or had too little time.
    Unknown,
}
