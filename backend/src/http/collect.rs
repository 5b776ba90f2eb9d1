//! A body, whole: how much of it is taken, and what is reserved for it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::http::byte_budget::Reservation;
use bytes::Bytes;
use http_body::Body;

/// A body in several pieces gets so much room first, if it announces as much.
const FIRST_ROOM: usize = 64 << 10;

/// Why there is no whole body.
#[derive(Debug)]
pub(crate) enum CollectError<E> {
    /// It is longer than it may be.
    TooLarge,
    /// The budget of all requests has no room for it.
    NoRoom,
    /// It broke off.
    Broken(E),
}

/// A body under way.
#[derive(Debug)]
pub(crate) struct Collect<B, R> {
    body: B,
    limit: usize,
    announced: usize,
    reservation: R,
    first: Bytes,
    whole: Vec<u8>,
}

/// Collects a body of at most `limit` bytes. One that comes in one piece is not copied.
pub(crate) fn collect<B, R>(body: B, limit: usize, reservation: R) -> Collect<B, R>
where
    B: Body<Data = Bytes> + Unpin,
    R: AsRef<Reservation> + Unpin,
{
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    Collect {
        body,
        limit,
        announced: announced.min(limit),
        reservation,
        first: Bytes::new(),
        whole: Vec::new(),
    }
}

impl<B: Body<Data = Bytes> + Unpin, R: AsRef<Reservation> + Unpin> Future for Collect<B, R> {
    type Output = Result<Bytes, CollectError<B::Error>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        while let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) {
            let frame = frame.map_err(CollectError::Broken)?;
            if let Ok(piece) = frame.into_data() {
                self.take(piece)?;
            }
        }
        Poll::Ready(Ok(match self.whole.is_empty() {
            true => std::mem::take(&mut self.first),
            false => std::mem::take(&mut self.whole).into(),
        }))
    }
}

impl<B, R: AsRef<Reservation>> Collect<B, R> {
    fn take<E>(&mut self, piece: Bytes) -> Result<(), CollectError<E>> {
        let held = self.first.len() + self.whole.len();
        if held + piece.len() > self.limit {
            return Err(CollectError::TooLarge);
        }
        if held == 0 {
            self.reserve(piece.len())?;
            self.first = piece;
            return Ok(());
        }
        self.make_room(held + piece.len())?;
        self.whole
            .extend_from_slice(&std::mem::take(&mut self.first));
        self.whole.extend_from_slice(&piece);
        Ok(())
    }

    /// Room for `needed` bytes, and for as many again if so many are announced: memory is taken
    /// as bytes arrive, and copied seldom.
    fn make_room<E>(&mut self, needed: usize) -> Result<(), CollectError<E>> {
        let before = self.whole.capacity();
        if needed <= before {
            return Ok(());
        }
        let doubled = needed.saturating_mul(2).max(FIRST_ROOM);
        // What announces nothing may still come to more.
        let room = match self.announced >= needed {
            true => doubled.min(self.announced),
            false => doubled,
        };
        self.reserve(room.saturating_sub(before.max(self.first.len())))?;
        self.whole.reserve_exact(room - self.whole.len());
        Ok(())
    }

    fn reserve<E>(&self, bytes: usize) -> Result<(), CollectError<E>> {
        let reserved = self.reservation.as_ref().grow(bytes);
        reserved.map_err(|_| CollectError::NoRoom)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    use super::*;
    use crate::http::byte_budget::ByteBudget;

    const MIB: usize = 1 << 20;

    fn pieces(count: usize, each: usize) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        let piece = Bytes::from(vec![b'x'; each]);
        StreamBody::new(stream::iter(
            (0..count).map(move |_| Ok(Frame::data(piece.clone()))),
        ))
    }

    #[tokio::test]
    async fn what_comes_in_pieces_is_put_together() {
        let reservation = ByteBudget::new(10 * MIB).reservation();
        let body = collect(pieces(10, 1000), MIB, &reservation).await.unwrap();
        assert_eq!(body, vec![b'x'; 10_000]);
    }

    #[tokio::test]
    async fn what_is_reserved_is_what_is_held() {
        let budget = ByteBudget::new(10 * MIB);
        let one = budget.reservation();
        let body = Full::new(Bytes::from(vec![0; 1000]));
        collect(body, MIB, &one).await.unwrap();
        assert_eq!(budget.in_use(), 1000);
        let many = budget.reservation();
        let body = collect(pieces(1000, 1024), MIB, &many).await.unwrap();
        let reserved = budget.in_use() - 1000;
        assert!(
            (body.len()..=2 * body.len()).contains(&reserved),
            "{reserved}"
        );
    }

    #[tokio::test]
    async fn what_is_too_much_is_not_held() {
        let budget = ByteBudget::new(2 * MIB);
        let reservation = budget.reservation();
        let too_large = collect(pieces(1100, 1000), MIB, &reservation).await;
        assert!(matches!(too_large, Err(CollectError::TooLarge)));
        let no_room = collect(pieces(4000, 1000), 4 * MIB, &reservation).await;
        assert!(matches!(no_room, Err(CollectError::NoRoom)));
        drop(reservation);
        assert_eq!(budget.in_use(), 0);
    }
}
