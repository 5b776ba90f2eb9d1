//! Connections to the upstream, in lanes: over HTTP/2 a lane is one connection, which so many
//! requests share that none of them starves.
//!
//! A server takes some 100 streams a connection and lets more wait. And what a slow client leaves
//! unread fills the window of the whole connection, so a connection's window holds as much as all
//! its streams may leave.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::Version;

/// Requests of a connection: well below the 100 streams that a server has to offer (RFC 9113,
/// 6.5.2).
const REQUESTS: usize = 32;

/// Enough for 1,024 requests.
const MAX_LANES: usize = 32;

/// A connection that went silent is found out, and its requests fail, in twice this time.
const PING: Duration = Duration::from_secs(20);

/// One kind of requests, and its lanes.
#[derive(Debug)]
pub(super) struct Lanes {
    first: Arc<Lane>,
    lanes: RwLock<Vec<Arc<Lane>>>,
    builder: Builder,
    /// Whether the upstream may speak HTTP/2; HTTP/1 has a connection for each request anyway.
    may_share: AtomicBool,
}

/// Builds the client of one more lane.
pub(super) struct Builder(Box<dyn Fn() -> reqwest::Result<reqwest::Client> + Send + Sync>);

#[derive(Debug)]
struct Lane {
    http: reqwest::Client,
    running: AtomicUsize,
}

/// A request's place in a lane, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Lane>);

impl Lanes {
    /// Lanes whose requests may each leave `window` bytes of an answer unread.
    pub(super) fn new<F>(is_tls: bool, window: u32, client: F) -> reqwest::Result<Self>
    where
        F: Fn() -> reqwest::ClientBuilder + Send + Sync + 'static,
    {
        let builder = Builder(Box::new(move || {
            let client = client()
                .http2_initial_stream_window_size(window)
                .http2_initial_connection_window_size(window * REQUESTS as u32)
                .http2_keep_alive_interval(PING)
                .http2_keep_alive_timeout(PING);
            client.build()
        }));
        let first = Lane::new(&builder)?;
        Ok(Self {
            lanes: RwLock::new(vec![Arc::clone(&first)]),
            first,
            builder,
            may_share: AtomicBool::new(is_tls),
        })
    }

    /// A place in the first lane that has one, so that a quiet gateway has one connection.
    pub(super) fn place(&self) -> Place {
        self.free().unwrap_or_else(|| self.more())
    }

    /// Takes note of the protocol of an answer.
    pub(super) fn note(&self, version: Version) {
        self.may_share
            .store(version == Version::HTTP_2, Ordering::Relaxed);
    }

    fn free(&self) -> Option<Place> {
        if !self.may_share.load(Ordering::Relaxed) {
            return Some(self.first.enter());
        }
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        let places = lanes.iter().map(|lane| lane.enter());
        let mut free = places.filter(|place| place.0.running.load(Ordering::Relaxed) <= REQUESTS);
        free.next()
    }

    /// A place in a lane of its own, or in the emptiest if there are enough.
    fn more(&self) -> Place {
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() < MAX_LANES {
            match Lane::new(&self.builder) {
                Ok(lane) => lanes.push(lane),
                Err(error) => tracing::warn!(%error, "no more connections to the upstream"),
            }
        }
        let running = |lane: &&Arc<Lane>| lane.running.load(Ordering::Relaxed);
        let emptiest = lanes.iter().min_by_key(running).unwrap_or(&self.first);
        emptiest.enter()
    }
}

impl Lane {
    fn new(builder: &Builder) -> reqwest::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            http: builder.0()?,
            running: AtomicUsize::new(0),
        }))
    }

    fn enter(self: &Arc<Self>) -> Place {
        self.running.fetch_add(1, Ordering::Relaxed);
        Place(Arc::clone(self))
    }
}

impl Place {
    /// The client of this place's lane.
    pub(super) fn http(&self) -> &reqwest::Client {
        &self.0.http
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Builder")
    }
}
