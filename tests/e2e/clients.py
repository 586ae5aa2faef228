"""One driver per FTP client: the same few actions, said in each client's own words.

A driver is used as a context manager: within it, actions; after it, `output` holds what the client
has printed. Clients that read a script run all of it at the end of the context.
"""

import ftplib
import re
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import quote

from tests.e2e.harness import DEADLINE_S, Site

__all__ = ["CLIENTS", "Client", "Curl", "Lftp", "ScriptedClient"]


class Client(ABC):
    """One client, logging in to `site`; remote names are as typed, relative to `cd`.

    `options` are the client's own: arguments of curl and the ncftp tools, commands of the others.
    """

    def __init__(
        self,
        site: Site,
        environment: Mapping[str, str],
        *,
        active: bool = False,
        options: Sequence[str] = (),
    ) -> None:
        self.site = site
        self.environment = environment
        self.active = active
        self.options = options
        self.output = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.finish(failed=error is not None)

    @abstractmethod
    def finish(self, *, failed: bool) -> None:
        """Do what is left to do; no more than cleaning up if the test has `failed` already."""

    @abstractmethod
    def cd(self, directory: str) -> None:
        """Change the remote directory."""

    @abstractmethod
    def mkdir(self, directory: str) -> None:
        """Make a remote directory."""

    @abstractmethod
    def rmdir(self, directory: str) -> None:
        """Remove an empty remote directory."""

    @abstractmethod
    def put(self, local: Path, remote: str) -> None:
        """Send one file."""

    @abstractmethod
    def mput(self, local: Sequence[Path]) -> None:
        """Send several files under their own names."""

    @abstractmethod
    def get(self, remote: str, local: Path) -> None:
        """Fetch one file."""

    @abstractmethod
    def ls(self) -> None:
        """List the current remote directory."""

    @abstractmethod
    def size(self, remote: str) -> None:
        """Show the size of a file."""

    @abstractmethod
    def rename(self, old: str, new: str) -> None:
        """Rename."""

    @abstractmethod
    def delete(self, remote: str) -> None:
        """Delete a file."""

    def run(self, *command: str | Path, script: str | None = None) -> None:
        """Run a process of the client to its end; its exit code must be 0."""
        done = subprocess.run(
            command,
            input=None if script is None else script.encode(),
            stdin=subprocess.DEVNULL if script is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.environment,
            timeout=2 * DEADLINE_S,
        )
        self.output += done.stdout.decode(errors="replace")
        assert done.returncode == 0, (command, script, self.output)


class ScriptedClient(Client):
    """A client that reads commands from standard input."""

    def __init__(
        self,
        site: Site,
        environment: Mapping[str, str],
        *,
        active: bool = False,
        options: Sequence[str] = (),
    ) -> None:
        super().__init__(site, environment, active=active, options=options)
        self.lines: list[str] = []

    def finish(self, *, failed: bool) -> None:
        if not failed:
            self.execute("\n".join([*self.options, *self.lines, "quit"]) + "\n")

    @abstractmethod
    def execute(self, script: str) -> None:
        """Log in and run a script."""

    @staticmethod
    @abstractmethod
    def quoted(word: str | Path) -> str:
        """Return `word` as the client's command line wants it."""

    def command(self, verb: str, *words: str | Path) -> None:
        """Add a line to the script; a name with a leading dash must not look like an option."""
        safe = (f"./{word}" if str(word).startswith("-") else word for word in words)
        self.lines.append(" ".join([verb, *map(self.quoted, safe)]))

    def cd(self, directory: str) -> None:
        self.command("cd", directory)

    def mkdir(self, directory: str) -> None:
        self.command("mkdir", directory)

    def rmdir(self, directory: str) -> None:
        self.command("rmdir", directory)

    def ls(self) -> None:
        self.command("ls")

    def delete(self, remote: str) -> None:
        self.command("rm", remote)


class Lftp(ScriptedClient):
    """lftp: MLSD, MFMT, SIZE and MDTM before a download, ABOR with urgent data."""

    settings: ClassVar[tuple[str, ...]] = (
        "set cmd:fail-exit true",
        "set cmd:interactive false",
        "set net:max-retries 1",
        "set net:persist-retries 0",
        f"set net:timeout {DEADLINE_S:.0f}",
    )

    def execute(self, script: str) -> None:
        passive = "off" if self.active else "on"
        login = f"{self.quoted(self.site.user)},{self.quoted(self.site.password)}"
        head = [
            *self.settings,
            f"set ftp:passive-mode {passive}",
            f"open -u {login} -p {self.site.port} ftp://{self.site.host_in_url}",
        ]
        self.run("lftp", "--norc", "-f", "/dev/stdin", script="\n".join(head) + "\n" + script)

    @staticmethod
    def quoted(word: str | Path) -> str:
        escaped = str(word).replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'

    def put(self, local: Path, remote: str) -> None:
        self.command("put", local)
        self.lines[-1] += f" -o {self.quoted(remote)}"

    def mput(self, local: Sequence[Path]) -> None:
        self.command("mput", *local)

    def get(self, remote: str, local: Path) -> None:
        self.command("get", remote)
        self.lines[-1] += f" -o {self.quoted(local)}"

    def size(self, remote: str) -> None:
        self.command("quote", "SIZE", remote)

    def rename(self, old: str, new: str) -> None:
        self.command("mv", old, new)


