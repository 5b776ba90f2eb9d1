//! The live root contexts of this VM: which queue wakes each, and whose timer runs.

use crate::vm::rendezvous::ContextId;

#[derive(Debug)]
struct LiveRoot {
    id: ContextId,
    queue: u32,
    ticking: bool,
}

/// One entry for each root context that holds requests, the newest last.
#[derive(Debug, Default)]
pub struct Roots(Vec<LiveRoot>);

impl Roots {
    /// Whether `id` is known already: a second configuration must not register a second queue.
    #[must_use]
    pub fn knows(&self, id: ContextId) -> bool {
        self.0.iter().any(|root| root.id == id)
    }

    /// `id` listens on `queue`.
    pub fn add(&mut self, id: ContextId, queue: u32) {
        self.0.push(LiveRoot {
            id,
            queue,
            ticking: false,
        });
    }

    /// `id` is gone.
    pub fn remove(&mut self, id: ContextId) {
        self.0.retain(|root| root.id != id);
    }

    /// The queue that wakes `id`, or else the newest root.
    #[must_use]
    pub fn queue_of(&self, id: ContextId) -> Option<u32> {
        let own = self.0.iter().find(|root| root.id == id);
        own.or(self.0.last()).map(|root| root.queue)
    }

    /// Marks the timer of `id` as running. False if it was, or if there is no such root.
    pub fn start_ticking(&mut self, id: ContextId) -> bool {
        let idle = self
            .0
            .iter_mut()
            .find(|root| root.id == id && !root.ticking);
        idle.map(|root| root.ticking = true).is_some()
    }

    /// Marks the timer of `id` as stopped.
    pub fn stop_ticking(&mut self, id: ContextId) {
        for root in self.0.iter_mut().filter(|root| root.id == id) {
            root.ticking = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Roots;

    #[test]
    fn a_wake_rings_its_own_root_or_else_the_newest() {
        let mut roots = Roots::default();
        assert_eq!(roots.queue_of(1), None);
        roots.add(1, 11);
        roots.add(2, 12);
        roots.add(3, 13);
        assert_eq!(roots.queue_of(2), Some(12));
        roots.remove(2);
        assert_eq!(roots.queue_of(2), Some(13));
        roots.remove(3);
        assert_eq!(roots.queue_of(2), Some(11));
    }

    #[test]
    fn a_timer_is_started_once_until_it_stops() {
        let mut roots = Roots::default();
        assert!(!roots.start_ticking(1));
        roots.add(1, 11);
        assert!(roots.start_ticking(1));
        assert!(!roots.start_ticking(1));
        roots.stop_ticking(1);
        assert!(roots.start_ticking(1));
    }
}
