"""What a killed gateway leaves behind: found by the next one and by the command, and only that."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cos_ftp_server import storage
from cos_ftp_server.buckets import bucket_address
from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.retry import RetryPolicy
from cos_ftp_server.cos.transport import Transport, create_transport
from cos_ftp_server.cos.types import Credentials, StaticCredentials
from cos_ftp_server.emulator import Emulator, Fault
from cos_ftp_server.settings import AccountSettings
from cos_ftp_server.sweep import Outcome, Sweep, SweptRecord
from cos_ftp_server.vfs.records import RecordFiles
from tests.doubles.ftp_client import RawClient, until
from tests.doubles.server_process import serving
from tests.gateway.conftest import BUCKET, MIB, Config, Start, World, account_for

pytestmark = pytest.mark.timeout(120)

HALF_HOUR = timedelta(minutes=30)


def records(logs: Path) -> list[Path]:
    directory = logs / "uploads"
    return sorted(directory.glob("*.jsonl"))


@asynccontextmanager
async def connected(accounts: Iterable[AccountSettings]) -> AsyncIterator[list[CosClient]]:
    """Clients of accounts, past any gateway: somebody else."""
    async with create_transport() as transport:
        yield [open_client(transport, account) for account in accounts]


def open_client(transport: Transport, account: AccountSettings) -> CosClient:
    assert account.cos_secretid
    assert account.cos_secretkey
    keys = Credentials(account.cos_secretid, account.cos_secretkey.get_secret_value())
    once = RetryPolicy(max_tries=1)
    return CosClient(transport, bucket_address(account), StaticCredentials(keys), retry=once)


@pytest.fixture
async def somebody(emulator: Emulator, tmp_path: Path) -> AsyncIterator[CosClient]:
    async with connected([account_for(emulator.port, tmp_path)]) as (client,):
        yield client


async def uploads(emulator: Emulator) -> set[tuple[str, str]]:
    return set(await emulator.open_uploads(BUCKET.name))


async def number_of_uploads(emulator: Emulator, count: int) -> set[tuple[str, str]]:
    """Return the uploads once there are so many."""
    async with asyncio.timeout(60):
        while len(found := await uploads(emulator)) != count:
            pass
    return found


async def begin_upload(client: RawClient, emulator: Emulator) -> asyncio.StreamWriter:
    """Upload to `file`, and return when the first of its parts has been stored."""
    stored = emulator.requests.count("UploadPart")
    await client.login()
    _, writer = await client.open_data()
    await client.expect("STOR file", 150)
    writer.write(bytes(2 * MIB + 1))
    await writer.drain()
    await emulator.requests.wait_for("UploadPart", count=stored + 1, ended=True)
    return writer


async def kill_in_upload(config: Config, emulator: Emulator) -> None:
    async with serving(config.write()) as server, RawClient(server.address) as client:
        await begin_upload(client, emulator)
        await server.kill()


async def sweep(config: Config, *options: str) -> tuple[int, str, str]:
    """Run the command; return its exit code, what it says, and its complaints."""
    command = [sys.executable, "-m", "cos_ftp_server", "sweep", "--config", str(config.path)]
    process = await asyncio.create_subprocess_exec(
        *command, *options, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    assert b"Traceback" not in err
    return process.returncode, out.decode(), err.decode()


# The next start


async def test_the_next_start_aborts_what_is_ours_and_nothing_else(
    config: Config, emulator: Emulator, somebody: CosClient
) -> None:
    await somebody.put_object("file", b"old")
    theirs = {(key, await somebody.initiate_multipart(key)) for key in ("file", "other")}
    with_a_part = await somebody.initiate_multipart("file")
    await somebody.upload_part("file", with_a_part, 1, bytes(MIB))
    theirs.add(("file", with_a_part))
    await kill_in_upload(config, emulator)
    theirs.add(("file", await somebody.initiate_multipart("file")))
    ((_, ours),) = await uploads(emulator) - theirs
    assert len(records(config.logs)) == 1
    async with serving(config.path) as server:
        line = await server.logged("multipart upload left behind earlier, aborted: 'file' in ")
        assert line.endswith(f"UploadId={ours}")
        assert records(config.logs) == []
        assert await server.stop() == 0
    assert await uploads(emulator) == theirs
    assert await emulator.object_bytes(BUCKET.name, "file") == b"old"


async def test_a_gateway_leaves_the_uploads_of_another_one_alone(
    config: Config, emulator: Emulator
) -> None:
    async with serving(config.write()) as server, RawClient(server.address) as client:
        writer = await begin_upload(client, emulator)
        (record,) = records(config.logs)
        async with serving(config.path) as another, RawClient(another.address) as second:
            await begin_upload(second, emulator)
            await another.kill()
        await number_of_uploads(emulator, 2)
        async with serving(config.path) as another:
            await another.logged("left behind earlier, aborted: 'file'")
            await number_of_uploads(emulator, 1)
            assert records(config.logs) == [record]
            assert await another.stop() == 0
        writer.write_eof()
        assert (await client.reply()).code == 226
    assert await uploads(emulator) == set()


async def test_a_store_that_is_down_at_the_start(config: Config, emulator: Emulator) -> None:
    await kill_in_upload(config, emulator)
    rule = emulator.faults.add(Fault(status=503, code="ServiceUnavailable"))
    async with serving(config.path) as server:
        line = await server.logged("WARNING", "left behind earlier, could not be aborted: 'file'")
        assert "the store is overloaded or out of order: try again later (503" in line
        emulator.faults.remove(rule)
        assert len(records(config.logs)) == 1
        assert (await sweep(config, "--older-than", "0s"))[0] == 0
        assert records(config.logs) == []
        assert await server.stop() == 0
    assert await uploads(emulator) == set()


async def test_a_store_that_hangs_at_the_start_does_not_hold_up_the_stop(
    config: Config, emulator: Emulator
) -> None:
    await kill_in_upload(config, emulator)
    looked = emulator.requests.count("ListParts")
    emulator.faults.add(Fault(operation="ListParts", hold=asyncio.Event()))
    async with serving(config.path) as server:
        await emulator.requests.wait_for("ListParts", count=looked + 1)
        assert await server.stop() == 0
    assert len(records(config.logs)) == 1


async def test_what_is_no_record_is_set_aside(config: Config, emulator: Emulator) -> None:
    directory = config.logs / "uploads"
    directory.mkdir(parents=True)
    (directory / "a.jsonl").write_text("what is this?\n")
    (directory / "b.jsonl").touch()
    async with serving(config.write()) as server:
        line = await server.logged("could not be aborted: a.jsonl: it is no record")
        assert line.endswith("; it is called a.unreadable now")
        await server.logged("nothing to abort: b.jsonl: no upload was begun")
        assert await server.stop() == 0
    assert [path.name for path in directory.iterdir()] == ["a.unreadable"]
    async with serving(config.path) as server:
        assert await server.stop() == 0
        assert not [line for line in server.log if "left behind" in line]


# Disks


async def test_uploads_go_on_where_nothing_can_be_written(
    config: Config, emulator: Emulator
) -> None:
    no_bytes = ["sh", "-c", 'ulimit -f 0 && exec "$0" "$@"']
    async with serving(config.write(), wrapper=no_bytes) as server:
        for _ in range(2):
            async with RawClient(server.address) as client:
                (await begin_upload(client, emulator)).write_eof()
                assert (await client.reply()).code == 226
        assert await server.stop() == 0
        told = [line for line in server.log if "a kill may leave multipart uploads behind" in line]
        assert len(told) == 1
        assert told[0].endswith(": File too large")
    assert records(config.logs) == []


async def test_uploads_go_on_when_log_dir_cannot_be_made(
    config: Config, emulator: Emulator, tmp_path: Path
) -> None:
    (tmp_path / "obstacle").touch()
    config.sections["OPTIONAL"]["log_dir"] = tmp_path / "obstacle" / "log"
    async with serving(config.write()) as server, RawClient(server.address) as client:
        await server.logged("obstacle/log/uploads cannot be read: Not a directory")
        (await begin_upload(client, emulator)).write_eof()
        assert (await client.reply()).code == 226
        await server.logged("obstacle/log/uploads cannot be written", "Not a directory")
        assert await server.stop() == 0
    code, out, err = await sweep(config)
    told = f"{tmp_path}/obstacle/log/uploads cannot be read: Not a directory"
    assert (code, out, err) == (1, "", f"cos-ftp-server: error: {told}\n")


# What remains of uploads that have ended


async def test_no_record_remains_of_an_upload_that_has_ended(
    start: Start, emulator: Emulator, tmp_path: Path
) -> None:
    world = await start()
    content = bytes(2 * MIB + 1)
    async with world.client() as client:
        await client.login()
        assert (await client.store("file", content)).code == 226
        for operation in ("InitiateMultipartUpload", "UploadPart", "CompleteMultipartUpload"):
            fault = Fault(operation=operation, status=403, code="AccessDenied")
            rule = emulator.faults.add(fault)
            assert (await client.store("file", content)).code == 550
            emulator.faults.remove(rule)
    async with world.client() as client:
        await begin_upload(client, emulator)
        assert len(records(tmp_path / "log")) == 1
        client.send("ABOR")
        assert (await client.reply()).code == 426
    async with world.client() as client:
        await begin_upload(client, emulator)
    await number_of_uploads(emulator, 0)
    await world.gateway.aclose()
    assert records(tmp_path / "log") == []


async def test_no_record_remains_when_the_store_is_not_there(start: Start, tmp_path: Path) -> None:
    """Else a store that is away for long would fill the disk."""
    world = await start(account={"cos_endpoint": "127.0.0.1:1"})
    async with world.client() as client:
        await client.login()
        assert (await client.store("file", bytes(2 * MIB))).code == 451
    await world.gateway.aclose()
    assert (tmp_path / "log" / "uploads").exists()
    assert records(tmp_path / "log") == []


@pytest.mark.parametrize("times", [1, 99])
async def test_an_upload_whose_beginning_was_not_answered_is_swept(
    start: Start, emulator: Emulator, somebody: CosClient, tmp_path: Path, times: int
) -> None:
    """The request is sent again, and the first one may have begun an upload as well."""
    world = await start()
    fault = Fault(
        operation="InitiateMultipartUpload", status=500, code="InternalError", after_commit=True
    )
    emulator.faults.add(replace(fault, times=times))
    async with world.client() as client:
        await client.login()
        reply = await client.store("file", bytes(2 * MIB))
    assert reply.code == (226 if times == 1 else 451)
    await number_of_uploads(emulator, min(times, 5))
    files = RecordFiles(tmp_path / "log" / "uploads")
    finding = await sweep_the_one_left(files, world, somebody)
    files.close()
    assert finding.outcome is Outcome.ABORTED
    assert await uploads(emulator) == set()
    assert records(tmp_path / "log") == []


async def test_what_a_gateway_could_not_abort_is_swept(
    start: Start, emulator: Emulator, config: Config
) -> None:
    world = await start()
    rule = emulator.faults.add(
        Fault(operation="AbortMultipartUpload", status=403, code="AccessDenied")
    )
    async with world.client() as client:
        await begin_upload(client, emulator)
        client.send("ABOR")
        assert (await client.reply()).code == 426
    emulator.faults.remove(rule)
    config.write()
    code, out, _ = await sweep(config, "--older-than", "0s")
    assert code == 0
    assert out.startswith("aborted: 'file' in ")
    assert await world.keys() == []


async def test_a_gateway_that_runs_sweeps_from_time_to_time(
    start: Start, tmp_path: Path, somebody: CosClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_SWEEP_PAUSES_S", (0.01,))
    world = await start()
    files = RecordFiles(tmp_path / "log" / "uploads")
    record = await files.add(bucket_address(world.settings.accounts[0]).url, "file")
    upload_id = await somebody.initiate_multipart("file")
    await record.name(upload_id)
    assert await uploads(world.emulator) == {("file", upload_id)}
    record.leave()
    await number_of_uploads(world.emulator, 0)
    await until(lambda: not records(tmp_path / "log"))
    files.close()


async def test_a_sweep_that_failed_unexpectedly_is_not_the_last_one(
    start: Start,
    tmp_path: Path,
    somebody: CosClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(storage, "_SWEEP_PAUSES_S", (0.01,))
    find = RecordFiles.names
    failures = [RuntimeError("a mistake of ours")]

    async def fail_once(files: RecordFiles) -> list[str]:
        if failures:
            raise failures.pop()
        return await find(files)

    monkeypatch.setattr(RecordFiles, "names", fail_once)
    files = RecordFiles(tmp_path / "log" / "uploads")
    world = await start()
    record = await files.add(bucket_address(world.settings.accounts[0]).url, "file")
    await record.name(await somebody.initiate_multipart("file"))
    record.leave()
    await until(lambda: not records(tmp_path / "log"))
    assert await uploads(world.emulator) == set()
    assert "looking for what was left behind earlier has failed" in caplog.messages
    assert "a mistake of ours" in caplog.text
    files.close()


# The command


async def test_the_command_does_not_touch_what_is_under_way(
    config: Config, emulator: Emulator
) -> None:
    async with serving(config.write()) as server, RawClient(server.address) as client:
        writer = await begin_upload(client, emulator)
        code, out, err = await sweep(config, "--older-than", "0s")
        assert (code, out, err) == (0, f"{config.logs}/uploads: 1 under way\n", "")
        writer.write_eof()
        assert (await client.reply()).code == 226
        assert await server.stop() == 0
    assert records(config.logs) == []
    assert await uploads(emulator) == set()


async def test_the_command_leaves_what_is_not_old_enough(
    config: Config, emulator: Emulator
) -> None:
    await kill_in_upload(config, emulator)
    left = await uploads(emulator)
    for options, age in (([], "1 day"), (["--older-than", "90m"], "90 minutes")):
        code, out, _ = await sweep(config, *options)
        assert code == 0
        assert out.endswith(f": it is younger than {age}\n{config.logs}/uploads: 1 left for now\n")
    code, out, _ = await sweep(config, "--older-than", "0s", "--dry-run")
    assert (code, out.partition(": ")[0]) == (0, "would be aborted")
    assert await uploads(emulator) == left
    assert len(records(config.logs)) == 1
    code, out, _ = await sweep(config, "--older-than", "0s")
    assert (code, out.partition(": ")[0]) == (0, "aborted")
    assert await uploads(emulator) == set()
    assert records(config.logs) == []
    code, out, err = await sweep(config)
    told = f"{config.logs}/uploads: no multipart uploads are written down\n"
    assert (code, out, err) == (0, told, "")


async def test_an_account_that_is_gone(config: Config, emulator: Emulator) -> None:
    await kill_in_upload(config, emulator)
    account = config.sections["COS_ACCOUNT_0"]
    account["cos_prefix"] = "elsewhere"
    config.write()
    code, out, err = await sweep(config, "--older-than", "0s")
    assert (code, err) == (1, "cos-ftp-server: error: 1 multipart upload(s) could not be aborted\n")
    assert "could not be aborted: 'file' in " in out
    assert ": no account in the configuration may write there\n" in out
    assert len(records(config.logs)) == len(await uploads(emulator)) == 1


async def test_a_key_that_may_not_abort_is_not_the_last_one(
    config: Config, emulator: Emulator, tmp_path: Path
) -> None:
    await kill_in_upload(config, emulator)
    good = config.sections["COS_ACCOUNT_0"]
    (tmp_path / "home").mkdir()
    bad = good | {"ftp_login_user_name": "bad", "cos_secretkey": "wrong"}
    config.sections = {"COS_ACCOUNT_BAD": bad | {"home_dir": tmp_path / "home"}} | config.sections
    config.write()
    code, out, err = await sweep(config, "--older-than", "0s")
    assert (code, err) == (0, "")
    assert out.startswith("aborted: 'file'")
    assert await uploads(emulator) == set()


# Killed before the UploadId was known


async def test_killed_while_the_store_begins_the_upload(
    config: Config, emulator: Emulator, somebody: CosClient
) -> None:
    """For this test, the store's clock tells what time it is."""
    emulator.faults.clock_offset_s = -HALF_HOUR.total_seconds()
    fault = Fault(operation="InitiateMultipartUpload", hold=asyncio.Event(), after_commit=True)
    rule = emulator.faults.add(fault)
    async with serving(config.write()) as server, RawClient(server.address) as client:
        await client.login()
        _, writer = await client.open_data()
        await client.expect("STOR file", 150)
        writer.write(bytes(MIB))
        await number_of_uploads(emulator, 1)
        await server.kill()
    emulator.faults.remove(rule)
    with_a_part = await somebody.initiate_multipart("file")
    await somebody.upload_part("file", with_a_part, 1, b"part")
    theirs = {("file", with_a_part), ("file2", await somebody.initiate_multipart("file2"))}
    emulator.faults.clock_offset_s = 0
    theirs.add(("file", await somebody.initiate_multipart("file")))
    left = await uploads(emulator)
    assert len(left) == 4

    code, out, _ = await sweep(config, "--older-than", "0s")
    assert code == 0
    assert ": without an UploadId it is told from those of others after 2 minutes\n" in out
    assert await uploads(emulator) == left

    (path,) = records(config.logs)
    fields = json.loads(path.read_text())
    begun = datetime.fromisoformat(fields["begun"]) - HALF_HOUR
    path.write_text(json.dumps(fields | {"begun": begun.isoformat()}) + "\n")
    async with serving(config.path) as server:
        await server.logged("left behind earlier, aborted: 'file'", ": UploadId=")
        assert await server.stop() == 0
    assert await uploads(emulator) == theirs
    assert records(config.logs) == []


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[RecordFiles]:
    opened = RecordFiles(tmp_path / "uploads")
    yield opened
    opened.close()


