//! One budget in bytes for all that requests make the gateway hold: heads and bodies of requests,
//! what they are parsed into, answers of the upstream and the vectors in them.
//!
//! Bytes are reserved as they arrive, never on the word of a header, and are free again when the
//! [`Reservation`] is dropped. What finds no room is refused, so that the kernel never has to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::http::error::Error;

/// A request that holds less may use all of the budget, a larger one only its greater part: large
/// bodies that dawdle leave room for small requests.
const SMALL: usize = 128 << 10;

/// The bytes of all requests together.
#[derive(Clone, Debug)]
pub struct ByteBudget(Arc<Budget>);

#[derive(Debug)]
struct Budget {
    limit: usize,
    used: AtomicUsize,
}

/// A part of the budget. It grows with what it stands for, by one task at a time, and is given back
/// when dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: ByteBudget,
    bytes: AtomicUsize,
    /// Of these, what is set aside for what is still to come.
    aside: AtomicUsize,
}

impl ByteBudget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        let used = AtomicUsize::new(0);
        Self(Arc::new(Budget { limit, used }))
    }

    /// Nothing yet, and room to grow.
    pub fn reservation(&self) -> Reservation {
        Reservation {
            budget: self.clone(),
            bytes: AtomicUsize::new(0),
            aside: AtomicUsize::new(0),
        }
    }

    /// Bytes that are reserved.
    pub fn in_use(&self) -> usize {
        self.0.used.load(Relaxed)
    }

    /// All that one request can ever get.
    pub fn largest(&self) -> usize {
        self.0.limit - self.0.limit / 4
    }
}

impl Default for Reservation {
    /// Of a budget without bounds.
    fn default() -> Self {
        ByteBudget::new(usize::MAX).reservation()
    }
}

impl Reservation {
    /// Reserves bytes that are still to come: what grows takes these first.
    pub fn set_aside(&self, more: usize) -> Result<(), Error> {
        self.reserve(more)?;
        self.aside.fetch_add(more, Relaxed);
        Ok(())
    }

    /// Reserves so many bytes more, if they are free.
    pub fn grow(&self, more: usize) -> Result<(), Error> {
        let aside = self.aside.load(Relaxed).min(more);
        self.reserve(more - aside)?;
        if aside > 0 {
            self.aside.fetch_sub(aside, Relaxed);
        }
        Ok(())
    }

    fn reserve(&self, more: usize) -> Result<(), Error> {
        let held = self.bytes.load(Relaxed).saturating_add(more);
        let limit = match held > SMALL {
            true => self.budget.largest(),
            false => self.budget.0.limit,
        };
        let within = |used: usize| used.checked_add(more).filter(|&sum| sum <= limit);
        let reserved = self.budget.0.used.fetch_update(Relaxed, Relaxed, within);
        reserved.map_err(|_| Error::NoRoom)?;
        self.bytes.fetch_add(more, Relaxed);
        Ok(())
    }

    /// Counts what is there already and must not be thrown away: it was paid for.
    pub fn count(&self, more: usize) {
        self.budget.0.used.fetch_add(more, Relaxed);
        self.bytes.fetch_add(more, Relaxed);
    }

    /// A reservation beside this one, for what does not last as long.
    pub fn beside(&self) -> Self {
        self.budget.reservation()
    }
}

impl AsRef<Self> for Reservation {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let bytes = *self.bytes.get_mut();
        self.budget.0.used.fetch_sub(bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn what_is_dropped_is_free_again() {
        let budget = ByteBudget::new(4 * MIB);
        let (one, other) = (budget.reservation(), budget.reservation());
        one.grow(2 * MIB).unwrap();
        assert!(matches!(other.grow(2 * MIB), Err(Error::NoRoom)));
        assert_eq!(budget.in_use(), 2 * MIB);
        drop(one);
        other.grow(3 * MIB).unwrap();
        drop(other);
        assert_eq!(budget.in_use(), 0);
    }

    #[test]
    fn large_requests_leave_room_for_small_ones() {
        let budget = ByteBudget::new(4 * MIB);
        let (large, small) = (budget.reservation(), budget.reservation());
        large.grow(budget.largest()).unwrap();
        assert!(large.grow(1).is_err());
        small.grow(SMALL).unwrap();
        assert!(small.grow(1).is_err());
    }

    #[test]
    fn what_is_set_aside_is_counted_once() {
        let budget = ByteBudget::new(4 * MIB);
        let reservation = budget.reservation();
        reservation.set_aside(2 * MIB).unwrap();
        reservation.grow(MIB).unwrap();
        assert_eq!(budget.in_use(), 2 * MIB);
        reservation.grow(2 * MIB).unwrap();
        assert_eq!(budget.in_use(), 3 * MIB);
        drop(reservation);
        assert_eq!(budget.in_use(), 0);
    }

    #[test]
    fn nothing_overflows() {
        let reservation = ByteBudget::new(usize::MAX).reservation();
        reservation.grow(10).unwrap();
        assert!(reservation.grow(usize::MAX).is_err());
    }

    #[test]
    fn what_was_paid_for_is_counted_even_beyond() {
        let budget = ByteBudget::new(MIB);
        let reservation = budget.reservation();
        reservation.count(2 * MIB);
        assert!(budget.reservation().grow(1).is_err());
        drop(reservation);
        assert_eq!(budget.in_use(), 0);
    }
}
