//! The order in which calls go that wait: callers take turns, single inputs before bulk.

use std::collections::VecDeque;

use crate::http::credentials::CredentialId;

/// Of so many calls with single inputs, one of bulk goes along: neither starves.
const SINGLES_A_BULK: usize = 8;

/// Calls that wait, in the order of their turns.
#[derive(Debug)]
pub(super) struct Turns<T> {
    singles: Callers<T>,
    bulk: Callers<T>,
    /// Calls with single inputs since the last one of bulk.
    singles_since: usize,
}

/// The callers that wait, each with its calls.
#[derive(Debug)]
struct Callers<T>(VecDeque<(CredentialId, VecDeque<T>)>);

impl<T: PartialEq> Turns<T> {
    pub(super) fn new() -> Self {
        Self {
            singles: Callers(VecDeque::new()),
            bulk: Callers(VecDeque::new()),
            singles_since: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.singles.0.is_empty() && self.bulk.0.is_empty()
    }

    /// Adds a call behind those of its caller.
    pub(super) fn push(&mut self, caller: CredentialId, is_single: bool, call: T) {
        let callers = match is_single {
            true => &mut self.singles,
            false => &mut self.bulk,
        };
        callers.push(caller, call);
    }

    /// The call whose turn it is.
    pub(super) fn front(&self) -> Option<&T> {
        let callers = match self.is_bulks_turn() {
            true => &self.bulk,
            false => &self.singles,
        };
        callers.0.front()?.1.front()
    }

    /// Takes the call whose turn it is; its caller's next one comes after all other callers'.
    pub(super) fn pop(&mut self) -> Option<T> {
        if self.is_bulks_turn() {
            self.singles_since = 0;
            return self.bulk.pop();
        }
        self.singles_since += 1;
        self.singles.pop()
    }

    /// Takes out a call that waits no more.
    pub(super) fn remove(&mut self, call: &T) {
        self.singles.remove(call);
        self.bulk.remove(call);
    }

    /// The calls that are to go before a new one.
    pub(super) fn before(&self, is_single: bool) -> impl Iterator<Item = &T> {
        let bulk = (!is_single).then(|| self.bulk.calls());
        self.singles.calls().chain(bulk.into_iter().flatten())
    }

    fn is_bulks_turn(&self) -> bool {
        let is_due = self.singles_since >= SINGLES_A_BULK;
        !self.bulk.0.is_empty() && (is_due || self.singles.0.is_empty())
    }
}

impl<T: PartialEq> Callers<T> {
    fn push(&mut self, caller: CredentialId, call: T) {
        match self.0.iter_mut().find(|(waits, _)| *waits == caller) {
            Some((_, calls)) => calls.push_back(call),
            None => self.0.push_back((caller, VecDeque::from([call]))),
        }
    }

    fn pop(&mut self) -> Option<T> {
        let (caller, mut calls) = self.0.pop_front()?;
        let call = calls.pop_front();
        if !calls.is_empty() {
            self.0.push_back((caller, calls));
        }
        call
    }

    fn remove(&mut self, call: &T) {
        for (_, calls) in &mut self.0 {
            calls.retain(|waits| waits != call);
        }
        self.0.retain(|(_, calls)| !calls.is_empty());
    }

    fn calls(&self) -> impl Iterator<Item = &T> {
        self.0.iter().flat_map(|(_, calls)| calls)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::http::credentials::Credential;

    fn caller(name: &str) -> CredentialId {
        let mut headers = HeaderMap::new();
        headers.extend(
            name.parse()
                .ok()
                .map(|value| (http::header::AUTHORIZATION, value)),
        );
        Credential::take(&mut headers, &[]).id
    }

    fn all(turns: &mut Turns<u32>) -> Vec<u32> {
        std::iter::from_fn(|| turns.pop()).collect()
    }

    #[test]
    fn callers_take_turns() {
        let mut turns = Turns::new();
        for call in 0..3 {
            turns.push(caller("a"), false, call);
        }
        turns.push(caller("b"), false, 10);
        turns.push(caller("c"), false, 20);
        assert_eq!(turns.front(), Some(&0));
        assert_eq!(all(&mut turns), [0, 10, 20, 1, 2]);
        assert!(turns.is_empty());
    }

    #[test]
    fn single_inputs_go_before_bulk_which_does_not_starve() {
        let mut turns = Turns::new();
        turns.push(caller("a"), false, 100);
        turns.push(caller("a"), false, 101);
        for call in 0..10 {
            turns.push(caller("b"), true, call);
        }
        assert_eq!(all(&mut turns), [0, 1, 2, 3, 4, 5, 6, 7, 100, 8, 9, 101]);
    }

    #[test]
    fn what_waits_no_more_has_no_turn() {
        let mut turns = Turns::new();
        turns.push(caller("a"), true, 1);
        turns.push(caller("b"), true, 2);
        assert_eq!(turns.before(true).count(), 2);
        turns.remove(&1);
        assert_eq!(all(&mut turns), [2]);
    }
}
