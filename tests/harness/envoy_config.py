"""Envoy configuration as Python values: bootstrap, listeners, clusters, filters. JSON is what Envoy reads."""

import json
from pathlib import Path

LOOPBACK = "127.0.0.1"
_TYPES = "type.googleapis.com/"
_HTTP_FILTERS = _TYPES + "envoy.extensions.filters.http."
WASM_TYPE = _HTTP_FILTERS + "wasm.v3.Wasm"
NATIVE_TYPE = _HTTP_FILTERS + "dynamic_modules.v3.DynamicModuleFilter"
# `libbody_hash_filter.so` in the folder of ENVOY_DYNAMIC_MODULES_SEARCH_PATH, and the first part of its statistics' names.
NATIVE_MODULE, NATIVE_STATS = "body_hash_filter", "body_hash"
ROUTER = {"name": "envoy.filters.http.router", "typed_config": {"@type": _HTTP_FILTERS + "router.v3.Router"}}
_HTTP1 = {"http_protocol_options": {"enable_trailers": True}}


def _protocol(**which) -> dict:
    name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {name: {"@type": _TYPES + name, **which}}


# Upstream requests speak the protocol of the downstream request, so that one origin sees both.
_SAME_PROTOCOL = _protocol(use_downstream_protocol_config={**_HTTP1, "http2_protocol_options": {"allow_connect": True}})
# For a cluster whose upstream speaks HTTP/1.1, whatever the client speaks.
ONLY_HTTP1 = {"typed_extension_protocol_options": _protocol(explicit_http_config=_HTTP1)}
# A test that must hang in order to fail fails by its own deadline, never by Envoy's.
_NO_LIMIT = "0s"


def address(port: int) -> dict:
    """A loopback address; port 0 lets the kernel choose."""
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}


def bootstrap(listeners=(), clusters=(), **more) -> dict:
    """A whole configuration with an admin interface on a port of the kernel's choice."""
    return {
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": address(0)},
        "static_resources": {"listeners": list(listeners), "clusters": list(clusters)},
        **more,
    }


def cluster(name: str, port: int, **more) -> dict:
    """An upstream on loopback, spoken to in the protocol of the downstream request."""
    endpoint = {"lb_endpoints": [{"endpoint": {"address": address(port)}}]}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [endpoint]},
        "circuit_breakers": {"thresholds": [{"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}]},
        "typed_extension_protocol_options": _SAME_PROTOCOL,
        **more,
    }


def route(upstream: str, match=None, **action) -> dict:
    """One route to a cluster, without a time limit."""
    return {"match": match or {"prefix": "/"}, "route": {"cluster": upstream, "timeout": _NO_LIMIT, **action}}


def connect_route(upstream: str) -> dict:
    """CONNECT goes to the cluster as CONNECT, for the upstream to answer."""
    return route(upstream, match={"connect_matcher": {}})


def http_connection_manager(filters, routes, *, virtual_host=None, **more) -> dict:
    """The network filter that runs `filters` and then the router; `virtual_host` adds to the only one."""
    host = {"name": "all", "domains": ["*"], "routes": list(routes), **(virtual_host or {})}
    manager = {
        "@type": _TYPES + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "test",
        "stream_idle_timeout": _NO_LIMIT,
        "http_protocol_options": {"enable_trailers": True},
        "http2_protocol_options": {"allow_connect": True},
        # Room for a header of 60 KiB beside the others; Envoy's own limit is 60 KiB for all.
        "max_request_headers_kb": 96,
        "upgrade_configs": [{"upgrade_type": "websocket"}, {"upgrade_type": "CONNECT"}],
        "route_config": {"name": "test", "virtual_hosts": [host]},
        "http_filters": [*filters, ROUTER],
        **more,
    }
    return {"name": "http", "typed_config": manager}


def listener(name: str, network_filter: dict, *, port: int = 0, **more) -> dict:
    """A listener on loopback with one filter chain."""
    return {"name": name, "address": address(port), "filter_chains": [{"filters": [network_filter]}], **more}


def http_filter(kind: str, **settings) -> dict:
    """One of Envoy's own HTTP filters, e.g. `buffer.v3.Buffer`."""
    return {"name": f"envoy.filters.http.{kind.split('.')[0]}", "typed_config": {"@type": _HTTP_FILTERS + kind, **settings}}


def wasm_config(name: str, module: Path, configuration, *, vm_id: str = "", root_id: str = "", **more) -> dict:
    """The message of a wasm filter; `configuration` is its JSON as a value, or as text when it need not be JSON."""
    text = configuration if isinstance(configuration, str) else json.dumps(configuration)
    vm = {"vm_id": vm_id, "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": str(module)}}}
    plugin = {"name": name, "root_id": root_id, "vm_config": vm, **more}
    plugin["configuration"] = {"@type": _TYPES + "google.protobuf.StringValue", "value": text}
    return {"@type": WASM_TYPE, "config": plugin}


def native_config(configuration, module: str = NATIVE_MODULE) -> dict:
    """The message of a native filter; `configuration` is its JSON as a value, or as text when it need not be JSON."""
    text = configuration if isinstance(configuration, str) else json.dumps(configuration)
    return {
        "@type": NATIVE_TYPE,
        "dynamic_module_config": {"name": module, "metrics_namespace": NATIVE_STATS},
        "filter_name": "body-hash",
        "filter_config": {"@type": _TYPES + "google.protobuf.StringValue", "value": text},
    }


def discovered_filter(name: str, path: Path, type_url: str = WASM_TYPE) -> dict:
    """A filter whose configuration Envoy reads from the file `path`, again whenever a new file is moved there."""
    source = {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}
    return {"name": name, "config_discovery": {"config_source": source, "type_urls": [type_url]}}


def filter_resource(name: str, typed_config: dict) -> dict:
    """What stands in the file of a discovered filter."""
    resource = {"@type": _TYPES + "envoy.config.core.v3.TypedExtensionConfig", "name": name, "typed_config": typed_config}
    return {"resources": [resource]}