async def sweep_here(
    files: RecordFiles, world: World, client: CosClient, *, later: timedelta = HALF_HOUR
) -> list[SweptRecord]:
    findings: list[SweptRecord] = []
    await Sweep(
        files,
        world.settings.accounts,
        lambda _: client,
        findings.append,
        now=lambda: datetime.now(UTC) + later,
    ).run()
    return findings


async def sweep_the_one_left(files: RecordFiles, world: World, client: CosClient) -> SweptRecord:
    """Sweep once the gateway has let go of its record, which it does without waiting for it."""
    async with asyncio.timeout(60):
        while True:
            (finding,) = await sweep_here(files, world, client)
            if finding.outcome is not Outcome.UNDER_WAY:
                return finding


async def leave_nameless(files: RecordFiles, world: World, key: str) -> None:
    origin = bucket_address(world.settings.accounts[0]).url
    (await files.add(origin, key)).leave()


async def test_without_an_upload_id_only_what_has_no_part_and_no_other_record_is_taken(
    files: RecordFiles, world: World, somebody: CosClient
) -> None:
    await leave_nameless(files, world, "file")
    ours = await somebody.initiate_multipart("file")
    begun_elsewhere = await somebody.initiate_multipart("fil")
    with_a_part = await somebody.initiate_multipart("file")
    await somebody.upload_part("file", with_a_part, 1, b"part")
    named = await somebody.initiate_multipart("file")
    origin = bucket_address(world.settings.accounts[0]).url
    another = await files.add(origin, "file")
    await another.name(named)
    findings = {finding.outcome: finding for finding in await sweep_here(files, world, somebody)}
    assert findings.keys() == {Outcome.ABORTED, Outcome.UNDER_WAY}
    assert findings[Outcome.ABORTED].reason == f"UploadId={ours}"
    theirs = {("fil", begun_elsewhere), ("file", with_a_part), ("file", named)}
    assert await uploads(world.emulator) == theirs
    await another.erase()


