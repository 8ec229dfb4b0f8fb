"""Passwords that stand in a command, because a storage or a tracking server wants one in its URL."""

from __future__ import annotations

import re

PASSWORDS = (
    (re.compile(r"(://[^:/@\s]*):[^@/\s]*@"), r"\1@"),
    (re.compile(r"([?&][^=&\s]*passw[^=&\s]*)=[^&\s]*", re.IGNORECASE), r"\1=***"),
)
"""Passwords in a URL, before its host and in its query."""


def mask_passwords(text: str) -> str:
    """Take the passwords out of the URLs in a text."""
    for pattern, replacement in PASSWORDS:
        text = pattern.sub(replacement, text)
    return text
