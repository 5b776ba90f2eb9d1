//! A request that goes on before the bytes that its tap is looking at, see [`TapStep::LetGoFirst`].
//!
//! The tap has asked whether the client sent these bytes as they are. Even so a filter before it may have added
//! trailers to them; Envoy would then pass the trailers on first, and drop the bytes behind them. The gate sees that: it
//! counts the body callbacks that must come before any trailers.
//!
//! [`TapStep::LetGoFirst`]: crate::vm::tap::TapStep::LetGoFirst

use crate::vm::rendezvous::{ContextId, Release};

/// At most one request at a time: Envoy passes on its bytes before it runs anything else.
#[derive(Debug, Default)]
pub struct Overtaking(Option<(ContextId, u8)>);

impl Overtaking {
    /// The request of `ready` goes on: first with the bytes that the tap had stopped, then with those at the tap.
    pub fn begin(&mut self, ready: &Release) {
        let callbacks = 1 + u8::from(ready.stopped_tap.is_some());
        self.0 = Some((ready.stream, callbacks));
    }

    /// Bytes have reached `gate`.
    pub fn bytes_came(&mut self, gate: ContextId) {
        self.0 = match self.0 {
            Some((of, left)) if of == gate && left > 1 => Some((of, left - 1)),
            _ => None,
        };
    }

    /// Whether bytes must still reach `gate`.
    #[must_use]
    pub fn is_of(&self, gate: ContextId) -> bool {
        self.0.is_some_and(|(of, _)| of == gate)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::Overtaking;
    use crate::config::Config;
    use crate::stats::Outcome;
    use crate::vm::rendezvous::Release;

    fn ready(stopped_tap: Option<u32>) -> Option<Release> {
        let config = Config::parse(b"{}").ok().map(Rc::new)?;
        let (stream, outcome) = (2, Outcome::TOO_LARGE);
        Some(Release {
            stream,
            stopped_tap,
            config,
            outcome,
        })
    }

    #[test]
    fn trailers_wait_for_all_bytes_of_their_own_request() {
        for (stopped_tap, callbacks) in [(None, 1), (Some(1), 2)] {
            let mut overtaking = Overtaking::default();
            assert!(!overtaking.is_of(2));
            if let Some(ready) = ready(stopped_tap) {
                overtaking.begin(&ready);
            }
            for _ in 0..callbacks {
                assert!(overtaking.is_of(2) && !overtaking.is_of(3));
                overtaking.bytes_came(2);
            }
            assert!(!overtaking.is_of(2));
        }
    }
}
