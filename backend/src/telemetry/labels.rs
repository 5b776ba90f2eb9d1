//! The label values of our metrics. All sets but statuses and models are closed, so that every
//! series is there from the start and a rate misses no first event.

use std::fmt::Debug;

/// A closed set of values of one label.
pub trait Label: Copy + Debug + Send + Sync + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// All values, each at its own [`index`](Self::index).
    const ALL: &'static [Self];

    /// Its place among all values.
    fn index(self) -> usize;

    /// How it is written.
    fn value(self) -> &'static str;
}

macro_rules! label {
    ($(#[$about:meta])* $label:literal $visible:vis $name:ident { $($(#[$meaning:meta])* $variant:ident = $value:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $visible enum $name {
            $($(#[$meaning])* $variant,)*
        }

        impl $crate::telemetry::labels::Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$variant,)*];

            fn index(self) -> usize {
                self as usize
            }

            fn value(self) -> &'static str {
                match self {
                    $(Self::$variant => $value,)*
                }
            }
        }

        impl prometheus_client::encoding::EncodeLabelValue for $name {
            fn encode(
                &self,
                encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
            ) -> std::fmt::Result {
                std::fmt::Write::write_str(encoder, $crate::telemetry::labels::Label::value(*self))
            }
        }
    };
}
pub(crate) use label;

label! {
    /// The parts of the gateway that answer requests.
    "route" pub Route {
        /// `POST /v1/embeddings`.
        Embeddings = "embeddings",
        /// Everything else below `/v1/`.
        Passthrough = "passthrough",
        /// `PURGE` of any path.
        Purge = "purge",
        /// What there is nothing for.
        Other = "other",
    }
}

label! {
    /// What becomes of an input.
    "outcome" pub Outcome {
        /// Memory had its vector.
        Memory = "memory",
        /// The store had its vector.
        Store = "store",
        /// Paid for.
        Miss = "miss",
        /// Somebody else's call brought its vector.
        Collapsed = "collapsed",
        /// It stands twice in its request.
        Repeat = "repeat",
    }
}

label! {
    /// What a request's `X-Body-Hash` is worth.
    "verdict" pub HashVerdict {
        /// It is the hash of the body that arrived.
        Match = "match",
        /// There is none.
        Absent = "absent",
        /// It is the hash of something else.
        Mismatch = "mismatch",
    }
}

label! {
    /// What a store does for us.
    "operation" pub StoreOperation {
        /// To look one entry up.
        Get = "get",
        /// To write one entry.
        Put = "put",
    }
}

label! {
    /// How an operation of the store ends.
    "result" pub StoreResult {
        /// Found, or written.
        Ok = "ok",
        /// Not there.
        Absent = "absent",
        /// There, and not what it should be.
        Unusable = "unusable",
        /// Not in time.
        Timeout = "timeout",
        /// The store refused or could not be reached.
        Failed = "failed",
        /// Not tried: the breaker is open.
        Skipped = "skipped",
    }
}

label! {
    /// Whether the store is used.
    "state" pub BreakerState {
        /// It is.
        Closed = "closed",
        /// It is left alone.
        Open = "open",
        /// One operation tries whether it works again.
        HalfOpen = "half_open",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<L: Label>() {
        for (index, label) in L::ALL.iter().enumerate() {
            assert_eq!(label.index(), index);
            let snake = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            assert!(label.value().bytes().all(snake), "{label:?}");
        }
    }

    #[test]
    fn values_stand_at_their_index_and_are_snake_case() {
        check::<Route>();
        check::<Outcome>();
        check::<HashVerdict>();
        check::<StoreOperation>();
        check::<StoreResult>();
        check::<BreakerState>();
    }
}
