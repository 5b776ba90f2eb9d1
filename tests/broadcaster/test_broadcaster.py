"""One PURGE through a real name server's answer to three real varnishd and a real backend."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness.secrets import secret
from harness.waiting import eventually
from varnish import varnish

from .conftest import ADDRESSES, TOKEN

EMBEDDINGS = varnish.EMBEDDINGS
# Tags as long as the broadcaster lets through, of what takes the most room in a ban.
MOST_TAGS = " ".join(f"model:{number:02}" + "." * 248 for number in range(31))


def fill(varnishes, number: int) -> None:
    """Every one of them has the answer."""
    for one in varnishes:
        one.embed(number)
        assert one.embed(number).from_varnish


def hits(varnishes, number: int) -> list[bool]:
    return [one.embed(number).from_varnish for one in varnishes]


@pytest.mark.parametrize(
    "headers",
    [{}, {"Surrogate_Key": "model:m"}, {"Surrogate_Key": "model:other, model:m"}, {"X_Purge_All": "true"}, {"Surrogate_Key": "all:all"}],
    ids=["url", "tag", "two tags", "all", "all as a tag"],
)
def test_all_three_are_purged_and_each_gives_its_own_name(start, varnishes, headers):
    fill(varnishes, 1)
    said = start(varnishes[0].port).purge(**headers)
    assert said.status == 200
    results = [{"pod": f"varnish-{number}", "status": 200, "success": True, "error": None} for number in range(3)]
    assert said.json == {"total": 3, "success": 3, "failed": 0, "results": results}
    assert hits(varnishes, 1) == [False, False, False]


def test_an_answer_that_was_on_its_way_to_varnish_is_purged_too(start, varnishes, origin_of_answers):
    """The backend sends it before the purge, and its end comes when Varnish has been purged once."""
    broadcaster = start(varnishes[0].port, PURGE_AGAIN_AFTER="2s")
    headers = {"X-Answer-Bytes": "4", "X-Answer-Pause": "1"}
    with ThreadPoolExecutor() as pool:
        asked = origin_of_answers.asked
        on_its_way = pool.submit(varnishes[0].embed, 11, headers)
        eventually(lambda: origin_of_answers.asked > asked, what="the fetch")
        assert broadcaster.purge(Surrogate_Key="model:m").status == 200
        assert on_its_way.result().status == 200
    assert not varnishes[0].embed(11).from_varnish
    assert varnishes[0].embed(11).from_varnish


def test_a_purge_of_another_tag_or_url_leaves_everything(start, varnishes):
    fill(varnishes, 2)
    broadcaster = start(varnishes[0].port)
    assert broadcaster.purge(Surrogate_Key="model:mm").status == 200
    assert broadcaster.purge(EMBEDDINGS + "?a=b").status == 200
    assert hits(varnishes, 2) == [True, True, True]


def test_a_url_is_purged_byte_for_byte(start, varnishes):
    odd = EMBEDDINGS + "?a='b'|{c}&d=/../e"
    headers = {"X-Body-Hash": varnish.body_hash(3)}
    for one in varnishes:
        one.request("POST", odd, headers, b"{}")
        assert one.request("POST", odd, headers, b"{}").from_varnish
    assert start(varnishes[0].port).purge(odd).status == 200
    assert not any(one.request("POST", odd, headers, b"{}").from_varnish for one in varnishes)


def test_as_many_tags_as_are_let_through_are_not_too_many(start, varnishes):
    fill(varnishes, 4)
    broadcaster = start(varnishes[0].port)
    said = broadcaster.purge(Surrogate_Key=MOST_TAGS + " model:m")
    assert (said.status, said.json["success"]) == (200, 3)
    assert hits(varnishes, 4) == [False, False, False]
    said = broadcaster.purge(Surrogate_Key=f"{MOST_TAGS} {MOST_TAGS} model:m")
    assert said.status == 200, "the same tags once more"
    said = broadcaster.purge(Surrogate_Key=f"{MOST_TAGS} {MOST_TAGS.replace('model', 'scope')}")
    assert (said.status, said.json["error"]["code"]) == (400, "too_many_tags")


@pytest.mark.parametrize("tags", [[f"m:{n}" for n in range(290)], [f"a{n}" for n in range(1300)], ["m:same"] * 500], ids=["290", "plain", "one"])
def test_many_short_tags_are_purged_and_reported_so(start, varnishes, tags):
    fill(varnishes, 10)
    broadcaster = start(varnishes[0].port)
    said = broadcaster.purge(Surrogate_Key=" ".join(tags))
    assert (said.status, said.json["success"]) == (200, 3)
    assert hits(varnishes, 10) == [True, True, True]
    said = broadcaster.purge(Surrogate_Key=" ".join([*tags, "model:m"]))
    assert (said.status, said.json["success"]) == (200, 3)
    assert hits(varnishes, 10) == [False, False, False]


def test_one_dead_and_one_hanging_are_told_within_the_time_out(start, public_folder, origin_of_answers, zone, hanging):
    alive = varnish.start(public_folder / "alive", origin_of_answers.port, IDENTITY="alive")
    try:
        hanging(ADDRESSES[1], alive.port)
        broadcaster = start(alive.port, ENDPOINT_TIMEOUT="6s")
        fill([alive], 5)
        begun = time.monotonic()
        said = broadcaster.purge()
        took = time.monotonic() - begun
    finally:
        alive.process.stop()
    assert said.status == 207
    assert said.json == {
        "total": 3,
        "success": 1,
        "failed": 2,
        "results": [
            {"pod": "alive", "status": 200, "success": True, "error": None},
            {"pod": ADDRESSES[1], "status": None, "success": False, "error": "timed out"},
            {"pod": ADDRESSES[2], "status": None, "success": False, "error": "connection failed"},
        ],
    }
    assert 6 <= took < 6 + 10, "the time-out, and what a busy machine adds"


def test_the_next_purge_follows_the_name(start, varnishes, zone):
    broadcaster = start(varnishes[0].port)
    zone.addresses = ADDRESSES[:1]
    fill(varnishes, 6)
    assert [result["pod"] for result in broadcaster.purge().json["results"]] == ["varnish-0"]
    assert hits(varnishes, 6) == [False, True, True]

    zone.addresses = ADDRESSES[1:]
    assert [result["pod"] for result in broadcaster.purge().json["results"]] == ["varnish-1", "varnish-2"]
    assert hits(varnishes, 6) == [True, False, False]

    zone.addresses = ()
    said = broadcaster.purge()
    assert (said.status, said.json["total"], said.json["error"]["code"]) == (503, 0, "no_address")
    assert hits(varnishes, 6) == [True, True, True]


def test_ipv6_is_purged_too(start, public_folder, origin_of_answers, zone):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    port = varnish.free_port()
    both = [
        varnish.start(public_folder / f"family-{number}", origin_of_answers.port, address, port, IDENTITY=f"ipv{number}")
        for number, address in ((4, "127.0.0.1"), (6, "::1"))
    ]
    try:
        zone.addresses = ("127.0.0.1", "::1")
        fill(both, 7)
        said = start(port).purge(X_Purge_All="true")
        assert [result["pod"] for result in said.json["results"]] == ["ipv4", "ipv6"]
        assert hits(both, 7) == [False, False]
    finally:
        for one in both:
            one.process.stop()


def test_if_the_backend_refuses_every_varnish_keeps_what_it_has(start, varnishes):
    fill(varnishes, 8)
    said = start(varnishes[0].port, BACKEND_ADMIN_TOKEN=secret("wrong")).purge()
    assert (said.status, said.json["error"]["code"], said.json["total"]) == (502, "backend_failed", 0)
    assert "401" in said.json["error"]["message"]
    assert hits(varnishes, 8) == [True, True, True]


@pytest.mark.parametrize("tag", ["m*", "model:a*", "model:(a)", "model:a && obj.status == 200", ",", "model:" + "a" * 300])
def test_what_the_backend_or_varnish_refuse_is_refused_before(start, varnishes, gateway, tag):
    fill(varnishes, 9)
    refused_there = gateway.purge(TOKEN, **{"Surrogate-Key": tag}).status
    refused_by_varnish = varnishes[0].request("PURGE", "/", {"Surrogate-Key": tag}).status
    assert 400 in (refused_there, refused_by_varnish)

    said = start(varnishes[0].port).purge(Surrogate_Key=tag)
    assert (said.status, said.json["error"]["code"]) == (400, "invalid_tag")
    assert hits(varnishes, 9) == [True, True, True]


VISIBLE = [chr(code) for code in range(ord("!"), ord("~") + 1)]


@pytest.mark.parametrize("place", ["path", "query", "tag"])
def test_no_character_gets_through_that_varnish_refuses(start, varnishes, place):
    broadcaster = start(varnishes[0].port)
    refused_by_varnish, refused = set(), set()
    for character in VISIBLE:
        path = {"path": f"/a{character}b", "query": f"/a?{character}"}.get(place, "/")
        tags = {"Surrogate-Key": f"model:a{character}b"} if place == "tag" else {}
        if varnishes[0].request("PURGE", path, tags).status != 200:
            refused_by_varnish.add(character)
        said = broadcaster.purge(path, **tags)
        if said.status == 400:
            refused.add(character)
        else:
            assert (said.status, said.json["success"]) == (200, 3), character
    assert refused_by_varnish <= refused
    # A URI holds neither of these (RFC 3986), nor does a fragment leave a client.
    allowed_by_varnish_alone = {"path": set("#<>^`|"), "query": set("#<>"), "tag": set()}[place]
    assert refused - refused_by_varnish <= allowed_by_varnish_alone
