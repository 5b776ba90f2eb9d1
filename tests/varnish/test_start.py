"""What start.sh promises: memory that is bounded, room for large headers, a name for each pod."""

import os
import resource
import select
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest
from harness.secrets import secret
from harness.waiting import eventually

from .varnish import EMBEDDINGS, VCL, Varnish, body_hash
from .varnish import start as start_varnish

MIB = 1024 * 1024
# Threads, their stacks and workspaces, and what the allocator keeps.
OVERHEAD = 48 * MIB
PATIENCE_SECONDS = 60


def idle_upload(varnish: Varnish, number: int, announced: int = MIB) -> socket.socket:
    """Announces a body, sends 512 KiB of it and then nothing more."""
    upload = socket.create_connection(("127.0.0.1", varnish.port), timeout=20)
    head = f"POST {EMBEDDINGS} HTTP/1.1\r\nHost: a\r\nX-Body-Hash: {body_hash(number)}\r\nContent-Length: {announced}\r\n\r\n"
    upload.sendall(head.encode() + b"x" * (MIB // 2))
    return upload


def test_idle_uploads_take_no_more_than_their_bound_and_others_are_served_meanwhile(start):
    varnish = start(BODY_MEMORY="64m", TRANSIENT_MEMORY="192m")
    assert not varnish.embed(0).from_varnish
    before = varnish.resident_bytes()

    uploads = [idle_upload(varnish, number) for number in range(1, 201)]
    eventually(lambda: varnish.counter("SMA.body.g_bytes") > 32 * MIB, PATIENCE_SECONDS, "a store half full of bodies", 0.05)

    # A request that waits for an upload waits until its client gives up.
    for number in (0, 1000, 1001):
        assert varnish.embed(number).status == 200
    held = varnish.counter("SMA.body.g_bytes")
    assert 32 * MIB < held <= 64 * MIB, "the store for bodies was not filled, or has no bound"
    assert varnish.resident_bytes() - before < (64 + 192) * MIB + OVERHEAD
    assert not select.select(uploads, [], [], 0)[0], "an upload was refused although there is room"
    for upload in uploads:
        upload.close()


def test_one_long_upload_takes_little_of_the_room_for_what_passes(start):
    """By default Varnish takes all of it on the word of a Content-Length."""
    varnish = start(TRANSIENT_MEMORY="16m")
    uploads = [idle_upload(varnish, number, announced=1024 * MIB) for number in range(1, 5)]
    eventually(lambda: varnish.counter("SMA.Transient.g_bytes") >= 4 * MIB, PATIENCE_SECONDS, "the uploads are there", 0.05)

    assert varnish.counter("SMA.Transient.g_bytes") < 5 * MIB
    assert varnish.request("POST", "/v1/files", body=b"x" * 1000).status == 200
    for upload in uploads:
        upload.close()


def slow_body(varnish: Varnish, number: int) -> socket.socket:
    """Every other one would be looked up. Sends a byte now, and may send another."""
    path = EMBEDDINGS if number % 2 else "/v1/chat/completions"
    upload = socket.create_connection(("127.0.0.1", varnish.port), timeout=PATIENCE_SECONDS)
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nX-Body-Hash: {body_hash(number)}\r\nContent-Length: 100000\r\n\r\n"
    upload.sendall(head.encode() + b"x")
    return upload


def test_a_thousand_slow_bodies_leave_room_for_probes_purges_and_calls(start):
    varnish = start()
    before = varnish.resident_bytes()
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    slow = [slow_body(varnish, number) for number in range(1, 1041)]
    eventually(lambda: varnish.counter("MAIN.threads") > 1500, PATIENCE_SECONDS, "a thread for each, two where it passes", 0.05)

    for _ in range(2):
        for upload in slow:
            upload.send(b"x")
        for method, path in (("GET", "/healthz"), ("PURGE", EMBEDDINGS), ("POST", "/v1/chat/completions")):
            assert varnish.request(method, path, body=b"{}" if method == "POST" else None).status == 200
        assert varnish.embed(0).status == 200
    assert varnish.resident_bytes() - before < 64 * MIB + len(slow) * MIB / 4
    assert varnish.counter("MAIN.sess_dropped") == 0
    for upload in slow:
        upload.close()


def test_room_returns_when_the_uploads_are_gone(start):
    varnish = start(BODY_MEMORY="32m")
    varnish.embed(0)
    uploads = [idle_upload(varnish, number) for number in range(1, 41)]
    eventually(lambda: not varnish.embed(0).from_varnish, PATIENCE_SECONDS, "a full store sends everything past the cache", 0.05)
    for upload in uploads:
        upload.close()
    eventually(lambda: varnish.embed(0).from_varnish, PATIENCE_SECONDS, "a hit again", 0.05)


def parameters(**environment: str) -> list[str]:
    """What start.sh would give to varnishd."""
    said = subprocess.run([VCL / "start.sh", "--parameters"], env=os.environ | environment, check=True, capture_output=True, text=True)
    return said.stdout.splitlines()


@pytest.mark.parametrize("wrong", ["a b*", "x;y", 'x"', "1x", "x.y", "x:y", "-x"])
def test_a_name_that_vcl_cannot_hold_is_refused_by_the_variable_of_it(wrong):
    said = subprocess.run(
        [VCL / "start.sh", "--forward-headers"], env=os.environ | {"FORWARD_HEADERS": f"X-Team, {wrong}"}, check=False, capture_output=True, text=True
    )
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr.startswith("start.sh: FORWARD_HEADERS: ")


def test_forwarded_headers_are_part_of_the_key(start, backend):
    varnish = start(FORWARD_HEADERS=" Ocp-Apim-Subscription-Key,X-Team ,")
    for headers in ({}, {"ocp-apim-subscription-key": "a"}, {"Ocp-Apim-Subscription-Key": "b"}, {"X-Team": "a"}, {"X-Team": ""}):
        assert not varnish.embed(0, headers).from_varnish
        assert varnish.embed(0, headers | {"X-Other": "a"}).from_varnish
    assert backend.asked == 5


@pytest.mark.parametrize("known", ["transit_buffer", "workspace_client"])
def test_varnish_reads_ahead_of_a_reader_by_no_more_than_a_limit_if_it_knows_one(tmp_path, known):
    program = tmp_path / "varnishd"
    program.write_text(f"#!/bin/sh\n[ \"$*\" = '-x parameter' ] && printf '%s\\n' {known} '~~~~'\n")
    program.chmod(0o755)
    given = parameters(PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert ("-p transit_buffer=1m" in given) == (known == "transit_buffer")
    assert "-p ban_lurker_age=1" in given


def lagging_reader(varnish: Varnish, size: int) -> socket.socket:
    """Asks for a long answer that passes, and reads nothing of it."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    reader.settimeout(PATIENCE_SECONDS)
    reader.connect(("127.0.0.1", varnish.port))
    reader.sendall(f"GET /v1/files/f/content HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Answer-Bytes: {size}\r\n\r\n".encode())
    return reader


def read_all(reader: socket.socket) -> int:
    return sum(len(part) for part in iter(lambda: reader.recv(MIB), b""))


@pytest.mark.skipif("-p transit_buffer=1m" not in parameters(), reason="this Varnish reads as far ahead as it has room")
def test_a_reader_that_lags_gets_all_of_a_long_answer_and_leaves_room_for_others(start):
    varnish = start(TRANSIENT_MEMORY="16m")
    reader = lagging_reader(varnish, 64 * MIB)
    eventually(lambda: varnish.counter("SMA.Transient.g_bytes") >= MIB, PATIENCE_SECONDS, "Varnish reads ahead", 0.05)
    assert varnish.request("POST", "/v1/files", body=b"x" * 1000).status == 200

    assert read_all(reader) > 64 * MIB
    assert varnish.counter("SMA.Transient.c_fail") == 0
    reader.close()


def test_a_large_answer_finds_room_in_a_store_full_of_small_ones(start):
    varnish = start(MEMORY="8m")
    for number in range(100):
        varnish.embed(number, {"X-Answer-Bytes": "100000"})
    assert varnish.counter("MAIN.n_lru_nuked") > 0, "the store is not full"

    large = varnish.embed(1000, {"X-Answer-Bytes": "7000000"})
    assert (large.status, len(large.body)) == (200, 7_000_000)
    assert varnish.embed(1000).from_varnish


def test_an_answer_that_is_larger_than_the_whole_store_fails_alone(start):
    varnish = start(MEMORY="4m")
    assert varnish.embed(0, {"X-Answer-Bytes": "6000000"}).status == 503
    assert varnish.embed(1).status == 200


def test_ninety_headers_and_64_kib_of_them_are_served_from_the_cache(start, backend):
    """By default Varnish takes 64 lines, and a header of 8 KiB."""
    varnish = start()
    many = {f"X-Filler-{number}": "a" for number in range(90)}
    long = dict.fromkeys(("Authorization", "api-key"), secret("long", 32 * 1024))
    for number, headers in enumerate((many, long)):
        assert varnish.embed(number, headers).status == 200
        assert varnish.embed(number, headers).from_varnish
    assert backend.asked == 2


def test_the_answer_to_a_purge_names_the_pod(start):
    varnish = start(IDENTITY="varnish-7")
    said = varnish.request("PURGE", "/", {"Surrogate-Key": "model:m"})
    assert said.json == {"pod": "varnish-7", "banned": {"tags": ["model:m"]}}


# As OpenShift's SCC restricted-v2 runs a container: a user of no name in the group 0, without a capability.
_ARBITRARY_USER = ("setpriv", "--reuid", "1000680000", "--regid", "0", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_any_user_may_run_it(public_folder, backend):
    folder = Path(tempfile.mkdtemp(dir=public_folder))
    work = folder / "work"
    work.mkdir()
    # The volume is the group's.
    work.chmod(0o770)
    varnish = start_varnish(folder, backend.port, by=_ARBITRARY_USER)
    try:
        assert not varnish.embed(0).from_varnish
        assert varnish.embed(0).from_varnish
    finally:
        varnish.process.stop()
