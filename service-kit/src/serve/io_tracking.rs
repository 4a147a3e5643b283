//! The stream of a connection, which records what is received and when writes are blocked.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Accept;
use crate::connection::{Connection, Framing};

pub(super) struct TrackedStream<A: Accept> {
    stream: A::Stream,
    connection: Arc<Connection>,
    framing: Framing,
    /// Whether the last write was not accepted.
    is_blocked: bool,
}

impl<A: Accept> TrackedStream<A> {
    pub(super) fn new(stream: A::Stream, connection: Arc<Connection>) -> Self {
        Self { stream, connection, framing: Framing::new(), is_blocked: false }
    }

    fn note_write<T>(&mut self, outcome: Poll<T>) -> Poll<T> {
        let is_blocked = outcome.is_pending();
        if is_blocked || self.is_blocked {
            self.connection.wrote(is_blocked);
        }
        self.is_blocked = is_blocked;
        outcome
    }
}

impl<A: Accept> Drop for TrackedStream<A> {
    fn drop(&mut self) {
        if self.connection.is_reset() {
            A::reset_on_close(&self.stream);
        }
    }
}

impl<A: Accept> AsyncRead for TrackedStream<A> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let new = &buffer.filled()[before..];
        if !new.is_empty() {
            let received = self.framing.receive(new);
            self.connection.received(received);
        }
        outcome
    }
}

impl<A: Accept> AsyncWrite for TrackedStream<A> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note_write(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note_write(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.note_write(outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.note_write(outcome)
    }
}
