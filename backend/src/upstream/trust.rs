//! Whether an upstream is known to give the vectors of its group.

use std::sync::{Arc, PoisonError, RwLock};

use super::group::{Group, Member};
use crate::embeddings::answer::Answer;

/// What the last comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Nothing yet: the first upstream of a group serves, others do not.
    #[default]
    Untested,
    /// The vectors are the same. The upstream calls their model the first, the group the second.
    Same(Arc<str>, Arc<str>),
    /// The vectors are others.
    Different,
}

/// The trust in one upstream.
#[derive(Debug, Default)]
pub(super) struct Trusted(RwLock<Trust>);

impl Member {
    /// What the last comparison found.
    pub fn trust(&self) -> Trust {
        let trust = self
            .trusted
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        trust.clone()
    }

    /// Notes a comparison. Returns whether it found something else than the last one.
    pub fn set_trust(&self, trust: Trust) -> bool {
        let mut current = self
            .trusted
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let is_new = *current != trust;
        *current = trust;
        is_new
    }

    /// Gives the vectors the name that the group has for their model, where the upstream answers
    /// another one for the same vectors. Any further name stays, for it may be another model's.
    pub fn translate(&self, answer: &mut Answer, model: &Arc<str>) {
        let trust = self.trust();
        for entry in answer.entries.iter_mut().flatten() {
            match &trust {
                Trust::Same(answered, named) if entry.model == *answered => {
                    entry.model = Arc::clone(named);
                }
                _ if self.own.as_ref() == Some(&entry.model) => entry.model = Arc::clone(model),
                _ => {}
            }
        }
    }

    /// The same of the upstream's own name for the model alone: that tells nothing new.
    pub fn translate_own(&self, answer: &mut Answer, model: &Arc<str>) {
        for entry in answer.entries.iter_mut().flatten() {
            if self.own.as_ref() == Some(&entry.model) {
                entry.model = Arc::clone(model);
            }
        }
    }
}

impl Group {
    /// Whether calls may go to one of its upstreams.
    pub(super) fn trusts(&self, member: &Member) -> bool {
        match member.trust() {
            Trust::Same(..) => true,
            Trust::Untested => std::ptr::eq(member, self.first()),
            Trust::Different => false,
        }
    }
}
