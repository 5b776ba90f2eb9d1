"""The body-hash filter on a real Envoy, asserted against what the upstream received."""
