"""Four-letter words: the administrator's questions on the client port."""

from __future__ import annotations

WORDS = frozenset("ruok srvr stat envi mntr conf cons dump isro wchs wchc wchp dirs crst srst hash gtmk stmk".split())
