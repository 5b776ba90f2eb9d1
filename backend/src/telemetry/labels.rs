//! The label values of the metrics. All sets but statuses and models are closed, so that every
//! series exists from the start and a rate misses no first event.

use std::fmt::Debug;

/// A closed set of values of one label.
pub trait Label: Copy + Debug + Send + Sync + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// All values, each at its own [`index`](Self::index).
    const ALL: &'static [Self];

    /// Its place among all values.
    fn index(self) -> usize;

    /// Its spelling in the exposition.
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
        /// Unknown paths.
        Other = "other",
    }
}

label! {
    /// Where an input's vector came from.
    "outcome" pub Outcome {
        /// Memory had its vector.
        Memory = "memory",
        /// The store had its vector.
        Store = "store",
        /// The upstream charged for it.
        Miss = "miss",
        /// Another request's call brought its vector.
        Collapsed = "collapsed",
        /// It repeats another input of its request.
        Repeat = "repeat",
    }
}

label! {
    /// Why an embeddings request goes past the cache.
    "reason" pub Bypass {
        /// Its query may hold a credential.
        Query = "query",
        /// Its body is compressed.
        Encoding = "encoding",
        /// A field that may change vectors in a way that the gateway does not know.
        Field = "field",
        /// A shape that the gateway does not know.
        Shape = "shape",
    }
}

label! {
    /// What a request's `X-Body-Hash` is worth.
    "verdict" pub HashVerdict {
        /// It is the hash of the body that arrived.
        Match = "match",
        /// The request has none.
        Absent = "absent",
        /// It is not the hash of the body that arrived.
        Mismatch = "mismatch",
    }
}

label! {
    /// How a comparison of shortened vectors with the upstream's own ended.
    "result" pub SelfTest {
        /// They are the same: the gateway shortens vectors of this model.
        Same = "same",
        /// They differ: the upstream's own are served.
        Differs = "differs",
        /// The upstream did not give both.
        Undecided = "undecided",
    }
}

label! {
    /// How a call that several requests share ended.
    "result" pub SharedCall {
        /// All of them have what they asked for, or its failure is theirs.
        Shared = "shared",
        /// It failed, maybe by the input of one of them: each called by itself.
        MadeAgain = "apart",
    }
}

label! {
    /// The operations of a store.
    "operation" pub StoreOperation {
        /// Looks up one entry.
        Get = "get",
        /// Writes one entry.
        Put = "put",
    }
}

label! {
    /// How an operation of the store ended.
    "result" pub StoreResult {
        /// Found, or written.
        Ok = "ok",
        /// The store has no such object.
        Absent = "absent",
        /// The store has an object, but a damaged or misplaced one.
        Unusable = "unusable",
        /// The store did not answer in time.
        Timeout = "timeout",
        /// The store refused or could not be reached.
        Failed = "failed",
        /// Not tried: the breaker is open.
        Skipped = "skipped",
    }
}

label! {
    /// What the gateway's key must be allowed to do in the store.
    "right" pub StoreRight {
        /// Without it, nothing outlives memory.
        Write = "write",
        /// Without it, nothing that was written is of use.
        Read = "read",
        /// Without it, purges of other gateways are not heard.
        List = "list",
        /// Without it, purges pile up.
        Delete = "delete",
    }
}

label! {
    /// What became of a file of upstreams that was to be read again.
    "result" pub Reload {
        /// It changed, and holds from now on.
        Done = "done",
        /// It cannot be used: what was read before holds.
        Failed = "failed",
    }
}

label! {
    /// Why a call went to another upstream.
    "reason" pub Failover {
        /// No connection.
        Unreachable = "unreachable",
        /// No answer in time. It may have been charged.
        Timeout = "timeout",
        /// The answer broke off, or is none. It may have been charged.
        Broken = "broken",
        /// A status of 5xx. It may have been charged.
        ServerError = "server_error",
        /// The rate is used up.
        RateLimited = "rate_limited",
        /// The upstream refuses the gateway's key.
        KeyRefused = "key_refused",
    }
}

impl Failover {
    /// Whether the call that failed may have been charged.
    pub fn may_be_charged(self) -> bool {
        matches!(self, Self::Timeout | Self::Broken | Self::ServerError)
    }
}

label! {
    /// Whether the gateway uses the store.
    "state" pub BreakerState {
        /// All operations go through.
        Closed = "closed",
        /// No operation goes through.
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
        check::<SelfTest>();
        check::<SharedCall>();
        check::<StoreOperation>();
        check::<StoreResult>();
        check::<StoreRight>();
        check::<Reload>();
        check::<Failover>();
        check::<BreakerState>();
    }
}
