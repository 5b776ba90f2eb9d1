"""A real node: containerd, kubelet, kube-proxy, a network policy controller and Istio's CNI plugin, in namespaces of the test."""
