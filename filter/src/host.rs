//! The proxy-wasm host adapter: the one file that calls the SDK.
//!
//! The SDK panics on any status that it does not expect, and one panic takes the VM down, so each
//! call here stands where Envoy can give no other status: headers are touched only while Envoy
//! still lends them to this filter, and read as bytes only.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType, LogLevel, MapType, MetricType};

use crate::config::{Config, Role};
use crate::digest::Body;
use crate::gate;
use crate::policy::Head;
use crate::rendezvous::{
    ContextId, Join, Place, Release, Rendezvous, TICKS_PER_STALL_TIMEOUT, Ticket, Wake,
};
use crate::roots::Roots;
use crate::single::Single;
use crate::stats::{HASHED, HELD, Outcome, Reason};
use crate::tap::Tap;

/// The key in the stream's filter state (Envoy puts `wasm.` before it).
const TICKET_PROPERTY: &str = "body_hash_tap";

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|id| Box::new(Root { id, config: None }));
}}

/// What all streams of this VM share. A VM has one thread.
struct Worker {
    vm: [u8; 16],
    meeting: Rendezvous,
    roots: Roots,
    meters: Option<Meters>,
}

thread_local! {
    static WORKER: RefCell<Worker> = RefCell::new(Worker {
        vm: random_bytes(),
        meeting: Rendezvous::default(),
        roots: Roots::default(),
        meters: None,
    });
}

/// The standard library seeds its hash maps with the host's random numbers.
fn random_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    for half in bytes.chunks_exact_mut(8) {
        half.copy_from_slice(&RandomState::new().hash_one(0_u8).to_le_bytes());
    }
    bytes
}

/// Runs `act` on the worker. No host call that could come back to us is made meanwhile, so the
/// worker is always free; were it not, the request would go on untouched.
fn with_worker<T>(act: impl FnOnce(&mut Worker) -> T) -> Option<T> {
    WORKER
        .try_with(|worker| {
            worker
                .try_borrow_mut()
                .ok()
                .map(|mut worker| act(&mut worker))
        })
        .ok()?
}

struct Meters {
    hashed: u32,
    held: u32,
    skipped: [u32; Reason::ALL.len()],
}

impl Meters {
    fn define() -> Option<Self> {
        let define = |kind, name| hostcalls::define_metric(kind, name).ok();
        let mut skipped = [0; Reason::ALL.len()];
        for (id, reason) in skipped.iter_mut().zip(Reason::ALL) {
            *id = define(MetricType::Counter, reason.counter())?;
        }
        Some(Self {
            hashed: define(MetricType::Counter, HASHED)?,
            held: define(MetricType::Gauge, HELD)?,
            skipped,
        })
    }
}

fn add(meter: impl FnOnce(&Meters) -> Option<u32>, offset: i64) {
    if let Some(Some(id)) = with_worker(|worker| worker.meters.as_ref().and_then(meter)) {
        // A metric that Envoy lost is no reason to lose a request.
        let _counted = hostcalls::increment_metric(id, offset);
    }
}

fn count(outcome: Outcome) {
    add(
        |meters| match outcome {
            Outcome::Hashed(_) => Some(meters.hashed),
            Outcome::Skipped(reason) => meters.skipped.get(reason as usize).copied(),
        },
        1,
    );
}

fn count_held(change: i64) {
    add(|meters| Some(meters.held), change);
}

/// Has a ready request resumed in a turn of its own: now the last bytes of its body are not yet
/// behind it, and resuming would run other filters inside this callback.
fn wake(wake: Option<Wake>) {
    let queue = wake.and_then(|Wake(root)| with_worker(|worker| worker.roots.queue_of(root))?);
    if let Some(queue) = queue {
        // Lost only with the whole VM. The next tick would wake again.
        let _rung = hostcalls::enqueue_shared_queue(queue, Some(b"1"));
    }
}

struct Root {
    id: ContextId,
    config: Option<Rc<Config>>,
}

