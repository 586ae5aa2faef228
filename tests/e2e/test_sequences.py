"""What clients that are not at hand would send, command by command, and each reply's code."""

import socket

from tests.e2e.conftest import Place
from tests.e2e.harness import Gateway, Site
from tests.e2e.wire import Wire, read_all


def transfer(wire: Wire, command: str, content: bytes | None = None, setup: str = "PASV") -> bytes:
    """Move data by `command` and hold it to 150 and 226; return what came."""
    with wire.passive() if setup == "PASV" else wire.extended_passive() as data:
        wire.expect(command, 150)
        if content is not None:
            data.sendall(content)
            data.shutdown(socket.SHUT_WR)
        received = read_all(data)
    assert wire.reply().code == 226
    return received


def test_filezilla(alice: Site, place: Place) -> None:
    """Encryption first, then facts; TYPE A for text; a second connection asks for less."""
    with Wire(alice) as wire:
        assert wire.greeting.code == 220
        wire.play(
            f"""
            502 AUTH TLS
            502 AUTH SSL
            331 USER {alice.user}
            230 PASS {alice.password}
            215 SYST
            211 FEAT
            200 CLNT FileZilla
            200 OPTS UTF8 ON
            200 OPTS MLST type;perm;size;modify;unix.mode;unix.uid;unix.gid;
            250 CWD {place.path}
            257 PWD
            200 TYPE I
            """
        )
        assert transfer(wire, "MLSD") == b""
        transfer(wire, "STOR photo.jpg", b"\xff\xd8\r\n")
        wire.expect("TYPE A", 200)
        transfer(wire, "STOR notes.txt", b"one\r\ntwo\r\n")
        assert transfer(wire, "RETR notes.txt") == b"one\r\ntwo\r\n"
        wire.play(
            """
            200 NOOP
            200 TYPE I
            200 NOOP
            200 TYPE A
            257 MKD new
            250 CWD new
            257 PWD
            250 CDUP
            350 RNFR new
            250 RNTO renamed
            250 RMD renamed
            550 SIZE missing
            250 DELE photo.jpg
            """
        )
        with Wire(alice) as second:
            second.play(
                f"""
                331 USER {alice.user}
                230 PASS {alice.password}
                200 OPTS UTF8 ON
                250 CWD {place.path}
                257 PWD
                200 TYPE I
                """
            )
            assert transfer(second, "RETR notes.txt") == b"one\ntwo\n"
            second.expect("QUIT", 221)
        wire.expect("QUIT", 221)
    assert place.content("notes.txt") == b"one\ntwo\n"


def test_filezilla_tells_a_type_from_a_name(wire: Wire, place: Place) -> None:
    """MLSD gives it type, size, time and mode of each entry, one space before the name."""
    place.put("a file", b"12345")
    place.put("sub/", b"")
    wire.expect(f"CWD {place.path}", 250)
    lines = transfer(wire, "MLSD").decode().splitlines()
    facts = {}
    for line in lines:
        head, _, name = line.partition(" ")
        facts[name] = dict(fact.lower().split("=", 1) for fact in head.rstrip(";").split(";"))
    assert facts.keys() == {"a file", "sub"}
    assert facts["a file"]["type"] == "file"
    assert facts["a file"]["size"] == "5"
    assert len(facts["a file"]["modify"]) == len("20260101000000")
    assert facts["sub"]["type"] == "dir"


def test_winscp(alice: Site, place: Place) -> None:
    """FEAT decides; LIST -a where MLSD is switched off; upload, then check by SIZE and MDTM."""
    with Wire(alice) as wire:
        wire.play(
            f"""
            331 USER {alice.user}
            230 PASS {alice.password}
            215 SYST
            """
        )
        features = wire.expect("FEAT", 211).text
        for feature in ("MLST", "REST STREAM", "SIZE", "MDTM", "UTF8"):
            assert f"\n {feature}" in features
        wire.play(
            f"""
            200 OPTS UTF8 ON
            257 PWD
            250 CWD {place.path}
            257 PWD
            200 TYPE A
            """
        )
        assert transfer(wire, "LIST -a") == b""
        wire.expect("TYPE I", 200)
        transfer(wire, "STOR file.filepart", b"12345")
        wire.play(
            """
            350 RNFR file.filepart
            250 RNTO file
            213 SIZE file
            213 MDTM file
            250 MLST file
            """
        )
        assert b" 5 " in transfer(wire, "LIST -a")
        wire.play(
            """
            550 CWD file
            250 DELE file
            550 DELE file
            221 QUIT
            """
        )
    assert place.names() == []


