//! The stream of a connection, which records what is received. Not here: what is sent, see [`super::socket`].
//!
//! Over HTTP/2, frames that follow each other at once are written together: the end of an answer is
//! a frame of its own, and would cost a write and a TLS record.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Accept;
use super::service::Applications;
use super::unparsed;
use super::write_buffer::WriteBuffer;
use crate::connection::{Connection, Framing};

pub(super) struct TrackedStream<A: Accept> {
    stream: A::Stream,
    connection: Arc<Connection>,
    framing: Framing,
    /// Of HTTP/2, until the next flush.
    buffer: WriteBuffer,
    applications: Applications,
    replaced: Option<Replaced>,
}

/// An answer of hyper's own, and what is sent in its place.
struct Replaced {
    /// Length of hyper's.
    length: usize,
    bytes: Vec<u8>,
    sent: usize,
}

impl<A: Accept> TrackedStream<A> {
    pub(super) fn new(
        stream: A::Stream,
        connection: Arc<Connection>,
        applications: Applications,
    ) -> Self {
        Self {
            stream,
            connection,
            framing: Framing::new(),
            buffer: WriteBuffer::default(),
            applications,
            replaced: None,
        }
    }

    fn poll_write_http2(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        if !self.buffer.has_room(length) {
            ready!(self.poll_write_buffer(cx))?;
        }
        if self.buffer.has_room(length) {
            self.buffer.append(slices);
            return Poll::Ready(Ok(length));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn poll_write_buffer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.buffer.is_empty() {
            ready!(self.buffer.poll_write(&mut self.stream, cx))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Whether the bytes are not sent as they are, which [`Self::poll_replaced`] then does.
    fn replaces(&mut self, bytes: &[u8]) -> bool {
        if self.replaced.is_none() && self.framing.is_http1() {
            let instead = unparsed::replacement(bytes, &self.applications, &self.connection);
            let length = bytes.len();
            self.replaced = instead.map(|bytes| Replaced { length, bytes, sent: 0 });
        }
        self.replaced.is_some()
    }

    fn poll_replaced(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(replaced) = &mut self.replaced else { return Poll::Ready(Ok(0)) };
        while replaced.sent < replaced.bytes.len() {
            let rest = &replaced.bytes[replaced.sent..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Ok(0)),
                count => replaced.sent += count,
            }
        }
        let length = replaced.length;
        self.replaced = None;
        Poll::Ready(Ok(length))
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
        if self.framing.is_http2() {
            return self.poll_write_http2(cx, &[IoSlice::new(bytes)]);
        }
        if self.replaces(bytes) {
            return self.poll_replaced(cx);
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.framing.is_http2() {
            return self.poll_write_http2(cx, slices);
        }
        if slices.first().is_some_and(|first| self.replaces(first)) {
            return self.poll_replaced(cx);
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.connection.take_continuing_stream() && self.buffer.waits() {
            // The stream's task runs first, then this one again.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.poll_write_buffer(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_buffer(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
