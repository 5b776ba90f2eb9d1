"""The table in short on the other Envoys: tests of the other files, run here by their own names on each version."""

import pytest
from harness import paths

from .attachments import NATIVE, PAIR, chain, member
from .expectations import assert_hashed, assert_unhashed, body_of
from .gateway import installed
from .test_bodies import (
    test_a_request_without_a_body_has_no_header,
    test_every_request_of_a_kept_connection_has_its_own_hash,
    test_interleaved_streams_of_one_connection_each_have_their_own_hash,
    test_the_header_is_the_sha256_up_to_the_cap_and_absent_over_it,
)
from .test_buffers import H1_BUFFER, SMALL_BUFFERS, small, test_every_body_is_answered_in_time
from .test_configurations import assert_refused
from .test_hangups import test_a_thousand_clients_hang_up_in_mid_body, test_a_thousand_held_requests_are_released_by_their_clients
from .test_headers import (
    forged,
    test_a_forged_header_is_replaced,
    test_a_forged_header_without_a_body_is_removed,
    test_a_header_of_60_kib_arrives,
    test_a_host_that_is_not_utf8_harms_no_other,
    test_a_hundred_headers_arrive,
)
from .test_neighbours import (
    BUFFERING,
    test_a_body_that_a_filter_before_has_buffered_ends_once,
    test_a_body_that_grows_over_the_cap_with_its_last_frame_ends_once,
    test_a_body_that_stalls_before_a_filter_that_buffers_is_answered,
    test_a_decompressed_body_before_a_filter_that_buffers_is_hashed,
    test_a_slow_compressed_body_is_hashed_when_it_ends,
    test_an_answer_that_needs_no_body_comes_although_the_body_goes_over_the_cap,
    test_every_one_of_many_bodies_over_the_cap_is_answered,
)
from .test_neighbours import test_a_body_over_the_cap_is_answered_although_a_filter_behind_buffers as over_the_cap
from .test_refusals import test_a_refusal_before_the_filter_is_obeyed
from .test_stalls import (
    stalling,
    test_a_body_that_stops_is_let_go_unhashed_after_the_default_second,
    test_what_comes_after_a_stall_arrives_whole,
    test_what_comes_after_a_stall_over_http2_arrives_whole,
)
from .test_streams import (
    patient,
    test_a_grpc_stream_is_answered_before_the_client_ends_it,
    test_a_websocket_over_http2_passes_at_once,
    test_a_websocket_passes_at_once,
    test_connect_over_http2_passes_at_once,
    test_connect_passes_at_once,
)
from .test_twins import (
    other_module,
    test_a_filter_between_that_holds_the_request_does_not_matter,
    test_a_gate_alone_lets_everything_go,
    test_a_tap_alone_lets_everything_go,
    test_a_twin_of_another_module_is_no_twin,
)
from .test_upstream_window import (
    test_trailers_alone_arrive_but_for_envoys_that_refuse_them_without_the_filter_too,
    test_with_envoys_other_codec_they_arrive,
    upstream,
)
from .test_updates import test_a_filter_alone_is_changed_and_replaced_under_traffic, test_the_pair_is_changed_and_replaced_under_traffic
from .test_updates_midway import step, test_a_request_held_during_an_update_ends_right
from .transports import TRANSPORTS

pytestmark = pytest.mark.compat


@pytest.fixture(scope="module", params=sorted([*paths.OTHER_ENVOY_VERSIONS, *paths.ENVOY_VERSIONS_WITHOUT_WASM]))
def version(request) -> str:
    return installed(request.param)


@pytest.mark.parametrize("role", ["tap", "gate", "single", NATIVE])
def test_a_bad_configuration_is_refused_by_name(module, origin, version, tmp_path, role):
    assert_refused([member(role, module, maxBodyBytes=0)], origin, tmp_path, "maxBodyBytes", version=version)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_with_the_cap_at_the_buffer_the_pair_never_stalls(start, module, transport):
    gateway = start(chain(PAIR, module, maxBodyBytes=H1_BUFFER), **SMALL_BUFFERS)
    for size in (H1_BUFFER, H1_BUFFER + 1, 1 << 20):
        response = TRANSPORTS[transport](gateway.port, body_of(size))
        (assert_hashed if size == H1_BUFFER else assert_unhashed)(response, body_of(size))


@pytest.mark.parametrize("neighbour", BUFFERING)
def test_a_body_over_the_cap_is_answered_before_a_filter_that_buffers(start, module, attachment, neighbour):
    for transport in ("chunked", "over_http2"):
        over_the_cap(start, module, attachment, neighbour, transport, 2 << 20)
