//! How a gate recognises its own tap: by a note in the filter state of the stream that they share.

use crate::rendezvous::ContextId;

/// The note that a tap leaves in its stream's filter state, for the gate behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Tells this VM from every other one, also from an older one of the same module.
    pub vm: [u8; 16],
    /// The tap's context in that VM.
    pub tap: ContextId,
}

impl Ticket {
    /// The bytes for the filter state.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        [&self.vm[..], &self.tap.to_le_bytes()[..]].concat()
    }

    /// Reads what [`Ticket::to_bytes`] wrote; anything else is no ticket.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (vm, tap) = bytes.split_first_chunk::<16>()?;
        Some(Self {
            vm: *vm,
            tap: ContextId::from_le_bytes(tap.try_into().ok()?),
        })
    }

    /// The tap, if it lives in the VM `vm`. A ticket of another VM is void: while a module is
    /// being replaced, the twin may live in the old VM, and nobody there could resume us.
    #[must_use]
    pub fn redeem(self, vm: [u8; 16]) -> Option<ContextId> {
        (self.vm == vm).then_some(self.tap)
    }
}

#[cfg(test)]
mod tests {
    use super::Ticket;

    const TICKET: Ticket = Ticket {
        vm: [7; 16],
        tap: 0x0102_0304,
    };

    #[test]
    fn a_ticket_survives_the_filter_state() {
        assert_eq!(Ticket::from_bytes(&TICKET.to_bytes()), Some(TICKET));
    }

    #[test]
    fn what_is_no_ticket_is_none() {
        let bytes = TICKET.to_bytes();
        assert_eq!(Ticket::from_bytes(&[]), None);
        assert_eq!(Ticket::from_bytes(&bytes[..19]), None);
        assert_eq!(Ticket::from_bytes(&[&bytes[..], b"x"].concat()), None);
    }

    #[test]
    fn a_ticket_is_void_in_another_vm() {
        assert_eq!(TICKET.redeem([7; 16]), Some(TICKET.tap));
        assert_eq!(TICKET.redeem([8; 16]), None);
    }
}