def test_windows_explorer(alice: Site, place: Place) -> None:
    """WinINet needs 200 to `opts utf8 on`, and lists in TYPE A."""
    with Wire(alice) as wire:
        wire.play(
            f"""
            331 USER {alice.user}
            230 PASS {alice.password}
            200 opts utf8 on
            215 syst
            214 site help
            257 PWD
            200 noop
            250 CWD {place.path}/
            200 TYPE A
            """
        )
        assert transfer(wire, "LIST") == b""
        wire.play(f"200 noop\n250 CWD {place.path}/\n200 TYPE I")
        transfer(wire, "STOR 新建 文档.docx", b"PK")
        wire.expect("TYPE A", 200)
        (line,) = transfer(wire, "LIST").decode().splitlines()
        assert line.startswith("-rw")
        assert line.endswith(" 新建 文档.docx")
        wire.play(
            f"""
            257 MKD {place.path}/新建文件夹/
            350 RNFR {place.path}/新建文件夹/
            250 RNTO {place.path}/照片/
            250 RMD {place.path}/照片/
            250 DELE {place.path}/新建 文档.docx
            200 noop
            221 QUIT
            """
        )
    assert place.names() == []


def test_windows_ftp_exe(alice: Site, place: Place) -> None:
    """OPTS before USER, active mode only, the old X commands."""

    def active(wire: Wire, command: str, content: bytes | None = None) -> bytes:
        with socket.create_server((alice.host, 0)) as listener:
            port = listener.getsockname()[1]
            address = alice.host.replace(".", ",")
            wire.expect(f"PORT {address},{port >> 8},{port & 255}", 200)
            wire.expect(command, 150)
            data, _ = listener.accept()
            with data:
                if content is not None:
                    data.sendall(content)
                    data.shutdown(socket.SHUT_WR)
                received = read_all(data)
        assert wire.reply().code == 226
        return received

    with Wire(alice) as wire:
        wire.play(
            f"""
            200 OPTS UTF8 ON
            331 USER {alice.user}
            230 PASS {alice.password}
            257 XPWD
            250 XCWD {place.path}
            257 XMKD d
            250 XCWD d
            250 XCUP
            """
        )
        active(wire, "STOR a.txt", b"a\r\n")  # TYPE A, its default
        wire.expect("TYPE I", 200)
        active(wire, "STOR b.bin", b"b\r\n")
        assert active(wire, "NLST") in (b"a.txt\r\nb.bin\r\nd\r\n", b"d\r\na.txt\r\nb.bin\r\n")
        assert active(wire, "NLST *.txt") == b"a.txt\r\n"
        assert active(wire, "LIST").count(b"\r\n") == 3
        assert active(wire, "RETR b.bin") == b"b\r\n"
        wire.play("250 XRMD d\n250 DELE a.txt\n250 DELE b.bin\n221 QUIT")
    assert place.names() == []


def test_aioftp_connects_before_the_command(wire: Wire, place: Place) -> None:
    place.put("file", b"early")
    with wire.extended_passive() as data:
        wire.expect("NOOP", 200)  # the connection has stood for a round trip
        wire.expect(f"RETR {place.path}/file", 150)
        assert read_all(data) == b"early"
    assert wire.reply().code == 226
    with wire.extended_passive() as data:
        data.sendall(b"sent before STOR")
        wire.expect(f"STOR {place.path}/up", 150)
    assert wire.reply().code == 226
    assert place.content("up") == b"sent before STOR"


def test_node_ftp_sends_rest_before_pasv(wire: Wire, place: Place) -> None:
    place.put("file", b"0123456789")
    wire.expect("REST 4", 350)
    assert transfer(wire, f"RETR {place.path}/file") == b"456789"
    assert transfer(wire, f"RETR {place.path}/file") == b"0123456789"
    wire.play("350 REST 4\n200 NOOP")
    assert transfer(wire, f"RETR {place.path}/file") == b"0123456789"
    wire.expect("MODE S", 200)


