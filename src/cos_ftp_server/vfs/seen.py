"""Paths that were looked at a moment ago, so that using one again costs no request.

It must not know what was found there: of all of them the same.
"""

import math
from collections import OrderedDict

from cos_ftp_server.vfs.base import VirtualPath
from cos_ftp_server.vfs.paths import ROOT
from cos_ftp_server.vfs.recent import LIFETIME_S

__all__ = ["SeenPaths"]

_MOST = 10_000
"""Paths of one account: about 1.6 MiB. Beyond, the oldest is forgotten early."""


class SeenPaths:
    """When the store was last asked about each of them. About the root it need not be."""

    def __init__(self) -> None:
        self._asked_at: OrderedDict[VirtualPath, float] = OrderedDict()

    def add(self, path: VirtualPath, asked_at: float) -> None:
        """Remember what the answer was to a request that was made at that time (seconds)."""
        self._asked_at[path] = asked_at
        self._asked_at.move_to_end(path)
        while self._is_oldest_useless(asked_at):
            self._asked_at.popitem(last=False)

    def has(self, path: VirtualPath, *, since: float) -> bool:
        """Whether that was asked after `since`."""
        return path == ROOT or self._asked_at.get(path, -math.inf) > since

    def _is_oldest_useless(self, now: float) -> bool:
        oldest = next(iter(self._asked_at.values()))
        return oldest < now - LIFETIME_S or len(self._asked_at) > _MOST