class Tnftp(ScriptedClient):
    """tnftp, the BSD ftp: TYPE A listings, EPSV first, NLST for mget."""

    def execute(self, script: str) -> None:
        mode = "-A" if self.active else "-p"
        # -n: no log-in by .netrc, -i: mput does not ask; no expansion of patterns in names.
        head = f"user {self.site.user} {self.site.password}\nbinary\nglob off\n"
        self.run(
            "tnftp", "-n", "-i", "-v", mode, self.site.host, str(self.site.port),
            script=head + script,
        )  # fmt: skip

    @staticmethod
    def quoted(word: str | Path) -> str:
        # Within quotes a backslash is an ordinary character, and nothing stands for a quote.
        return re.sub(r'([\\" ])', r"\\\1", str(word))

    def put(self, local: Path, remote: str) -> None:
        self.command("put", local, remote)

    def mput(self, local: Sequence[Path]) -> None:
        self.command("lcd", local[0].parent)
        self.command("mput", *(path.name for path in local))

    def get(self, remote: str, local: Path) -> None:
        self.command("get", remote, local)

    def size(self, remote: str) -> None:
        self.command("size", remote)

    def rename(self, old: str, new: str) -> None:
        self.command("rename", old, new)

    def delete(self, remote: str) -> None:
        self.command("delete", remote)


class Ncftp(ScriptedClient):
    """ncftp, the interactive program: HELP SITE, CLNT, MLST before a download, MFMT."""

    def execute(self, script: str) -> None:
        head = f"set passive {'off' if self.active else 'on'}\n"
        site = self.site
        self.run(
            "ncftp", "-u", site.user, "-p", site.password, "-P", str(site.port), site.host,
            script=head + script,
        )  # fmt: skip

    @staticmethod
    def quoted(word: str | Path) -> str:
        # As in tnftp; and patterns, quotes, comments and variables are understood, too.
        return re.sub(r"([^\w./-])", r"\\\1", str(word), flags=re.ASCII)

    def put(self, local: Path, remote: str) -> None:
        self.command("put -z", local, remote)

    def mput(self, local: Sequence[Path]) -> None:
        self.command("put", *local)

    def get(self, remote: str, local: Path) -> None:
        self.command("get -z", remote, local)

    def ls(self) -> None:
        self.command("ls -l")

    def size(self, remote: str) -> None:
        self.command("quote SIZE", remote)

    def rename(self, old: str, new: str) -> None:
        self.command("rename", old, new)


class OneShotClient(Client):
    """Programs that log in, do one thing and end; what they have no words for goes raw."""

    def __init__(
        self,
        site: Site,
        environment: Mapping[str, str],
        *,
        active: bool = False,
        options: Sequence[str] = (),
    ) -> None:
        super().__init__(site, environment, active=active, options=options)
        self.directory = ""

    def finish(self, *, failed: bool) -> None:
        pass  # every action has ended by itself

    def path(self, name: str) -> str:
        """Return `name` as an absolute path."""
        return name if name.startswith("/") else f"{self.directory}/{name}"

    @abstractmethod
    def raw(self, *commands: str) -> None:
        """Send FTP commands as they are."""

    def cd(self, directory: str) -> None:
        self.directory = self.path(directory)

    def mkdir(self, directory: str) -> None:
        self.raw(f"MKD {self.path(directory)}")

    def rmdir(self, directory: str) -> None:
        self.raw(f"RMD {self.path(directory)}")

    def rename(self, old: str, new: str) -> None:
        self.raw(f"RNFR {self.path(old)}", f"RNTO {self.path(new)}")

    def delete(self, remote: str) -> None:
        self.raw(f"DELE {self.path(remote)}")