def test_php_resumes_a_complete_file(wire: Wire, place: Place) -> None:
    place.put("file", b"0123456789")
    with wire.passive() as data:
        wire.play("200 TYPE I\n350 REST 10")
        wire.expect(f"RETR {place.path}/file", 150)
        assert read_all(data) == b""
    assert wire.reply().code == 226
    with wire.passive():
        wire.play(f"350 REST 11\n554 RETR {place.path}/file")


def test_curl_range_aborts_when_it_has_enough(wire: Wire, place: Place) -> None:
    content = bytes(20 * 1024**2)
    place.put("file", content)
    with wire.passive() as data:
        wire.play(f"350 REST 5\n150 RETR {place.path}/file")
        assert data.recv(100)
        wire.send("ABOR")
        assert len(read_all(data)) < len(content)
    assert [wire.reply().code, wire.reply().code] == [426, 226]
    wire.expect("NOOP", 200)


def test_rclone(wire: Wire, place: Place) -> None:
    """Probes with MLST and MLSD, uploads under another name, renames, looks again."""
    wire.play(
        f"""
        211 FEAT
        200 TYPE I
        200 OPTS UTF8 ON
        550 MLST {place.path}/dir/file
        550 MLST {place.path}/dir
        250 MLST {place.path}
        257 MKD {place.path}/dir
        550 MKD {place.path}/dir
        """
    )
    with wire.passive():
        wire.expect(f"MLSD {place.path}/missing", 550)
    transfer(wire, f"STOR {place.path}/dir/file.1a2b3c4d.partial", b"content", setup="EPSV")
    wire.play(
        f"""
        250 MLST {place.path}/dir/file.1a2b3c4d.partial
        350 RNFR {place.path}/dir/file.1a2b3c4d.partial
        250 RNTO {place.path}/dir/file
        250 MLST {place.path}/dir/file
        550 MLST {place.path}/dir/file.1a2b3c4d.partial
        """
    )
    assert place.names() == ["dir/", "dir/file"]


def test_a_scanner(alice: Site, place: Place) -> None:
    """Devices make the directory without looking, and store under absolute paths."""
    for number in (1, 2):
        with Wire(alice) as wire:
            wire.play(f"331 USER {alice.user}\n230 PASS {alice.password}\n200 TYPE I\n250 CWD /")
            assert wire.ask(f"MKD {place.path}/scans").code == (257 if number == 1 else 550)
            transfer(wire, f"STOR {place.path}/scans/{number}.pdf", b"%PDF")
    assert place.names() == ["scans/", "scans/1.pdf", "scans/2.pdf"]


def test_commands_before_login(alice: Site) -> None:
    """lftp, basic-ftp, inetutils and Windows send these before USER."""
    with Wire(alice) as wire:
        wire.play(
            """
            211 FEAT
            200 OPTS UTF8 ON
            215 SYST
            214 HELP
            200 NOOP
            200 CLNT test
            530 PWD
            530 LIST
            530 CWD /
            503 PASS too-early
            221 QUIT
            """
        )


def test_pipelined_commands_are_answered_in_order(wire: Wire, place: Place) -> None:
    place.put("file", b"12345")
    commands = ["PWD", f"SIZE {place.path}/file", "NOOP", f"CWD {place.path}", "SYST", "XYZZY"]
    wire.socket.sendall("".join(f"{command}\r\n" for command in commands * 5).encode())
    codes = [wire.reply().code for _ in commands * 5]
    assert codes == [257, 213, 200, 250, 215, 500] * 5


def test_epsv_on_ipv6(gateway6: Gateway, place: Place) -> None:
    """PASV cannot tell an IPv6 address; EPSV and EPSV 2 can be used."""
    with Wire(gateway6.site("alice")) as wire:
        wire.log_in()
        assert wire.ask("PASV").code in (425, 522)
        wire.play("522 EPSV 1\n229 EPSV 2")
        transfer(wire, f"STOR {place.path}/file", b"six", setup="EPSV")
        wire.play("200 EPSV ALL\n503 EPRT |2|::1|2000|\n503 PASV")
        assert transfer(wire, f"RETR {place.path}/file", setup="EPSV") == b"six"
