//! HTTP/1.1 connection, owned and polled by one call at a time.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::coalescing_waker::CoalescingWaker;
use super::connector::{Stream, TransportError};
use super::exchange::{ExchangeError, HttpRequest, RawResponse, exchange_error, read};

#[derive(Debug)]
pub(super) struct Http1Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: Driver,
    waker: Arc<CoalescingWaker>,
}

/// The connection's own I/O, until it has ended.
#[derive(Debug)]
struct Driver(Option<http1::Connection<TokioIo<Stream>, Full<Bytes>>>);

impl Driver {
    /// Drops a connection that has ended, which wakes everything that waits for it.
    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Some(running) = &mut self.0
            && Pin::new(running).poll(cx).is_ready()
        {
            self.0 = None;
        }
    }

    /// Polls `work` together with the connection.
    async fn drive<T>(&mut self, waker: &Arc<CoalescingWaker>, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            waker.poll(cx, |cx| {
                self.poll(cx);
                work.as_mut().poll(cx)
            })
        })
        .await
    }
}

impl Http1Connection {
    pub(super) async fn open(stream: Stream) -> Result<Box<Self>, TransportError> {
        let opened = http1::handshake(TokioIo::new(stream)).await;
        let (sender, driver) = opened.map_err(TransportError::Broken)?;
        Ok(Box::new(Self { sender, driver: Driver(Some(driver)), waker: Arc::default() }))
    }

    /// Whether a request can be sent now. Polls the socket once, without waiting.
    pub(super) async fn is_ready(&mut self) -> bool {
        let Self { sender, driver, waker } = self;
        let mut look = |cx: &mut Context<'_>| {
            driver.poll(cx);
            Poll::Ready(driver.0.is_some() && sender.is_ready())
        };
        poll_fn(|cx| waker.poll(cx, &mut look)).await
    }

    pub(super) async fn exchange(
        &mut self,
        request: HttpRequest,
        limit: usize,
    ) -> Result<RawResponse, ExchangeError> {
        let Self { sender, driver, waker } = self;
        // Inside `drive`, because sending wakes the connection.
        let sending = async { sender.try_send_request(request).await };
        let response = driver.drive(waker, sending).await.map_err(exchange_error)?;
        driver.drive(waker, read(response, limit)).await
    }
}
