//! How a held request goes on: woken in a turn of its own, with its header, counted.

use crate::config::Config;
use crate::host::worker::with_worker;
use crate::host::{envoy, metrics};
use crate::stats::Outcome;
use crate::vm::rendezvous::{Release, WakeRoot};

/// Writes the header, if there is one, and counts. Only while Envoy lends the headers to the stream acted for: in its
/// own callback, or while the filter holds it.
pub(super) fn settle(config: &Config, outcome: Outcome) {
    if let Outcome::Hashed(digest) = outcome {
        envoy::set_header(&config.header, &digest.to_hex());
    }
    metrics::count(outcome);
}

/// Makes Envoy run `on_queue_ready` in the next turn, which resumes a ready request. Not in this turn: the last bytes
/// of its body are not yet behind it, and resuming would run other filters inside this callback.
pub(super) fn wake(root: Option<WakeRoot>) {
    let queue = root.and_then(|WakeRoot(root)| with_worker(|worker| worker.roots.queue_of(root))?);
    if let Some(queue) = queue {
        envoy::enqueue(queue);
    }
}

/// Lets a held request go on, right after this callback: first the bytes that its tap has stopped, then the request
/// with all of them.
pub(super) fn release(ready: &Release) {
    metrics::count_held(-1);
    if let Some(tap) = ready.stopped_tap {
        envoy::resume(tap);
    }
    if envoy::act_for(ready.stream) {
        settle(&ready.config, ready.outcome);
        envoy::resume_acted_for();
    }
}
