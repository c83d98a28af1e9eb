"""Languages besides English: words of a question that say nothing of what it is about, and how questions begin.

Pages are indexed with all their words, whatever the language; what a query leaves out is decided when it is asked.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

LEAST: Final = 2
"""So many words have to be a language's, and more than are English, before it is taken for the query's."""

_FUNCTION_WORDS: Final = {
    "de": """der die das den dem des ein eine einen einem einer eines und oder aber ist sind war waren bin bist hat
        habe haben hatte wird werden wurde kann ich du er sie es wir ihr mich mir dich dir ihn ihm uns euch mein meine
        meinen meinem meiner dein deine deinen deiner sein seine ihre unser unsere in im an am auf aus bei mit nach von
        vom vor zu zum zur fur uber um bis was wer wen wem wo wohin woher wann warum wie welche welcher welches welchen
        wieviel nicht kein keine auch noch nur schon denn dass ob wenn als so""",
    "es": """el la los las un una unos unas y o pero es son era fue soy eres esta estan hay ha he han tiene tengo yo tu
        mi mis tus su sus nuestro nuestra me te se nos lo le les de del en a al con por para sin sobre que quien quienes
        cual cuales cuando donde como cuanto cuanta cuantos no si ya tambien muy mas este ese""",
    "fr": """le la les l un une des du de d au aux et ou mais est sont etait suis es ai as a ont avons avez etes je j tu
        il elle on nous vous ils elles me m te t se s mon ma mes ton ta tes son sa ses notre nos votre vos leur leurs ce
        c cet cette ces en y dans sur sous avec pour par sans chez que qu qui quoi quel quelle quels quelles quand ou
        comment pourquoi combien ne n pas plus aussi""",
    "it": """il lo la i gli le un uno una di del della dei delle dello da dal dalla in nel nella su sul sulla con per
        tra fra e o ma ed e sono era ho hai ha hanno abbiamo io tu lui lei noi voi mi ti si ci mio mia miei mie tuo tua
        suo sua nostro che chi cosa quale quali qual quando dove come perche quanto quanta non anche piu questo""",
    "nl": """de het een en of maar is zijn was waren ben bent heb hebt heeft had ik je jij hij zij ze wij we jullie mij
        me jou hem haar ons mijn jouw onze hun in op aan bij met van voor naar uit over om te tot wat wie waar wanneer
        waarom hoe welke welk niet geen ook nog dat die deze dit als""",
    "pt": """o a os as um uma uns umas e ou mas eh sao era foi sou esta estao tem tenho eu tu ele ela nos voce meu minha
        meus minhas teu tua seu sua nosso nossa me te se lhe de do da dos das em no na nos nas ao com por para sem sobre
        que quem qual quais quando onde como quanto quanta nao sim tambem mais este esse""",
}
_WORDS: Final[Mapping[str, frozenset[str]]] = {name: frozenset(text.split()) for name, text in _FUNCTION_WORDS.items()}

_BEGINNING: Final = re.compile(
    r"""\u00bf|(?:wie|was|wer|wen|wem|wessen|wo|wohin|woher|wann|warum|wieso|weshalb|welche[rsnm]?|wie\s?viele?
    |que|qu['\u2019]\w+|qui|quoi|quels?|quelles?|comment|o\u00f9|quand|pourquoi|combien|est-ce
    |qu\u00e9|c\u00f3mo|como|cu\u00e1ndo|cuando|d\u00f3nde|donde|qui\u00e9n|cu\u00e1l(?:es)?|cu\u00e1nt[oa]s?
    |che|chi|cosa|come|dove|quando|perch\u00e9|quant[oaie]|quali?
    |o\s+que|quem|onde|quais
    |wat|waar|wanneer|waarom|hoe|welke?
    |co|kto|gdzie|kiedy|jak|dlaczego|ile
    |\u0447\u0442\u043e|\u043a\u0442\u043e|\u0433\u0434\u0435|\u043a\u043e\u0433\u0434\u0430|\u043a\u0430\u043a
    |\u043a\u0430\u043a(?:\u043e\u0439|\u0430\u044f|\u0438\u0435|\u043e\u0435)|\u043f\u043e\u0447\u0435\u043c\u0443
    |\u0441\u043a\u043e\u043b\u044c\u043a\u043e|\u043a\u0443\u0434\u0430
    |\u0645\u0627|\u0645\u0627\u0630\u0627|\u0645\u0646|\u0623\u064a\u0646|\u0645\u062a\u0649|\u0643\u064a\u0641
    |\u0643\u0645|\u0647\u0644|\u0644\u0645\u0627\u0630\u0627)(?!\w)""",
    re.IGNORECASE | re.VERBOSE,
)
"""German, French, Spanish, Italian, Portuguese, Dutch, Polish, Russian, Arabic."""
_ANYWHERE: Final = re.compile(
    "\u4ec0\u4e48|\u4ec0\u9ebc|\u8c01|\u8ab0|\u54ea|\u600e\u4e48|\u600e\u9ebc|\u591a\u5c11|\u51e0|\u5e7e"
    "|[\u5417\u55ce\u5462]\\Z|\u4f55|\u3069\u3053|\u3044\u3064|\u306a\u305c|\u3044\u304f\u3089|\u304b\\Z"
    "|\ubb34\uc5c7|\uc5b4\ub514|\uc5b8\uc81c|\ub204\uad6c|\uc5b4\ub5bb\uac8c|\ub098\uc694\\Z|\uae4c\\Z"
)
"""Chinese, Japanese, Korean: the word that asks stands where the answer would."""


def function_words(words: Iterable[str], english: Collection[str]) -> frozenset[str]:
    """The function words of the language that most of some words are from; none for English, and in doubt.

    Args:
        words: The folded words of a query.
        english: The English ones.

    Example:
        >>> sorted({"wie", "lautet", "meine", "kontonummer"} & function_words(["wie", "lautet", "meine"], []))
        ['meine', 'wie']
    """
    own = {word for word in words if len(word) > 1}  # a letter alone may be anything
    hits, best = max((len(own & known), name) for name, known in _WORDS.items())
    return _WORDS[best] if hits >= LEAST and hits > len(own.intersection(english)) else frozenset()


def asks(sentence: str) -> bool:
    """Whether a sentence without a question mark has a form by which another language than English asks.

    Example:
        >>> asks("Wie lautet meine Kontonummer"), asks("Meine Kontonummer lautet 998877")
        (True, False)
    """
    return _BEGINNING.match(sentence) is not None or _ANYWHERE.search(sentence) is not None
