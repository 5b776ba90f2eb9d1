//! The body of a request that is passed on: its beginning is there before the request takes a
//! place, and the rest keeps coming.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::config::Limits;
use crate::http::error::Error;
use crate::resolver::request_context::RequestContext;

/// Bodies of calls are shorter, and are there as a whole before their request takes a place.
const BEGINNING: usize = 64 << 10;

/// A body of which so much must come while it is waited for.
#[derive(Debug)]
struct SteadyBody {
    body: Body,
    /// What each time of waiting must bring.
    min_bytes: u64,
    window: Duration,
    /// What this one brought, and how long it lasts already. That the upstream does not take more
    /// is no fault of the client: only waiting for the client counts.
    came: u64,
    waited: Duration,
    waits_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// A body whose beginning was read ahead.
#[derive(Debug)]
pub(super) struct Upload {
    beginning: VecDeque<Frame<Bytes>>,
    rest: SteadyBody,
    is_ended: bool,
}

impl Upload {
    /// Waits for the beginning of a body, or for all of it.
    pub(super) async fn begin(
        body: Body,
        limits: &Limits,
        context: &RequestContext,
    ) -> Result<Self, Error> {
        let mut upload = Self {
            beginning: VecDeque::new(),
            is_ended: body.is_end_stream(),
            rest: SteadyBody::new(body, limits),
        };
        let mut length = 0;
        while !upload.is_ended && length < BEGINNING {
            let Some(frame) = upload.rest.frame().await else {
                upload.is_ended = true;
                break;
            };
            let frame = frame.map_err(|error| Error::of_body(error.into_inner()))?;
            let more = frame.data_ref().map_or(0, Bytes::len);
            context.reserve(more)?;
            length += more;
            upload.beginning.push_back(frame);
            upload.is_ended = upload.rest.is_end_stream();
        }
        Ok(upload)
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.beginning.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None if self.is_ended => Poll::Ready(None),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.beginning.is_empty() && (self.is_ended || self.rest.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let pieces = self.beginning.iter().filter_map(Frame::data_ref);
        let here: u64 = pieces.map(|piece| piece.len() as u64).sum();
        let rest = self.rest.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(here + rest.lower());
        if let Some(upper) = rest.upper() {
            hint.set_upper(here + upper);
        }
        hint
    }
}

impl SteadyBody {
    fn new(body: Body, limits: &Limits) -> Self {
        Self {
            body,
            min_bytes: limits.body_min_bytes,
            window: limits.body_timeout,
            came: 0,
            waited: Duration::ZERO,
            waits_since: None,
            timer: None,
        }
    }

    fn note_arrival(&mut self, bytes: usize) {
        if let Some(since) = self.waits_since.take() {
            self.waited += since.elapsed();
        }
        self.came += bytes as u64;
        if self.came >= self.min_bytes {
            (self.came, self.waited) = (0, Duration::ZERO);
        }
    }

    fn poll_patience(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let since = *self.waits_since.get_or_insert_with(Instant::now);
        let deadline = since + self.window.saturating_sub(self.waited);
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(context)
    }
}

impl http_body::Body for SteadyBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            let data = frame.as_ref().and_then(|frame| frame.as_ref().ok());
            let data = data.and_then(Frame::data_ref);
            self.note_arrival(data.map_or(0, Bytes::len));
            return Poll::Ready(frame);
        }
        ready!(self.poll_patience(context));
        Poll::Ready(Some(Err(axum::Error::new(Error::BodyTimeout))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};
    use tokio::time::sleep;

    use super::*;
    use crate::config::Config;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> Limits {
        Config::from_variables([]).unwrap().limits
    }

    fn pieces(count: usize, each: usize, pause: Duration) -> Body {
        Body::from_stream(stream::iter(0..count).then(move |_| async move {
            sleep(pause).await;
            Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; each]))
        }))
    }

    async fn length(body: Body) -> Result<usize, Error> {
        let upload = Upload::begin(body, &limits(), &RequestContext::default()).await?;
        let whole = upload.collect().await;
        let whole = whole.map_err(|error| Error::of_body(error.into_inner()))?;
        Ok(whole.to_bytes().len())
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_but_steady_upload_goes_on() {
        // An hour of 50 KB a second.
        let body = pieces(3600, 50_000, SECOND);
        assert_eq!(length(body).await.unwrap(), 180_000_000);
        // Pauses are not silence as long as enough comes between them.
        let body = pieces(100, 31 << 10, 29 * SECOND);
        assert_eq!(length(body).await.unwrap(), 100 * (31 << 10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_given_up() {
        let began = Instant::now();
        let trickle = length(pieces(1000, 1, SECOND)).await;
        assert!(matches!(trickle, Err(Error::BodyTimeout)));
        assert_eq!(began.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_after_a_good_beginning_is_given_up() {
        let good = pieces(1, 1 << 20, Duration::ZERO).into_data_stream();
        let body = Body::from_stream(good.chain(pieces(1000, 1, SECOND).into_data_stream()));
        assert!(matches!(length(body).await, Err(Error::BodyTimeout)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_takes_its_time_is_no_fault_of_the_client() {
        let body = pieces(10, 64 << 10, Duration::ZERO);
        let context = RequestContext::default();
        let mut upload = Upload::begin(body, &limits(), &context).await.unwrap();
        while let Some(frame) = upload.frame().await {
            frame.unwrap();
            sleep(60 * SECOND).await;
        }
    }

    #[tokio::test]
    async fn a_short_body_is_there_before_its_request_begins() {
        let body = pieces(3, 10, Duration::ZERO);
        let context = RequestContext::default();
        let upload = Upload::begin(body, &limits(), &context).await.unwrap();
        assert!(upload.is_ended && upload.beginning.len() == 3);
    }
}
