"""The estimate and what whole messages cost."""

from __future__ import annotations

import json
import pydoc_data.topics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagefault.estimate import CALL_TOKENS, MEDIA_TOKENS, MESSAGE_TOKENS, EstimateCounter, message_tokens, upper_bound
from pagefault.page import Call, Projection, Role
from pagefault.tokens import TiktokenCounter

TOPICS = [text[i : i + 700] for text in pydoc_data.topics.topics.values() for i in range(0, len(text), 700)]
EXACT = TiktokenCounter()
needs_tokenizer = pytest.mark.skipif(not EXACT.is_available(), reason="no local tokenizer file")
any_text = st.text(st.characters(codec=None, categories=None), max_size=300)

SAMPLES = {
    "German": "Gestern haben wir lange geredet, weil der Vermieter die Miete erhöhen möchte.",
    "Finnish": "Puhuimme eilen pitkään uudesta asunnosta, koska omistaja haluaa enemmän rahaa. ",
    "Vietnamese": "Hôm qua chúng tôi đã nói chuyện rất lâu vì chủ nhà muốn tăng tiền thuê.",
    "Russian": "Вчера мы долго говорили, потому что хозяин хочет повысить арендную плату.",
    "Hebrew": "אתמול דיברנו הרבה זמן, כי בעל הבית רוצה להעלות את שכר הדירה.",
    "Arabic": "تحدثنا أمس طويلا لأن المالك يريد رفع الإيجار.",
    "Hindi": "कल हमने काफी देर तक बात की, क्योंकि मालिक किराया बढ़ाना चाहता है।",
    "Thai": "เมื่อวานนี้เราคุยกันนานมาก เพราะเจ้าของอยากขึ้นค่าเช่า",
    "Chinese": "昨天我们聊了很久。因为房东想要涨房租。",
    "Japanese": "昨日は長い間話し合いました。大家さんが家賃を上げたいからです。",
    "Korean": "어제 우리는 오랫동안 이야기했어요. 집주인이 월세를 올리고 싶어 하거든요.",
    "code": "def total(items: list[Item]) -> int:\n    return sum(i.price_cents for i in items if i.isActive)\n",
    "JSON": json.dumps({"order": "AX-2291", "status": "shipped", "items": [{"name": "bolt", "qty": 3, "price": 0.35}]}),
    "base64": "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO9TXL0Y4",
}


@given(any_text)
def test_an_estimate_never_raises_and_never_passes_the_bound(text):
    assert 0 <= EstimateCounter().count(text) <= upper_bound(text)


@given(any_text, st.text(min_size=1, max_size=3))
def test_text_is_never_free(text, more):
    assert EstimateCounter().count(text + more) > 0


def test_nothing_costs_nothing():
    assert EstimateCounter().count("") == 0


def test_an_estimate_of_the_same_text_is_the_same():
    assert len({EstimateCounter().count(TOPICS[3]) for _ in range(3)}) == 1


def test_long_text_is_quick_and_cannot_stall():
    for text in ("a" * 300_000, " " * 300_000, "é" * 300_000, "x1B" * 100_000, "\n" * 300_000):
        assert 0 < EstimateCounter().count(text) <= upper_bound(text)


@needs_tokenizer
def test_the_reserve_covers_documentation():
    counter = EstimateCounter()
    low = [t for t in TOPICS if counter.count(t) * (1 + counter.reserve) < EXACT.count(t)]
    assert len(low) <= 0.01 * len(TOPICS)


@needs_tokenizer
@pytest.mark.parametrize("name", SAMPLES)
def test_the_reserve_covers_other_scripts_and_code(name):
    counter, text = EstimateCounter(), SAMPLES[name] * 3
    assert counter.count(text) * (1 + counter.reserve) >= EXACT.count(text)
    assert counter.count(text) <= 2.5 * EXACT.count(text)


def test_joined_names_are_not_taken_for_encoded_data():
    assert EstimateCounter().count("assert_that_the_very_long_name_is_split_into_words") < 20


def test_a_message_costs_its_text_name_calls_and_media():
    counter = EstimateCounter()
    plain = Projection(role=Role.USER, text="hello")
    base = message_tokens(plain, counter)
    assert base == MESSAGE_TOKENS + counter.count("hello")
    named = Projection(role=Role.USER, text="hello", name="Ada", media=1)
    assert message_tokens(named, counter) == base + 1 + counter.count("Ada") + MEDIA_TOKENS
    call = Call(id="call_1", name="search", arguments='{"q":"x"}')
    calling = Projection(role=Role.ASSISTANT, text="hello", calls=(call, call))
    cost = CALL_TOKENS + counter.count("search") + counter.count('{"q":"x"}')
    assert message_tokens(calling, counter) == base + 2 * cost
    assert message_tokens(Projection(role=Role.TOOL, text="hello", call_id="c"), counter) == base + CALL_TOKENS
