//! A layer of two halves: one looks at a request and may answer it, the other looks at the answer.
//! It neither boxes nor clones what is inside it, as axum's `from_fn` does each time.
//!
//! Not for layers that wait for something before they let a request in.

use std::convert::Infallible;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

/// What the two halves do.
pub trait Around: Clone {
    /// What the first half leaves to the second.
    type Kept;

    /// Breaks with the answer for a request that is not let in; the second half does not see it.
    fn before(&self, request: &mut Request) -> ControlFlow<Response, Self::Kept>;

    fn after(kept: Self::Kept, response: Response) -> Response;
}

/// Puts [`Around`] around a service.
#[derive(Debug, Clone, Copy)]
pub struct AroundLayer<A>(pub A);

impl<S, A: Clone> Layer<S> for AroundLayer<A> {
    type Service = Surrounded<S, A>;

    fn layer(&self, inner: S) -> Surrounded<S, A> {
        Surrounded { inner, around: self.0.clone() }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Surrounded<S, A> {
    inner: S,
    around: A,
}

impl<S, A> Service<Request> for Surrounded<S, A>
where
    S: Service<Request, Error = Infallible, Response: IntoResponse>,
    A: Around,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answering<S::Future, A::Kept>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        match self.around.before(&mut request) {
            ControlFlow::Continue(kept) => Answering::by(self.inner.call(request), kept, A::after),
            ControlFlow::Break(refusal) => Answering::now(refusal, A::after),
        }
    }
}

pin_project! {
    /// The answer of what is inside, finished by the second half.
    #[derive(Debug)]
    pub struct Answering<F, K> {
        #[pin]
        inner: Option<F>,
        kept: Option<K>,
        after: fn(K, Response) -> Response,
        refusal: Option<Response>,
    }
}

impl<F, K> Answering<F, K> {
    pub(crate) fn by(inner: F, kept: K, after: fn(K, Response) -> Response) -> Self {
        Self { inner: Some(inner), kept: Some(kept), after, refusal: None }
    }

    fn now(refusal: Response, after: fn(K, Response) -> Response) -> Self {
        Self { inner: None, kept: None, after, refusal: Some(refusal) }
    }
}

impl<F, K, R> Future for Answering<F, K>
where
    F: Future<Output = Result<R, Infallible>>,
    R: IntoResponse,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        const ONCE: &str = "a future that is ready is not polled again";
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            return Poll::Ready(Ok(this.refusal.take().expect(ONCE)));
        };
        let response = ready!(inner.poll(cx))?.into_response();
        let kept = this.kept.take().expect(ONCE);
        Poll::Ready(Ok((this.after)(kept, response)))
    }
}
