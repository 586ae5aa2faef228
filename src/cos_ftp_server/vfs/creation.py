"""What an account's new files are stored with, and whether they may take a file's place. Pure."""

import mimetypes
from dataclasses import dataclass, replace
from posixpath import splitext

from cos_ftp_server.cos.types import ObjectOptions

__all__ = ["CreationRules", "content_type"]

_TYPES = mimetypes.MimeTypes().types_map[True]
"""Only what the standard library itself knows: the same on every machine, as the tables that
`mimetypes.guess_type` finds in /etc are not."""

_UNKNOWN_TYPE = "application/octet-stream"  # RFC 2046, 4.5.1

_DIRECTORY_TYPE = "application/x-directory"


def content_type(name: str) -> str:
    """Return the media type that the ending of a file name stands for.

    >>> content_type("yard.JPG"), content_type("backup.tar.gz")
    ('image/jpeg', 'application/octet-stream')
    """
    return _TYPES.get(splitext(name)[1].lower(), _UNKNOWN_TYPE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreationRules:
    """ "" leaves a choice to the bucket; `by_name` gives each file the content type of its name."""

    storage_class: str = ""
    server_side_encryption: str = ""
    by_name: bool = True
    may_replace: bool = True

    def file_options(self, name: str) -> ObjectOptions:
        """Return what a file of that name is created with."""
        return ObjectOptions(
            content_type=content_type(name) if self.by_name else "",
            storage_class=self.storage_class,
            server_side_encryption=self.server_side_encryption,
        )

    def marker_options(self) -> ObjectOptions:
        """Return what a directory's marker is created with. It must be readable at any time."""
        return ObjectOptions(
            content_type=_DIRECTORY_TYPE, server_side_encryption=self.server_side_encryption
        )

    def continued_options(self, options: ObjectOptions) -> ObjectOptions:
        """Return the options of a file that is resumed: its own, but encrypted as files are now."""
        wanted = self.server_side_encryption or options.server_side_encryption
        return replace(options, server_side_encryption=wanted)

    def renamed_options(self, options: ObjectOptions, source: str, target: str) -> ObjectOptions:
        """Return the options of a file whose name changes from `source` to `target`.

        Many clients upload under another name ("x.jpg.part") and rename at the end: a content
        type that came from the name follows it. One that somebody else chose stays.
        """
        if self.by_name and options.content_type == content_type(source):
            return replace(options, content_type=content_type(target))
        return options
