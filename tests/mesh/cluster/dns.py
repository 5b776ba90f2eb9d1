"""The cluster's DNS as Pods ask it: a Service and a Pod of `kube-system`, where a NetworkPolicy lets them ask.

The Pod hands each question on to `names`, beside the node.
"""

from machine.images import DNS

from cluster.network import DNS_ADDRESS, NODE_ADDRESS

NAMESPACE = "kube-system"
_NAME = "kube-dns"
_LABELS = {"k8s-app": _NAME}
# It answers nothing of its own: what it kept would outlive a Pod's address.
_OPTIONS = ["--keep-in-foreground", "--user=root", "--pid-file=", "--no-hosts", "--no-resolv", "--cache-size=0"]


def objects() -> list[dict]:
    ports = [{"name": name, "protocol": protocol, "port": 53} for name, protocol in (("dns", "UDP"), ("dns-tcp", "TCP"))]
    metadata = {"name": _NAME, "namespace": NAMESPACE, "labels": _LABELS}
    service = {"selector": _LABELS, "clusterIP": DNS_ADDRESS, "ports": ports}
    options = [*_OPTIONS, "--dns-forward-max=1000", f"--server={NODE_ADDRESS}"]
    container = {"name": "dnsmasq", "image": DNS, "args": options, "readinessProbe": {"tcpSocket": {"port": 53}, "periodSeconds": 1}}
    pod = {"metadata": {"labels": _LABELS}, "spec": {"dnsPolicy": "Default", "automountServiceAccountToken": False, "containers": [container]}}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"selector": {"matchLabels": _LABELS}, "template": pod}},
    ]
