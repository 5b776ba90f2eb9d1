//! A proxy in small drives the phases through arbitrary interleavings of many streams.
//!
//! It keeps Envoy's rules: a held filter sees nothing but its release, a ready request is resumed
//! in a later turn, ticks come from root contexts, and a stream may end at any moment.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::HashMap;
use std::rc::Rc;

use body_hash_filter::config::Config;
use body_hash_filter::decision::{Bytes, GateDecision};
use body_hash_filter::digest::HeldBody;
use body_hash_filter::policy::RequestHead;
use body_hash_filter::stats::{Outcome, Reason};
use body_hash_filter::vm::gate;
use body_hash_filter::vm::rendezvous::{
    ContextId, HeldRequest, Release, Rendezvous, TICKS_PER_STALL_TIMEOUT, WakeRoot,
};
use body_hash_filter::vm::single::{Single, SingleStep};
use body_hash_filter::vm::tap::{Tap, TapStep};
use proptest::collection::vec;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

const ROOTS: [ContextId; 2] = [1, 2];

/// A POST without a length: what is hashed is then decided by the body alone.
struct Post;

impl RequestHead for Post {
    fn get(&self, name: &str) -> Option<&[u8]> {
        (name == ":method").then_some(b"POST")
    }
}

struct Lent<'a>(&'a [u8]);

impl HeldBody for Lent<'_> {
    fn read(&self, start: usize, len: usize) -> Option<Vec<u8>> {
        self.0.get(start..start + len).map(<[u8]>::to_vec)
    }
}

#[derive(Clone, Debug)]
enum Event {
    /// A request begins. `late`: a filter between the two lets the gate start only on `Arrive`.
    Open {
        pair: bool,
        late: bool,
        root: usize,
        tap_cap: u64,
        cap: u64,
    },
    Chunk {
        stream: usize,
        bytes: Vec<u8>,
    },
    End {
        stream: usize,
    },
    Arrive {
        stream: usize,
    },
    Abort {
        stream: usize,
    },
    /// One `on_queue_ready`.
    Turn,
    Tick {
        root: usize,
    },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let stream = 0..6_usize;
    let cap = prop_oneof![Just(1_u64), Just(20), Just(60), Just(100_000)];
    let event = prop_oneof![
        3 => (any::<bool>(), any::<bool>(), 0..2_usize, cap.clone(), cap).prop_map(
            |(pair, late, root, tap_cap, cap)| Event::Open { pair, late, root, tap_cap, cap }
        ),
        6 => (stream.clone(), vec(any::<u8>(), 0..40))
            .prop_map(|(stream, bytes)| Event::Chunk { stream, bytes }),
        4 => stream.clone().prop_map(|stream| Event::End { stream }),
        3 => stream.clone().prop_map(|stream| Event::Arrive { stream }),
        1 => stream.prop_map(|stream| Event::Abort { stream }),
        5 => Just(Event::Turn),
        3 => (0..2_usize).prop_map(|root| Event::Tick { root }),
    ];
    vec(event, 0..120)
}

