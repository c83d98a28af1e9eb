"""Where a server is, what may stand in its URL, and how long to wait for it: values in, values out."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.errors import StoreError
from pagefault.stores.backoff import Backoff, delays, next_wait
from pagefault.stores.server_settings import is_server_url, key_from, server_settings


@pytest.mark.parametrize(
    ("url", "where", "grpc"),
    [
        ("qdrant://host:6333", "http://host:6333", False),
        ("qdrant://host", "http://host:6333", False),
        ("qdrant://host/", "http://host:6333", False),
        ("QDRANT://Host:7000", "http://host:7000", False),
        ("qdrant+https://host", "https://host:6333", False),
        ("http://host:80", "http://host:80", False),
        ("https://host.example/a/b/", "https://host.example:6333/a/b", False),
        ("qdrant+grpc://host", "http://host:6334", True),
        ("qdrant+grpcs://host:443", "https://host:443", True),
        ("qdrant://[::1]:6333", "http://[::1]:6333", False),
        ("qdrant://127.0.0.1", "http://127.0.0.1:6333", False),
    ],
)
def test_urls(url, where, grpc):
    settings = server_settings(url)
    assert (settings.url, settings.prefer_grpc) == (where, grpc)
    assert settings.collection == "pagefault"
    assert is_server_url(url)


@pytest.mark.parametrize(
    "text", ["./agent-memory", "agent-memory", ":memory:", "/data/qdrant", "file:///data", "", "qdrant:x"]
)
def test_what_is_no_server(text):
    assert not is_server_url(text)


def test_settings_in_the_url_and_beside_it():
    url = (
        "qdrant://h?collection=m-1&replication_factor=3&write_consistency_factor=2&shard_number=4&timeout=30"
        "&read_consistency=quorum&allow_shared_idf=true"
    )
    settings = server_settings(url)
    assert settings == server_settings(
        "qdrant://h",
        collection="m-1",
        replication_factor=3,
        write_consistency_factor=2,
        shard_number=4,
        timeout=30,
        read_consistency="quorum",
        allow_shared_idf=True,
    )
    assert server_settings(url, collection="other", timeout=None).collection == "other"
    assert server_settings("qdrant://h?read_consistency=2").read_consistency == 2
    assert server_settings("qdrant://h:7", prefer_grpc=True).prefer_grpc


@pytest.mark.parametrize(
    ("copies", "confirm", "asked"),
    [(None, None, None), (1, None, None), (2, None, 2), (3, None, 2), (5, None, 3), (3, 1, 1)],
)
def test_more_than_half_of_the_copies_confirm(copies, confirm, asked):
    settings = server_settings("qdrant://h", replication_factor=copies, write_consistency_factor=confirm)
    assert settings.majority == asked


@pytest.mark.parametrize(
    "url",
    [
        "./agent-memory",
        "redis://host",
        "qdrant://",
        "qdrant://:6333",
        "qdrant://host:port",
        "qdrant://host:99999",
        "qdrant://[::1",
        "qdrant://host#part",
        "qdrant+grpc://host/path",
        "qdrant://h?unknown=1",
        "qdrant://h?collection=a&collection=b",
        "qdrant://h?collection=",
        "qdrant://h?collection=..",
        "qdrant://h?collection=a%2Fb",
        "qdrant://h?collection=a%20b",
        "qdrant://h?collection=" + "a" * 201,
        "qdrant://h?replication_factor=0",
        "qdrant://h?shard_number=-1",
        "qdrant://h?timeout=soon",
        "qdrant://h?read_consistency=most",
        "qdrant://h?write_consistency_factor=2",
        "qdrant://h?allow_shared_idf=perhaps",
        5,
        None,
    ],
)
def test_what_is_refused(url):
    with pytest.raises(StoreError):
        server_settings(url)


@pytest.mark.parametrize("given", [{"timeout": True}, {"timeout": 1.5}, {"collection": 5}, {"api_key": "a\nb"}])
def test_settings_that_are_refused(given):
    with pytest.raises(StoreError):
        server_settings("qdrant://h", **given)


@pytest.mark.parametrize(
    "url",
    [
        "qdrant://user:hunter2@host",
        "qdrant://hunter2@host",
        "qdrant://:hunter2@host:port",
        "qdrant://host?api_key=hunter2",
        "qdrant://host?api-key=hunter2",
        "qdrant://host?token=hunter2",
        "qdrant://user:hunter2@[host",
    ],
)
def test_a_secret_in_a_url_is_refused_and_not_repeated(url):
    with pytest.raises(StoreError) as caught:
        server_settings(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_key_shows_nowhere():
    settings = server_settings("qdrant://host", api_key="hunter2")
    assert "hunter2" not in f"{settings!r} {settings} {settings.url} {settings.place}"


def test_the_key_of_the_environment():
    assert key_from({"QDRANT_API_KEY": "k"}) == "k"
    assert key_from({"QDRANT_API_KEY": ""}) is None
    assert key_from({}) is None


@pytest.mark.parametrize(
    ("url", "key", "exposed"),
    [
        ("qdrant://db", "k", True),
        ("qdrant://db", None, False),
        ("qdrant+grpc://db", "k", True),
        ("qdrant+grpcs://db", "k", False),
        ("https://db", "k", False),
        ("qdrant://localhost", "k", False),
        ("qdrant://qdrant.localhost", "k", False),
        ("qdrant://127.0.0.9", "k", False),
        ("qdrant://[::1]", "k", False),
        ("qdrant://localhost.example", "k", True),
        ("qdrant://0.0.0.0", "k", True),
    ],
)
def test_when_a_key_is_exposed(url, key, exposed):
    assert server_settings(url, api_key=key).exposes_key is exposed


# -- waiting ----------------------------------------------------------------------------------


def test_waits_grow_to_a_limit():
    policy = Backoff(attempts=6, first=1.0, factor=3.0, longest=10.0)
    assert list(delays(policy, lambda: 1.0)) == [1.0, 3.0, 9.0, 10.0, 10.0]
    assert list(delays(policy, lambda: 0.0)) == [0.5, 1.5, 4.5, 5.0, 5.0]
    assert list(delays(Backoff(attempts=1), lambda: 1.0)) == []


@given(
    policy=st.builds(
        Backoff,
        attempts=st.integers(1, 50),
        first=st.floats(0.001, 10),
        factor=st.floats(1, 1000),
        longest=st.floats(0.001, 60),
        patience=st.floats(0, 100),
    ),
    draws=st.lists(st.floats(0, 1), min_size=1),
    asked=st.floats(0, 1e6),
)
def test_waits_are_bounded(policy, draws, asked):
    draw = itertools.cycle(draws).__next__
    waits = list(delays(policy, draw))
    assert len(waits) == policy.attempts - 1
    assert all(0 < wait <= policy.longest for wait in waits)
    spent = 0.0
    for planned in [*waits, None]:
        wait = next_wait(policy, planned, asked=asked, spent=spent)
        if wait is None:
            break
        assert wait >= asked
        spent += wait
    assert spent <= policy.patience
