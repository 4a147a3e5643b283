//! Bytes that an HTTP/2 connection writes at once instead of one frame after the other.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// As much as one TLS record takes.
const MAX_BYTES: usize = 16 * 1024;
/// Frames of one body that are ready at the same time and written together.
const MAX_WAITS: usize = 8;

/// Holds memory only while bytes wait.
#[derive(Debug, Default)]
pub(super) struct WriteBuffer {
    bytes: Vec<u8>,
    written: usize,
    /// How often they waited for more.
    waits: usize,
}

impl WriteBuffer {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn has_room(&self, length: usize) -> bool {
        self.bytes.len() + length <= MAX_BYTES
    }

    /// Whether there are bytes that may wait for more, which they do then.
    pub(super) fn waits(&mut self) -> bool {
        if self.is_empty() {
            return false;
        }
        self.waits += 1;
        self.waits <= MAX_WAITS
    }

    pub(super) fn append(&mut self, slices: &[IoSlice<'_>]) {
        for slice in slices {
            self.bytes.extend_from_slice(slice);
        }
    }

    /// Writes as many bytes as `stream` accepts at once. Not for an empty buffer.
    pub(super) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = &self.bytes[self.written..];
        self.written += match ready!(Pin::new(stream).poll_write(cx, rest))? {
            0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            count => count,
        };
        if self.written == self.bytes.len() {
            *self = Self::default();
        }
        Poll::Ready(Ok(()))
    }
}