fn config(cap: u64) -> Rc<Config> {
    let json = format!(r#"{{"maxBodyBytes":{cap}}}"#);
    Rc::new(Config::parse(json.as_bytes()).unwrap())
}

enum First {
    Tap(Tap),
    Single(Single),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Gate {
    Ahead,
    Held,
    Passed(Outcome),
}

struct Stream {
    tap: ContextId,
    gate: ContextId,
    root: ContextId,
    first: First,
    at_gate: Gate,
    config: Rc<Config>,
    smallest_cap: u64,
    body: Vec<u8>,
    /// What the proxy keeps in its buffer, and what it has passed on.
    kept: Vec<u8>,
    passed: Vec<u8>,
    /// The first filter has stopped the bytes.
    stopped: bool,
    ended: bool,
    idle_ticks: u32,
}

#[derive(Default)]
struct Proxy {
    meeting: Rendezvous,
    streams: Vec<Stream>,
    by_gate: HashMap<ContextId, usize>,
    turns: usize,
    next_id: ContextId,
    gone: Vec<usize>,
    root_gone: bool,
}

impl Proxy {
    fn apply(&mut self, event: Event) {
        match event {
            Event::Open {
                pair,
                late,
                root,
                tap_cap,
                cap,
            } => {
                self.open(pair, late && pair, ROOTS[root], tap_cap, cap);
            }
            Event::Chunk { stream, bytes } => self.body(stream, &bytes, false),
            Event::End { stream } => self.body(stream, &[], true),
            Event::Arrive { stream } => self.arrive(stream),
            Event::Abort { stream } => self.abort(stream),
            Event::Turn => self.turn(),
            Event::Tick { root } => self.tick(ROOTS[root]),
        }
    }

    fn wake(&mut self, wake: Option<WakeRoot>) {
        self.turns += usize::from(wake.is_some());
    }

    fn open(&mut self, pair: bool, late: bool, root: ContextId, tap_cap: u64, cap: u64) {
        let (tap, gate) = (self.next_id + 10, self.next_id + 11);
        self.next_id += 2;
        let config = config(cap);
        let request = HeldRequest {
            stream: gate,
            root,
            config: &config,
        };
        let (first, at_gate) = if pair {
            let tap_config = self::config(tap_cap);
            (
                First::Tap(Tap::begin(tap, &tap_config, &Post, &mut self.meeting)),
                Gate::Ahead,
            )
        } else {
            let (single, decision) =
                Single::begin(request, &Post, false, |_| true, &mut self.meeting);
            assert_eq!(decision, GateDecision::Hold);
            (First::Single(single), Gate::Held)
        };
        let smallest_cap = if pair { cap.min(tap_cap) } else { cap };
        let (body, kept, passed) = (Vec::new(), Vec::new(), Vec::new());
        let (stopped, ended, idle_ticks) = (false, false, 0);
        let index = self.streams.len();
        self.streams.push(Stream {
            tap,
            gate,
            root,
            first,
            at_gate,
            config,
            smallest_cap,
            body,
            kept,
            passed,
            stopped,
            ended,
            idle_ticks,
        });
        self.by_gate.insert(gate, index);
        if pair && !late {
            self.arrive(index);
        }
    }

    fn arrive(&mut self, index: usize) {
        let Some(stream) = self.streams.get_mut(index) else {
            return;
        };
        if stream.at_gate != Gate::Ahead || self.gone.contains(&index) {
            return;
        }
        stream.idle_ticks = 0;
        let (tap, request) = (
            stream.tap,
            HeldRequest {
                stream: stream.gate,
                root: stream.root,
                config: &stream.config,
            },
        );
        let (_, decision) =
            gate::Gate::begin(request, || Post, false, || Some(tap), &mut self.meeting);
        match decision {
            GateDecision::Hold => self.streams[index].at_gate = Gate::Held,
            GateDecision::Settled(outcome) => {
                self.pass(index, outcome);
                self.streams[index].flow();
            }
        }
    }

    fn body(&mut self, index: usize, bytes: &[u8], ends_here: bool) {
        let Some(stream) = self.streams.get_mut(index) else {
            return;
        };
        if stream.ended || self.gone.contains(&index) {
            return;
        }
        stream.body.extend_from_slice(bytes);
        stream.ended = ends_here;
        stream.idle_ticks = 0;
        match &stream.first {
            First::Tap(_) => self.tap_body(index, bytes, ends_here),
            First::Single(_) => self.single_body(index, bytes, ends_here),
        }
    }

    fn tap_body(&mut self, index: usize, bytes: &[u8], ends_here: bool) {
        let stream = &mut self.streams[index];
        let First::Tap(tap) = &mut stream.first else {
            return;
        };
        let shown = Bytes {
            body: &Lent(bytes),
            len: bytes.len(),
            ends_here,
        };
        match tap.on_body(&shown, |_| index.is_multiple_of(2), &mut self.meeting) {
            TapStep::Continue(wake) => {
                stream.kept.extend_from_slice(bytes);
                stream.stopped = false;
                stream.flow();
                self.wake(wake);
            }
            TapStep::Stop(wake) => {
                assert_eq!(stream.at_gate, Gate::Held, "stopped where no gate waits");
                stream.kept.extend_from_slice(bytes);
                stream.stopped = true;
                self.wake(wake);
            }
            TapStep::Refuse => panic!("refused without trailers"),
            TapStep::LetGoFirst(ready) => {
                assert!(!ends_here, "the end would overtake the last bytes");
                assert!(stream.kept.len() as u64 <= stream.config.max_body_bytes);
                self.resume(&ready);
                let stream = &mut self.streams[index];
                stream.kept.extend_from_slice(bytes);
                stream.flow();
            }
        }
    }

    fn single_body(&mut self, index: usize, bytes: &[u8], ends_here: bool) {
        let stream = &mut self.streams[index];
        let First::Single(single) = &mut stream.first else {
            return;
        };
        let shown = Bytes {
            body: &Lent(bytes),
            len: bytes.len(),
            ends_here,
        };
        match single.on_body(&shown, |_| index.is_multiple_of(2), &mut self.meeting) {
            SingleStep::Stop(wake) => {
                assert_eq!(stream.at_gate, Gate::Held);
                stream.kept.extend_from_slice(bytes);
                stream.stopped = true;
                self.wake(wake);
            }
            SingleStep::Continue(outcome) => {
                stream.kept.extend_from_slice(bytes);
                stream.stopped = false;
                if let Some(outcome) = outcome {
                    self.pass(index, outcome);
                }
                self.streams[index].flow();
            }
            SingleStep::LetGoFirst(ready) => {
                assert!(!ends_here, "the end would overtake the last bytes");
                assert!(stream.kept.len() as u64 <= stream.config.max_body_bytes);
                self.resume(&ready);
                let stream = &mut self.streams[index];
                stream.kept.extend_from_slice(bytes);
                stream.flow();
            }
        }
    }

    fn turn(&mut self) {
        if self.turns == 0 {
            return;
        }
        self.turns -= 1;
        if let Some(ready) = self.meeting.next_ready() {
            self.resume(&ready);
        }
    }

    fn resume(&mut self, ready: &Release) {
        let index = self.by_gate[&ready.stream];
        assert!(!self.gone.contains(&index), "resumed a stream that is gone");
        let stream = &mut self.streams[index];
        assert_eq!(stream.at_gate, Gate::Held, "resumed one that is not held");
        assert!(Rc::ptr_eq(&ready.config, &stream.config));
        if let First::Tap(_) = stream.first {
            let stopped_tap = stream.stopped.then_some(stream.tap);
            assert_eq!(ready.stopped_tap, stopped_tap, "bytes stay behind the tap");
        }
        stream.stopped = false;
        self.pass(index, ready.outcome);
        self.streams[index].flow();
    }

    fn tick(&mut self, root: ContextId) {
        for stream in self.streams.iter_mut().filter(|stream| stream.root == root) {
            stream.idle_ticks += 1;
        }
        self.turns += self.meeting.tick(root);
    }

    fn abort(&mut self, index: usize) {
        if index >= self.streams.len() || self.gone.contains(&index) {
            return;
        }
        self.gone.push(index);
        let stream = &self.streams[index];
        if matches!(stream.first, First::Tap(_)) {
            let wake = self.meeting.leave_tap(stream.tap);
            self.turns += usize::from(wake.is_some());
        }
        let stream = &self.streams[index];
        assert_eq!(
            self.meeting.leave(stream.gate),
            stream.at_gate == Gate::Held
        );
    }

    /// A request goes on: exactly once, and only with what is true.
    fn pass(&mut self, index: usize, outcome: Outcome) {
        let stream = &mut self.streams[index];
        assert!(!matches!(stream.at_gate, Gate::Passed(_)), "went on twice");
        let len = stream.body.len() as u64;
        match outcome {
            Outcome::Hashed(digest) => {
                assert!(stream.ended, "hashed before its end");
                assert!(
                    (1..=stream.smallest_cap).contains(&len),
                    "hashed beyond the cap"
                );
                let whole: String = Sha256::digest(&stream.body)
                    .iter()
                    .map(|byte| format!("{byte:02x}"))
                    .collect();
                assert_eq!(digest.to_hex(), whole.as_bytes(), "a wrong digest");
            }
            Outcome::Skipped(Reason::NoBody) => assert!(stream.ended && len == 0),
            Outcome::Skipped(Reason::TooLarge) => assert!(len > stream.smallest_cap),
            Outcome::Skipped(Reason::Stalled) => {}
            Outcome::Skipped(Reason::Aborted) => assert!(self.root_gone),
            Outcome::Skipped(other) => panic!("skipped for {other:?}"),
        }
        stream.at_gate = Gate::Passed(outcome);
    }
}

impl Stream {
    /// What no filter stops goes on.
    fn flow(&mut self) {
        if !self.stopped && matches!(self.at_gate, Gate::Passed(_)) {
            self.passed.append(&mut self.kept);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn whatever_happens_each_request_goes_on_once_and_leaves_nothing(events in events()) {
        let mut proxy = Proxy::default();
        for event in events {
            proxy.apply(event);
        }
        // No more bytes, no more clients: ticks and turns alone must let every request go.
        for _ in 0..=TICKS_PER_STALL_TIMEOUT {
            ROOTS.into_iter().for_each(|root| proxy.tick(root));
        }
        while proxy.turns > 0 {
            proxy.turn();
        }
        for (index, stream) in proxy.streams.iter().enumerate() {
            prop_assert!(proxy.gone.contains(&index) || stream.at_gate != Gate::Held, "hung");
            let arrived = proxy.gone.contains(&index) || stream.at_gate == Gate::Ahead;
            prop_assert!(arrived || stream.passed == stream.body, "bytes are lost or stay");
        }
        for index in 0..proxy.streams.len() {
            proxy.abort(index);
        }
        prop_assert!(proxy.meeting.is_empty());
    }

    #[test]
    fn streams_that_all_end_at_once_leave_nothing(events in events()) {
        let mut proxy = Proxy::default();
        for event in events {
            proxy.apply(event);
        }
        for index in 0..proxy.streams.len() {
            proxy.abort(index);
        }
        prop_assert!(proxy.meeting.is_empty());
        while proxy.turns > 0 {
            proxy.turn();
        }
    }

    /// Without a tick no request goes on early: what ends within its cap is hashed.
    #[test]
    fn a_whole_body_within_the_cap_is_hashed(
        chunks in vec(vec(any::<u8>(), 0..50), 1..20),
        pair: bool,
        late: bool,
        lost_wakes: bool,
    ) {
        let mut proxy = Proxy::default();
        proxy.open(pair, late && pair, ROOTS[0], 100_000, 100_000);
        for chunk in &chunks {
            proxy.body(0, chunk, false);
            // Each chunk is progress: four quiet ticks are no stall.
            (0..TICKS_PER_STALL_TIMEOUT).for_each(|_| proxy.tick(ROOTS[0]));
        }
        proxy.body(0, &[], true);
        if lost_wakes {
            proxy.turns = 0;
            proxy.tick(ROOTS[0]);
        }
        proxy.arrive(0);
        (0..proxy.turns).for_each(|_| proxy.turn());
        let empty = chunks.iter().all(Vec::is_empty);
        let outcome = proxy.streams[0].at_gate;
        prop_assert!(
            matches!(outcome, Gate::Passed(Outcome::Hashed(_))) && !empty
                || outcome == Gate::Passed(Outcome::Skipped(Reason::NoBody)) && empty,
            "{:?}", outcome
        );
    }
}

#[test]
fn a_silent_body_is_let_go_with_the_first_tick_after_the_time_out_and_not_before() {
    for pair in [true, false] {
        let mut proxy = Proxy::default();
        proxy.open(pair, false, ROOTS[0], 100, 100);
        proxy.body(0, b"abc", false);
        for _ in 0..TICKS_PER_STALL_TIMEOUT {
            proxy.tick(ROOTS[0]);
            proxy.tick(ROOTS[1]);
        }
        assert_eq!(proxy.turns, 0);
        proxy.tick(ROOTS[0]);
        proxy.turn();
        assert_eq!(
            proxy.streams[0].at_gate,
            Gate::Passed(Outcome::Skipped(Reason::Stalled))
        );
        // The rest of the body flows by and changes nothing.
        proxy.body(0, b"def", false);
        proxy.body(0, b"ghi", true);
        assert_eq!(proxy.turns, 0);
        assert_eq!(proxy.streams[0].passed, b"abcdefghi");
    }
}

#[test]
fn one_byte_over_the_cap_lets_the_request_go_at_once() {
    let mut proxy = Proxy::default();
    proxy.open(true, false, ROOTS[0], 4, 100);
    proxy.open(true, false, ROOTS[0], 100, 4);
    for index in 0..2 {
        proxy.body(index, b"1234", false);
        assert_eq!(proxy.turns, 0);
        proxy.body(index, b"5", false);
        // The second has got bytes that the client did not send in this form: its turn comes later.
        assert_eq!(proxy.turns, index);
        proxy.turn();
        assert_eq!(
            proxy.streams[index].at_gate,
            Gate::Passed(Outcome::Skipped(Reason::TooLarge))
        );
    }
}

#[test]
fn a_gate_that_comes_too_late_for_its_cap_does_not_wait_for_more() {
    let mut proxy = Proxy::default();
    proxy.open(true, true, ROOTS[0], 100, 4);
    proxy.body(0, b"12345", false);
    proxy.arrive(0);
    assert_eq!(
        proxy.streams[0].at_gate,
        Gate::Passed(Outcome::Skipped(Reason::TooLarge))
    );
}

#[test]
fn a_ready_request_is_ready_once_however_long_its_turn_takes() {
    let mut proxy = Proxy::default();
    proxy.open(true, false, ROOTS[1], 100, 4);
    proxy.open(true, false, ROOTS[0], 100, 4);
    proxy.body(1, b"12345", false);
    for _ in 0..3 * TICKS_PER_STALL_TIMEOUT {
        proxy.body(1, b"6", false);
        assert_eq!(proxy.meeting.tick(ROOTS[0]), 1);
    }
    proxy.turn();
    assert_eq!(
        proxy.streams[1].at_gate,
        Gate::Passed(Outcome::Skipped(Reason::TooLarge))
    );
}

#[test]
fn a_gate_whose_tap_is_gone_does_not_wait_for_it() {
    let mut meeting = Rendezvous::default();
    let (gate, tap) = (config(10), config(10));
    let request = HeldRequest {
        stream: 21,
        root: 1,
        config: &gate,
    };
    let twin_absent = Outcome::Skipped(Reason::TwinAbsent);
    assert_eq!(
        meeting.join(request, 20),
        GateDecision::Settled(twin_absent)
    );

    let _tap = Tap::begin(20, &tap, &Post, &mut meeting);
    assert_eq!(meeting.join(request, 20), GateDecision::Hold);
    assert_eq!(meeting.leave_tap(20), Some(WakeRoot(1)));
    let released = meeting.next_ready().unwrap();
    assert_eq!((released.stream, released.outcome), (21, twin_absent));
    assert!(meeting.is_empty());
}

/// A filter before the tap keeps the trailers back, and the request is let go meanwhile.
#[test]
fn trailers_pass_the_gate_when_the_tap_has_seen_them_and_no_bytes_pass_after_them() {
    for more in [&b""[..], b"more"] {
        let mut meeting = Rendezvous::default();
        let config = config(4);
        let mut tap = Tap::begin(20, &config, &Post, &mut meeting);
        let request = HeldRequest {
            stream: 21,
            root: 1,
            config: &config,
        };
        let (gate, decision) =
            gate::Gate::begin(request, || Post, false, || Some(20), &mut meeting);
        assert_eq!(decision, GateDecision::Hold);
        assert!(
            meeting
                .let_go(21, Outcome::Skipped(Reason::Stalled))
                .is_some()
        );
        assert!(!gate.on_trailers(&mut meeting));
        let bytes = Bytes {
            body: &Lent(more),
            len: more.len(),
            ends_here: false,
        };
        let step = tap.on_body(&bytes, |_| true, &mut meeting);
        assert_eq!(matches!(step, TapStep::Refuse), !more.is_empty());
        assert_eq!(tap.on_trailers(&mut meeting), None);
        assert!(gate.on_trailers(&mut meeting));
    }
}

#[test]
fn a_root_that_goes_leaves_no_request_behind() {
    let mut proxy = Proxy::default();
    proxy.open(true, false, ROOTS[0], 100, 100);
    proxy.open(false, false, ROOTS[0], 100, 100);
    proxy.open(true, false, ROOTS[1], 100, 100);
    proxy.root_gone = true;
    proxy.turns = proxy.meeting.abandon(ROOTS[0]);
    assert_eq!(proxy.turns, 2);
    while proxy.turns > 0 {
        proxy.turn();
    }
    assert!(!proxy.meeting.watches(ROOTS[0]) && proxy.meeting.watches(ROOTS[1]));
    let aborted = Gate::Passed(Outcome::Skipped(Reason::Aborted));
    assert_eq!(
        [0, 1].map(|index| proxy.streams[index].at_gate),
        [aborted; 2]
    );
}