impl Root {
    fn start(&self, config: &Config) {
        if with_worker(|worker| worker.meters.is_none()) == Some(true) {
            let meters = Meters::define();
            with_worker(|worker| worker.meters = meters);
        }
        let knows_us = with_worker(|worker| worker.roots.knows(self.id)).unwrap_or(true);
        if config.role != Role::Tap && !knows_us {
            // Envoy keeps one queue per name in the whole process: the name has our VM in it.
            let name = with_worker(|worker| {
                format!(
                    "body-hash {:032x} {}",
                    u128::from_le_bytes(worker.vm),
                    self.id
                )
            });
            let queue = name.and_then(|name| hostcalls::register_shared_queue(&name).ok());
            with_worker(|worker| queue.map(|queue| worker.roots.add(self.id, queue)));
        }
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        with_worker(|worker| {
            if let Some(heir) = worker.roots.remove(self.id) {
                worker.meeting.adopt(self.id, heir);
            }
        });
    }
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let json = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, size)
            .ok()
            .flatten();
        match Config::parse(&json.unwrap_or_default()) {
            Ok(config) => {
                self.start(&config);
                self.config = Some(Rc::new(config));
                true
            }
            Err(wrong) => {
                let line = format!("body-hash: configuration refused: {wrong}");
                let _logged = hostcalls::log(LogLevel::Error, &line);
                false
            }
        }
    }

    fn on_tick(&mut self) {
        let (ready, idle) = with_worker(|worker| {
            let ready = worker.meeting.tick(self.id);
            let idle = !worker.meeting.watches(self.id);
            if idle {
                worker.roots.stop_ticking(self.id);
            }
            (ready, idle)
        })
        .unwrap_or_default();
        for _ in 0..ready {
            wake(Some(Wake(self.id)));
        }
        if idle {
            let _stopped = hostcalls::set_tick_period(Duration::ZERO);
        }
    }

    fn on_queue_ready(&mut self, queue: u32) {
        let _bell = hostcalls::dequeue_shared_queue(queue);
        // One request a turn: resuming may end other streams.
        if let Some(Some(ready)) = with_worker(|worker| worker.meeting.next_ready()) {
            release(&ready);
        }
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            id,
            root: self.id,
            config: self.config.clone(),
            phase: Phase::Idle,
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// Lets a held request go on, from a callback of its root context.
fn release(
    Release {
        stream,
        config,
        outcome,
    }: &Release,
) {
    count_held(-1);
    if hostcalls::set_effective_context(*stream).is_ok() {
        settle(config, *outcome);
        let _resumed = hostcalls::resume_http_request();
    }
}

/// Writes the header, if there is one, and counts. The headers of the effective context must
/// still be lent to it: it is in its own callback, or held.
fn settle(config: &Config, outcome: Outcome) {
    if let Outcome::Hashed(digest) = outcome {
        let value = digest.to_hex();
        let _set = hostcalls::set_map_value(
            MapType::HttpRequestHeaders,
            &config.header,
            Some(value.as_str()),
        );
    }
    count(outcome);
}

/// The headers of the request whose headers callback is running.
struct RequestHeaders;

impl Head for RequestHeaders {
    fn get(&self, name: &str) -> Option<Vec<u8>> {
        hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, name)
            .ok()
            .flatten()
    }
}

/// The body bytes that the running body callback may read.
struct RequestBody;

impl Body for RequestBody {
    fn read(&self, start: usize, len: usize) -> Option<Vec<u8>> {
        hostcalls::get_buffer(BufferType::HttpRequestBody, start, len)
            .ok()
            .flatten()
    }
}

enum Phase {
    /// No headers have come: a refusal before us ends streams that never began.
    Idle,
    Tap(Tap),
    Gate,
    Single(Single),
}

struct Stream {
    id: ContextId,
    root: ContextId,
    config: Option<Rc<Config>>,
    phase: Phase,
}

impl Stream {
    fn tap(&mut self, config: &Config, ends_here: bool) -> Action {
        // Without a body the gate decides for itself.
        if !ends_here {
            let begun = with_worker(|worker| {
                let ticket = Ticket {
                    vm: worker.vm,
                    tap: self.id,
                };
                (
                    Tap::begin(self.id, config, &RequestHeaders, &mut worker.meeting),
                    ticket,
                )
            });
            if let Some((tap, ticket)) = begun {
                self.phase = Phase::Tap(tap);
                let _left =
                    hostcalls::set_property(vec![TICKET_PROPERTY], Some(&ticket.to_bytes()));
            }
        }
        Action::Continue
    }

