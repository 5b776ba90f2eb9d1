//! One configured instance of the filter. All workers share it; nothing in it changes but what the watchdog locks.

use std::sync::Arc;

use crate::settings::Settings;
use crate::watchdog::Watchdog;

/// The numbers under which Envoy knows the filter's statistics.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StatIds {
    pub(crate) hashed: usize,
    pub(crate) skipped: usize,
    pub(crate) held: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(crate) settings: Settings,
    pub(crate) stats: StatIds,
    pub(crate) watchdog: Arc<Watchdog>,
}

impl Filter {
    pub(crate) fn new(settings: Settings, stats: StatIds) -> Self {
        let watchdog = Watchdog::new(settings.config.stall_timeout);
        Self {
            settings,
            stats,
            watchdog,
        }
    }
}
