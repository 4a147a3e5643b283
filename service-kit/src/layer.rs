//! A layer with synchronous hooks before a request and after its response. Unlike axum's `from_fn`, it
//! neither boxes nor clones the inner service.
//!
//! Not for layers that await something before they pass a request on.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

/// The hooks of an [`InspectLayer`].
pub trait Inspect: Clone {
    /// Passed from [`before`](Self::before) to [`after`](Self::after).
    type State;

    /// Inspects the request. Breaks with the response to refuse it, which [`after`](Self::after) does
    /// not see.
    fn before(&self, request: &mut Request) -> ControlFlow<Response, Self::State>;

    /// Inspects the response.
    fn after(state: Self::State, response: Response) -> Response;
}

/// Applies the hooks of an [`Inspect`] to a service.
#[derive(Debug, Clone, Copy)]
pub struct InspectLayer<A>(pub A);

impl<S, A: Clone> Layer<S> for InspectLayer<A> {
    type Service = InspectService<S, A>;

    fn layer(&self, inner: S) -> InspectService<S, A> {
        InspectService { inner, inspect: self.0.clone() }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct InspectService<S, A> {
    inner: S,
    inspect: A,
}

impl<S, A> Service<Request> for InspectService<S, A>
where
    S: Service<Request, Error = Infallible, Response: IntoResponse>,
    A: Inspect,
{
    type Response = Response;
    type Error = Infallible;
    type Future = InspectFuture<S::Future, A::State>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        match self.inspect.before(&mut request) {
            ControlFlow::Continue(state) => {
                InspectFuture::new(self.inner.call(request), state, A::after)
            }
            ControlFlow::Break(refusal) => InspectFuture::refused(refusal, A::after),
        }
    }
}

pin_project! {
    /// The inner service's response, passed to [`Inspect::after`].
    #[derive(Debug)]
    pub struct InspectFuture<F, K> {
        #[pin]
        inner: Option<F>,
        state: Option<K>,
        after: fn(K, Response) -> Response,
        refusal: Option<Response>,
    }
}

impl<F, K> InspectFuture<F, K> {
    pub(crate) fn new(inner: F, state: K, after: fn(K, Response) -> Response) -> Self {
        Self { inner: Some(inner), state: Some(state), after, refusal: None }
    }

    fn refused(refusal: Response, after: fn(K, Response) -> Response) -> Self {
        Self { inner: None, state: None, after, refusal: Some(refusal) }
    }
}

impl<F, K, R> Future for InspectFuture<F, K>
where
    F: Future<Output = Result<R, Infallible>>,
    R: IntoResponse,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const POLLED_AFTER_READY: &str = "a future that is ready is not polled again";
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            return Poll::Ready(Ok(this.refusal.take().expect(POLLED_AFTER_READY)));
        };
        let response = ready!(inner.poll(cx))?.into_response();
        let state = this.state.take().expect(POLLED_AFTER_READY);
        Poll::Ready(Ok((this.after)(state, response)))
    }
}