async def test_without_an_upload_id_time_tells_what_cannot_be_ours(
    files: RecordFiles, world: World, somebody: CosClient
) -> None:
    await leave_nameless(files, world, "file")
    world.emulator.faults.clock_offset_s = -120
    before = await somebody.initiate_multipart("file")
    world.emulator.faults.clock_offset_s = 300
    after = await somebody.initiate_multipart("file")
    world.emulator.faults.clock_offset_s = 0
    (finding,) = await sweep_here(files, world, somebody)
    assert finding.outcome is Outcome.NOTHING
    assert await uploads(world.emulator) == {("file", before), ("file", after)}
    assert await files.names() == []


async def test_many_uploads_of_one_key(
    files: RecordFiles, world: World, somebody: CosClient
) -> None:
    """More than one page of them."""
    await leave_nameless(files, world, "file")
    slots = asyncio.Semaphore(20)

    async def begin(key: str) -> None:
        async with slots:
            await somebody.initiate_multipart(key)

    async with asyncio.TaskGroup() as group:
        for _ in range(1002):
            group.create_task(begin("file"))
        group.create_task(begin("file2"))
    (finding,) = await sweep_here(files, world, somebody)
    assert finding.outcome is Outcome.ABORTED
    assert [key for key, _ in await uploads(world.emulator)] == ["file2"]