    fn gate(&mut self, config: &Rc<Config>, ends_here: bool) -> Action {
        self.phase = Phase::Gate;
        let join = with_worker(|worker| {
            let ticket = || {
                let bytes = hostcalls::get_property(vec![TICKET_PROPERTY])
                    .ok()
                    .flatten();
                Ticket::from_bytes(&bytes?)?.redeem(worker.vm)
            };
            let place = Place {
                stream: self.id,
                root: self.root,
                config,
            };
            gate::on_headers(
                place,
                &RequestHeaders,
                ends_here,
                ticket,
                &mut worker.meeting,
            )
        });
        self.obey(config, join)
    }

    fn single(&mut self, config: &Rc<Config>, ends_here: bool) -> Action {
        let begun = with_worker(|worker| {
            let place = Place {
                stream: self.id,
                root: self.root,
                config,
            };
            Single::begin(place, &RequestHeaders, ends_here, &mut worker.meeting)
        });
        let (single, join) = begun.unzip();
        self.phase = single.map_or(Phase::Idle, Phase::Single);
        self.obey(config, join)
    }

    /// Carries out the decision on a request's headers.
    fn obey(&self, config: &Config, join: Option<Join>) -> Action {
        match join {
            Some(Join::Hold) => {
                count_held(1);
                self.watch(config);
                Action::Pause
            }
            Some(Join::Settled(outcome)) => {
                settle(config, outcome);
                Action::Continue
            }
            None => Action::Continue,
        }
    }

    /// Starts the timer of our root, which stops it when nothing is held.
    fn watch(&self, config: &Config) {
        if with_worker(|worker| worker.roots.start_ticking(self.root)) == Some(true) {
            let tick = config.stall_timeout / TICKS_PER_STALL_TIMEOUT;
            let _ticks = hostcalls::set_tick_period(tick.max(Duration::from_millis(1)));
        }
    }

    fn after_body(&self, config: &Config, join: Option<Join>) -> Action {
        match join {
            Some(Join::Hold) => Action::Pause,
            Some(Join::Settled(outcome)) => {
                count_held(-1);
                settle(config, outcome);
                Action::Continue
            }
            None => Action::Continue,
        }
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, ends_here: bool) -> Action {
        let Some(config) = self.config.clone() else {
            return Action::Continue;
        };
        // Only if it is there: a removal makes Envoy choose the route anew.
        if RequestHeaders.get(&config.header).is_some() {
            let _removed = hostcalls::remove_map_value(MapType::HttpRequestHeaders, &config.header);
        }
        match config.role {
            Role::Tap => self.tap(&config, ends_here),
            Role::Gate => self.gate(&config, ends_here),
            Role::Single => self.single(&config, ends_here),
        }
    }

    fn on_http_request_body(&mut self, size: usize, ends_here: bool) -> Action {
        match (&mut self.phase, self.config.clone()) {
            (Phase::Tap(tap), _) => {
                let woken = with_worker(|worker| {
                    tap.on_body(&RequestBody, size, ends_here, &mut worker.meeting)
                });
                wake(woken.flatten());
                Action::Continue
            }
            (Phase::Single(single), Some(config)) => {
                let join = with_worker(|worker| {
                    single.on_body(&RequestBody, size, ends_here, &mut worker.meeting)
                });
                self.after_body(&config, join.flatten())
            }
            _ => Action::Continue,
        }
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        match (&mut self.phase, self.config.clone()) {
            (Phase::Tap(tap), _) => {
                wake(with_worker(|worker| tap.on_end(&mut worker.meeting)).flatten());
                Action::Continue
            }
            (Phase::Single(single), Some(config)) => {
                let join = with_worker(|worker| single.on_end(&mut worker.meeting));
                self.after_body(&config, join.flatten())
            }
            _ => Action::Continue,
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        match self.phase {
            Phase::Idle => {}
            Phase::Tap(_) => {
                wake(with_worker(|worker| worker.meeting.leave_tap(self.id)).flatten());
            }
            Phase::Gate | Phase::Single(_) => {
                if with_worker(|worker| worker.meeting.leave(self.id)) == Some(true) {
                    count_held(-1);
                    count(Outcome::Skipped(Reason::Aborted));
                }
            }
        }
    }
}
