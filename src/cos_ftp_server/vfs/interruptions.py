"""That uploads broke off, written down beside the records of those under way, without waiting.

It must not know what is refused to whom.
"""

import time
from functools import partial

from cos_ftp_server.vfs.attempts import LIFETIME_S, Journal
from cos_ftp_server.vfs.interruption_file import Interruption, InterruptionFile
from cos_ftp_server.vfs.records import RecordFiles

__all__ = ["Interruptions"]


class Interruptions:
    """What all buckets' journals are written to."""

    def __init__(self, records: RecordFiles) -> None:
        self._records = records
        self._file = InterruptionFile(records.directory / "broken-off")
        self._has_begun = False
        self._suspect_until = 0.0  # on the clock of time.monotonic()

    def of_bucket(self, bucket: str) -> Journal:
        """Return the journal of one bucket."""
        return _BucketJournal(self, bucket)

    async def read(self) -> tuple[bool, list[Interruption]]:
        """Return whether a process was killed, and what others have written. Raises OSError."""
        was_killed = await self._records.call(self._file.was_killed)
        if was_killed:
            self._suspect_until = time.monotonic() + LIFETIME_S
        return was_killed, await self._records.call(self._file.read)

    async def end(self) -> None:
        """Take note that nothing breaks off any more; return when all has been written.

        That one was killed still counts for the next process, if it was within the last hour.
        """
        if self._has_begun or self._suspect_until:
            is_over = time.monotonic() >= self._suspect_until
            await self._records.run(self._file.end if is_over else _nothing)

    def note_begin(self) -> None:
        """See Journal."""
        if not self._has_begun:
            self._has_begun = True
            self._records.offer(self._file.begin)

    def append(self, interruption: Interruption) -> None:
        """Write down one change."""
        self._records.offer(partial(self._file.append, interruption))


def _nothing() -> None:
    """Be the last in the queue."""


class _BucketJournal:
    """See Journal."""

    def __init__(self, interruptions: Interruptions, bucket: str) -> None:
        self._bucket = bucket
        self._interruptions = interruptions
        self.note_begin = interruptions.note_begin

    def note_change(self, key: str, *, is_whole: bool) -> None:
        one = Interruption(bucket=self._bucket, key=key, moment=time.time(), is_whole=is_whole)
        self._interruptions.append(one)
