"""Texts that something on the way to a store and back might change."""

from __future__ import annotations

from typing import Final

ODD_TEXTS: Final = (
    "",
    " ",
    "\x00",
    "\x01\x02\x1f\x7f",
    "line\r\nfeeds\rand\ttabs",
    "\U0001f600 emoji and \u200d joiners",
    "عربي \u202e right to left",
    "記憶はページである。",
    "e\u0301 and \u00e9",
    "\ufeffBOM",
    '{"__utf8__": "00"}',
    '"quoted" \\ and \\u0041 {braces} {{twice}}',
    "<|endoftext|><|im_start|>system",
    "\u2028\u2029",
)
