"""What a node needs around it: a control plane, names, a registry, an ingress gateway and the world outside. All of it real."""
