"""The network of the node: one bridge, on which every Pod is."""

import subprocess

BRIDGE = "br0"
# The node's own address: the gateway of all Pods, and where what runs outside of Pods is met.
NODE_ADDRESS = "10.244.0.1"
PODS = "10.244.0.0/16"
SERVICES = "10.96.0.0/16"
# The Service at which Pods ask for names.
DNS_ADDRESS = "10.96.0.10"


def make_bridge() -> None:
    length = PODS.rpartition("/")[2]
    for command in (f"link add {BRIDGE} type bridge", f"addr add {NODE_ADDRESS}/{length} dev {BRIDGE}", f"link set {BRIDGE} up"):
        subprocess.run(["ip", *command.split()], check=True, capture_output=True, stdin=subprocess.DEVNULL)
