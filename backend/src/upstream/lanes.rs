//! Connections to the upstream, in lanes: over HTTP/2 a lane is one connection, which so many
//! requests share that none of them starves.
//!
//! A server takes some 100 streams a connection and lets more wait. And what a slow client leaves
//! unread fills the window of the whole connection, so a connection's window holds as much as all
//! its streams may leave.
//!
//! A lane takes no more requests when it is old: a connection that is never idle would hold on to an
//! address that the upstream's name may have left.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

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
    /// How old a lane may become.
    max_age: Duration,
}

/// Builds the client of one more lane.
pub(super) struct Builder(Box<dyn Fn() -> reqwest::Result<reqwest::Client> + Send + Sync>);

#[derive(Debug)]
struct Lane {
    http: reqwest::Client,
    running: AtomicUsize,
    born: Instant,
}

/// A request's place in a lane, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<Lane>);

impl Lanes {
    /// Lanes whose requests may each leave `window` bytes of an answer unread.
    pub(super) fn new<F>(
        is_tls: bool,
        window: u32,
        max_age: Duration,
        client: F,
    ) -> reqwest::Result<Self>
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
            max_age,
        })
    }

    /// A place in the first lane that has one, so that a quiet gateway has one connection.
    pub(super) fn place(&self) -> Place {
        let lanes = self.lanes.read().unwrap_or_else(PoisonError::into_inner);
        let free = self.free(&lanes);
        drop(lanes);
        free.unwrap_or_else(|| self.more())
    }

    /// Takes note of the protocol of an answer.
    pub(super) fn note(&self, version: Version) {
        self.may_share
            .store(version == Version::HTTP_2, Ordering::Relaxed);
    }

    fn free(&self, lanes: &[Arc<Lane>]) -> Option<Place> {
        let mut young = lanes.iter().filter(|lane| self.is_young(lane));
        if !self.may_share.load(Ordering::Relaxed) {
            return young.next().map(Lane::enter);
        }
        let mut places = young.map(Lane::enter);
        places.find(|place| place.0.running.load(Ordering::Relaxed) <= REQUESTS)
    }

    /// A place in a lane of its own, or in the emptiest if there are enough.
    fn more(&self) -> Place {
        let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
        // Another request may have made one.
        if let Some(place) = self.free(&lanes) {
            return place;
        }
        if lanes.iter().filter(|lane| self.is_young(lane)).count() < MAX_LANES {
            match Lane::new(&self.builder) {
                Ok(lane) => {
                    // What is old ends with its last request.
                    lanes.retain(|lane| self.is_young(lane));
                    lanes.push(lane);
                }
                Err(error) => tracing::warn!(%error, "no more connections to the upstream"),
            }
        }
        let running = |lane: &&Arc<Lane>| lane.running.load(Ordering::Relaxed);
        let emptiest = lanes.iter().min_by_key(running).unwrap_or(&self.first);
        emptiest.enter()
    }

    fn is_young(&self, lane: &Lane) -> bool {
        lane.born.elapsed() < self.max_age
    }
}

impl Lane {
    fn new(builder: &Builder) -> reqwest::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            http: builder.0()?,
            running: AtomicUsize::new(0),
            born: Instant::now(),
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