async def test_many_records_and_a_store_that_is_down(
    files: RecordFiles, world: World, somebody: CosClient
) -> None:
    """It is not asked about each of them."""
    for number in range(100):
        await leave_nameless(files, world, f"file{number}")
    world.emulator.faults.add(Fault(status=503, code="ServiceUnavailable"))
    world.emulator.requests.clear()
    findings = await sweep_here(files, world, somebody)
    assert {finding.outcome for finding in findings} == {Outcome.FAILED}
    assert len(findings) == len(await files.names()) == 100
    assert world.emulator.requests.count("ListMultipartUploads") <= 8
    world.emulator.faults.clear()
    findings = await sweep_here(files, world, somebody)
    assert {finding.outcome for finding in findings} == {Outcome.NOTHING}
    assert await files.names() == []


async def test_a_sweep_that_is_cancelled_keeps_nothing(
    files: RecordFiles, world: World, somebody: CosClient
) -> None:
    await leave_nameless(files, world, "file")
    world.emulator.faults.add(Fault(operation="ListMultipartUploads", hold=asyncio.Event()))
    sweeping = asyncio.create_task(sweep_here(files, world, somebody))
    await world.emulator.requests.wait_for("ListMultipartUploads")
    sweeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sweeping
    world.emulator.faults.clear()
    (name,) = await files.names()
    taken = await files.take(name)
    assert taken is not None
    taken.leave()
