//! A result that is there already, or a future of it.
//!
//! A hit in memory waits for nothing. It passes through the steps as a plain value; only what waits
//! is a future, and boxed, so that a hit carries no room for it.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// A result that is there already, or a future of it.
pub(crate) enum MaybeFuture<T> {
    /// The result. `None` once it was polled.
    Now(Option<T>),
    /// A future of it.
    Later(BoxFuture<'static, T>),
}

impl<T: Send + 'static> MaybeFuture<T> {
    /// The result.
    pub(crate) fn now(result: T) -> Self {
        Self::Now(Some(result))
    }

    /// A future of it.
    pub(crate) fn later(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self::Later(future.boxed())
    }

    /// Takes the next step with the result.
    pub(crate) fn then<U: Send + Unpin + 'static>(
        self,
        step: impl FnOnce(T) -> MaybeFuture<U> + Send + 'static,
    ) -> MaybeFuture<U> {
        match self {
            Self::Now(Some(result)) => step(result),
            Self::Now(None) => MaybeFuture::Now(None),
            Self::Later(future) => MaybeFuture::later(future.then(step)),
        }
    }

    /// Makes something else of the result.
    pub(crate) fn map<U: Send + 'static>(
        self,
        step: impl FnOnce(T) -> U + Send + 'static,
    ) -> MaybeFuture<U> {
        match self {
            Self::Now(result) => MaybeFuture::Now(result.map(step)),
            Self::Later(future) => MaybeFuture::later(future.map(step)),
        }
    }
}

impl<T: Unpin> Future for MaybeFuture<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match &mut *self {
            // As other futures, it must not be polled after its end: then it never ends.
            Self::Now(result) => result.take().map_or(Poll::Pending, Poll::Ready),
            Self::Later(future) => future.as_mut().poll(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[tokio::test]
    async fn steps_follow_each_other_with_and_without_waiting() {
        for begin in [MaybeFuture::now(1), MaybeFuture::later(ready(1))] {
            let waits = matches!(begin, MaybeFuture::Later(_));
            let end = begin.map(|n| n + 1).then(|n| MaybeFuture::now(n * 10));
            assert_eq!(matches!(end, MaybeFuture::Later(_)), waits);
            assert_eq!(end.await, 20);
        }
        let end = MaybeFuture::now(1).then(|n| MaybeFuture::later(ready(n + 1)));
        assert_eq!(end.await, 2);
    }
}
