"""Random logs: what several clients do to one backend, as entries a replica can follow."""

from __future__ import annotations

from hypothesis import strategies as st

from pagefault.scheduling import Limits, Mark, Phase, Request, Rules, Usage
from pagefault.scheduling import replica as steps
from pagefault.scheduling.replica import Entry

CLIENTS = ("1-1", "2-2", "3-3")
TENANTS = ("acme", "umbrella")
AGENTS = ("a", "b", "c")
START = 1_700_000_000_000_000

limits = st.builds(
    Limits,
    slots=st.one_of(st.none(), st.integers(1, 3)),
    requests_per_minute=st.one_of(st.none(), st.integers(1, 8)),
    tokens_per_minute=st.one_of(st.none(), st.integers(1_300, 5_000)),
    kv_tokens=st.one_of(st.none(), st.integers(1_300, 3_000)),
)


@st.composite
def rules(draw):
    backend = draw(limits)
    return Rules(
        limits=Limits(
            slots=backend.slots or 2,
            requests_per_minute=backend.requests_per_minute,
            tokens_per_minute=backend.tokens_per_minute,
            kv_tokens=backend.kv_tokens,
        ),
        quotas=draw(st.dictionaries(st.sampled_from("ab"), limits, max_size=1)),
        tenant_quotas=draw(st.dictionaries(st.sampled_from(TENANTS), limits, max_size=1)),
        affinity_slack=draw(st.sampled_from((0.0, 1_000.0))),
        aging=draw(st.sampled_from((0.5, 30.0))),
        max_waiting=draw(st.sampled_from((2, 1_024))),
    )


prompts = st.lists(
    st.builds(Mark, digest=st.sampled_from(("p", b"p", "q", b"\x00")), tokens=st.integers(0, 900)), max_size=2
).map(tuple)
requests = st.builds(
    Request,
    account=st.tuples(st.sampled_from(TENANTS), st.sampled_from(AGENTS)),
    agent=st.sampled_from(AGENTS),
    priority=st.sampled_from((0, 0, 1, 7)),
    weight=st.sampled_from((1, 0.5, 3.0)),
    input_tokens=st.one_of(st.none(), st.integers(0, 1_200)),
    max_output_tokens=st.one_of(st.none(), st.integers(0, 300)),
    marks=prompts,
)
usages = st.one_of(
    st.none(),
    st.builds(Usage, input_tokens=st.integers(500, 1_500), output_tokens=st.integers(0, 400), cached_tokens=st.just(9)),
)
VERBS = ("ask", "ask", "ask", "nest", "finish", "finish", "finish", "refused", "gone", "tick", "adopt", "pause")
happenings = st.tuples(
    st.sampled_from(VERBS),
    st.sampled_from(CLIENTS),
    st.integers(0, 50),
    st.integers(0, 20_000_000),
    requests,
    usages,
    st.booleans(),
)


class Writer:
    """Turns what happens into the next entry, as clients would write it who see the same replica."""

    def __init__(self, replica):
        self.replica = replica
        self.number = 0
        self.time = START
        self.outer = {}

    def entry(self, happening):
        verb, client, pick, gap, request, usage, failed = happening
        self.number, self.time = self.number + 1, self.time + gap
        body = steps.body(self.number, *self._steps(verb, client, pick, request, usage, failed=failed))
        return Entry(id=f"{self.number}-{self.time}", client=client, body=body)

    def _steps(self, verb, client, pick, request, usage, *, failed):
        turns = self.replica.dispatcher.turns
        own = [number for number in turns if self.replica.owner(number) == client]
        number = own[pick % len(own)] if own else 0
        if verb == "nest" and own and turns[number].phase is not Phase.WAITING:
            self.outer[self.number] = number
            return [steps.ask(request), ["lend", number]]
        if verb == "finish" and own:
            outer = self.outer.pop(number, None)
            done = steps.finish(number, usage, failed=failed)
            return [done, *([["regain", outer]] if outer in own and turns[outer].inner else [])]
        return {
            "refused": [["refused", None if failed else pick / 10]],
            "gone": [["gone", client]],
            "adopt": [steps.adopt(request, inner=pick % 2, holds=failed)],
            "pause": [["pause", self.time / 1_000_000 + pick / 10]],
            "ask": [steps.ask(request)],
        }.get(verb, [])
