"""A kubelet in small: it runs the Pods that a real API server binds to its node as local processes.

What it does and where it falls short of the real one stands in tests/mesh/README.md.
"""