class NcftpTools(OneShotClient):
    """ncftpput, ncftpget and ncftpls."""

    def put(self, local: Path, remote: str) -> None:
        self._tool("ncftpput", "-C", self.site.host, local, self.path(remote))

    def mput(self, local: Sequence[Path]) -> None:
        self._tool("ncftpput", self.site.host, self.directory or "/", *local)

    def get(self, remote: str, local: Path) -> None:
        self._tool("ncftpget", "-C", self.site.host, self.path(remote), local)

    def ls(self) -> None:
        self._tool("ncftpls", "-l", self._url(self.directory))

    def size(self, remote: str) -> None:
        self.raw(f"SIZE {self.path(remote)}")

    def raw(self, *commands: str) -> None:
        """They can send raw commands before a listing only; the debug output has the replies."""
        options = [word for command in commands for word in ("-W", command)]
        self._tool("ncftpls", "-d", "stdout", *options, self._url("/"))

    def _url(self, path: str) -> str:
        return f"ftp://{self.site.host_in_url}{quote(path)}/"

    def _tool(self, program: str, *words: str | Path) -> None:
        site = self.site
        mode = "-E" if self.active else "-F"
        login = ("-u", site.user, "-p", site.password, "-P", str(site.port))
        self.run(program, *login, mode, *self.options, *words)


class Curl(OneShotClient):
    """curl: CWD for each directory on the way, EPSV first."""

    @property
    def arguments(self) -> list[str]:
        """What every call begins with."""
        mode = ["--ftp-port", self.site.host] if self.active else []
        login = f"{self.site.user}:{self.site.password}"
        limits = ["--max-time", f"{2 * DEADLINE_S:.0f}"]
        return ["curl", "-sS", "--globoff", *limits, *mode, *self.options, "-u", login]

    def url(self, name: str) -> str:
        """Return the URL of a name in the current directory."""
        path = quote(self.path(name).lstrip("/"))
        return f"ftp://{self.site.host_in_url}:{self.site.port}/{path}"

    def put(self, local: Path, remote: str) -> None:
        self.run(*self.arguments, "-T", local, self.url(remote))

    def mput(self, local: Sequence[Path]) -> None:
        pairs = [word for path in local for word in ("-T", str(path), self.url(path.name))]
        self.run(*self.arguments, *pairs)

    def get(self, remote: str, local: Path) -> None:
        self.run(*self.arguments, "-o", local, self.url(remote))

    def ls(self) -> None:
        self.run(*self.arguments, self.url("") + "/")

    def size(self, remote: str) -> None:
        self.run(*self.arguments, "-I", self.url(remote))

    def raw(self, *commands: str) -> None:
        options = [word for command in commands for word in ("-Q", command)]
        root = f"ftp://{self.site.host_in_url}:{self.site.port}/"
        self.run(*self.arguments, "-I", *options, root)


class Ftplib(Client):
    """ftplib of Python's standard library: EPSV on IPv6, no FEAT."""

    def __init__(
        self,
        site: Site,
        environment: Mapping[str, str],
        *,
        active: bool = False,
        options: Sequence[str] = (),
    ) -> None:
        super().__init__(site, environment, active=active, options=options)
        self.ftp = ftplib.FTP(encoding="utf-8", timeout=2 * DEADLINE_S)

    def __enter__(self) -> Self:
        self.ftp.connect(self.site.host, self.site.port)
        self.ftp.login(self.site.user, self.site.password)
        self.ftp.set_pasv(not self.active)
        self.ftp.voidcmd("TYPE I")
        return self

    def finish(self, *, failed: bool) -> None:
        try:
            if not failed:
                self.ftp.quit()
        finally:
            self.ftp.close()

    def cd(self, directory: str) -> None:
        self.ftp.cwd(directory)

    def mkdir(self, directory: str) -> None:
        self.ftp.mkd(directory)

    def rmdir(self, directory: str) -> None:
        self.ftp.rmd(directory)

    def put(self, local: Path, remote: str) -> None:
        with local.open("rb") as file:
            self.ftp.storbinary(f"STOR {remote}", file, blocksize=256 * 1024)

    def mput(self, local: Sequence[Path]) -> None:
        for path in local:
            self.put(path, path.name)

    def get(self, remote: str, local: Path) -> None:
        with local.open("wb") as file:
            self.ftp.retrbinary(f"RETR {remote}", file.write, blocksize=256 * 1024)

    def ls(self) -> None:
        lines: list[str] = []
        self.ftp.dir(lines.append)
        self.output += "\n".join([*lines, *(name for name, _ in self.ftp.mlsd())]) + "\n"

    def size(self, remote: str) -> None:
        self.output += f"{self.ftp.size(remote)}\n"

    def rename(self, old: str, new: str) -> None:
        self.ftp.rename(old, new)

    def delete(self, remote: str) -> None:
        self.ftp.delete(remote)


CLIENTS: Mapping[str, type[Client]] = {
    "curl": Curl,
    "lftp": Lftp,
    "tnftp": Tnftp,
    "ncftp": Ncftp,
    "ncftp-tools": NcftpTools,
    "ftplib": Ftplib,
}
