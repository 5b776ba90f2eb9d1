//! How a gate recognises its own tap: by a reference in the filter state of the stream that they share.

use crate::vm::rendezvous::ContextId;

/// What a tap leaves in its stream's filter state, for the gate behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapRef {
    /// Tells this VM from every other one, also from an older one of the same module.
    pub vm: [u8; 16],
    /// The tap's context in that VM.
    pub tap: ContextId,
}

impl TapRef {
    /// The bytes for the filter state.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        [&self.vm[..], &self.tap.to_le_bytes()[..]].concat()
    }

    /// Reads what [`TapRef::to_bytes`] wrote; anything else is no reference.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (vm, tap) = bytes.split_first_chunk::<16>()?;
        Some(Self {
            vm: *vm,
            tap: ContextId::from_le_bytes(tap.try_into().ok()?),
        })
    }

    /// The tap, if it lives in the VM `vm`. A reference into another VM is void: while Envoy replaces a module, the tap
    /// may live in the old VM, and no root context there could resume this VM's gate.
    #[must_use]
    pub fn resolve_in_vm(self, vm: [u8; 16]) -> Option<ContextId> {
        (self.vm == vm).then_some(self.tap)
    }
}

#[cfg(test)]
mod tests {
    use super::TapRef;

    const TAP_REF: TapRef = TapRef {
        vm: [7; 16],
        tap: 0x0102_0304,
    };

    #[test]
    fn a_reference_survives_the_filter_state() {
        assert_eq!(TapRef::from_bytes(&TAP_REF.to_bytes()), Some(TAP_REF));
    }

    #[test]
    fn what_is_no_reference_is_none() {
        let bytes = TAP_REF.to_bytes();
        assert_eq!(TapRef::from_bytes(&[]), None);
        assert_eq!(TapRef::from_bytes(&bytes[..19]), None);
        assert_eq!(TapRef::from_bytes(&[&bytes[..], b"x"].concat()), None);
    }

    #[test]
    fn a_reference_is_void_in_another_vm() {
        assert_eq!(TAP_REF.resolve_in_vm([7; 16]), Some(TAP_REF.tap));
        assert_eq!(TAP_REF.resolve_in_vm([8; 16]), None);
    }
}
