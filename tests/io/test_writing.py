"""Writers of one name at once: threads, processes, containers and hosts, some of them killed."""

import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import warnings
from contextlib import ExitStack
from pathlib import Path

import pytest

import xpnet
from xpnet.io.locks import InUseError, check_apart, claimed
from xpnet.io.writing import atomic_write, check_writable, copy_file

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(os.name != "posix", reason="needs POSIX's locks and kills"),
]

ROOT = Path(xpnet.__file__).parents[1]
SIZE = 200_000

WRITE = """
import os, sys
{patch}
from xpnet.io.writing import atomic_write
path, letter, times = sys.argv[1], sys.argv[2].encode(), int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(times):
    with atomic_write(path) as file:
        for _ in range(20):
            file.write(letter * 10_000)
"""
HOLD = """
import sys
{begin}
    print("ready", flush=True)
    sys.stdin.readline()
"""


def start(script, *arguments, prefix=()):
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def hold(begin, *arguments):
    """A process within a `with` block."""
    process = start(HOLD.format(begin=begin), *arguments)
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


def end(process):
    process.communicate("\n")
    assert process.returncode == 0


def kill(process):
    process.kill()
    process.communicate()


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def write_from(processes, path, together=lambda: None):
    """Let the processes write together, and read the file all the while."""
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    while any(process.poll() is None for process in processes):
        if path.exists():
            content = path.read_bytes()
            assert len(content) == SIZE
            assert len(set(content)) == 1
    for process in processes:
        error = process.communicate()[1]
        assert process.returncode == 0, error
    assert names(path.parent) == [path.name]


@pytest.mark.parametrize(
    "patch",
    [
        "os.getpid = lambda: 7",  # two containers
        "def gone(*_): raise ProcessLookupError\nos.kill = gone",  # two hosts
    ],
)
def test_pids_that_say_nothing(tmp_path, patch):
    path = tmp_path / "a"
    write_from([start(WRITE.format(patch=patch), path, letter, 60) for letter in "ab"], path)


APART = ("unshare", "--pid", "--fork", "--kill-child")


def may_unshare():
    """Whether processes can have pids of their own here."""
    return (
        bool(shutil.which("unshare")) and not subprocess.run([*APART, "true"], capture_output=True).returncode
    )


def test_two_pid_namespaces(tmp_path):
    if not may_unshare():
        pytest.skip("no namespaces here")
    path = tmp_path / "a"
    write_from([start(WRITE.format(patch=""), path, letter, 60, prefix=APART) for letter in "ab"], path)


def test_threads(tmp_path):
    path, failed = tmp_path / "a", []

    def write(letter):
        try:
            for _ in range(60):
                with atomic_write(path) as file:
                    file.write(letter * SIZE)
                content = path.read_bytes()
                assert len(content) == SIZE
                assert len(set(content)) == 1
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed
    assert names(tmp_path) == ["a"]


def test_copies_from_threads(tmp_path):
    sources = [tmp_path / "0", tmp_path / "1"]
    for source in sources:
        source.write_bytes(source.name.encode() * SIZE)
    failed = []

    def copy(source):
        try:
            for _ in range(60):
                copy_file(source, tmp_path / "a")
                assert len(set((tmp_path / "a").read_bytes())) == 1
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=copy, args=(source,)) for source in [*sources, *sources]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed
    assert names(tmp_path) == ["0", "1", "a"]


def test_no_planted_link_is_followed(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    monkeypatch.setattr("secrets.token_hex", lambda n: "0" * 2 * n)  # as if the name could be known
    for planted in (f".a.{os.getpid()}.tmp", f".a.{'0' * 16}.tmp"):
        (tmp_path / planted).symlink_to(victim)
    with (
        pytest.raises(FileExistsError, match=f"cannot write {tmp_path / 'a'}: "),
        atomic_write(tmp_path / "a"),
    ):
        pass
    assert victim.read_bytes() == b"precious"


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    path = tmp_path / "a"
    begin = "from xpnet.io.writing import atomic_write\nwith atomic_write(sys.argv[1]) as file:"
    killed, living = hold(begin, path), hold(begin, path)
    assert len(names(tmp_path)) == 2
    kill(killed)
    (tmp_path / ".a.notes.tmp").write_bytes(b"not ours")
    with atomic_write(path) as file:
        file.write(b"whole")
    assert len(names(tmp_path)) == 3
    end(living)
    assert names(tmp_path) == [".a.notes.tmp", "a"]
    assert path.read_bytes() == b""  # the last one's


def test_a_full_disk_is_said_with_the_name_of_the_file(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    message = f"^cannot write {re.escape(str(tmp_path / 'a'))}: No space left on device$"
    with pytest.raises(OSError, match=message) as caught, atomic_write(tmp_path / "a"):
        pass
    assert caught.value.errno == errno.ENOSPC
    assert names(tmp_path) == []


def test_errors_of_the_block_are_its_own(tmp_path):
    with pytest.raises(FileNotFoundError, match="picture"), atomic_write(tmp_path / "a"):
        (tmp_path / "picture").read_bytes()


# ---- claims ----

CLAIM = "from xpnet.io.locks import claimed\nwith claimed(*sys.argv[1:]):"


def test_a_second_process_is_told_who_writes(tmp_path):
    path = tmp_path / "run.ckpt"
    first = hold(CLAIM, tmp_path / "log", path)
    expected = f"{path} is being written by process {first.pid} on {socket.gethostname()} since "
    for _ in range(2):
        with pytest.raises(InUseError, match=re.escape(expected)), claimed(tmp_path / "other", path):
            pass
    with claimed(tmp_path / "other"):  # that which was free has been let go
        pass
    end(first)
    with claimed(path):
        assert names(tmp_path) == [".run.ckpt.lock"]
    assert names(tmp_path) == []


def test_the_claim_of_a_killed_process_is_taken_over(tmp_path):
    kill(hold(CLAIM, tmp_path / "a"))
    assert names(tmp_path) == [".a.lock"]
    with claimed(tmp_path / "a"):
        pass
    assert names(tmp_path) == []


def test_a_thread_may_claim_again_and_another_may_not(tmp_path):
    path, found = tmp_path / "a", []

    def other():
        try:
            with claimed(path):
                found.append(None)
        except InUseError as error:
            found.append(str(error))

    with claimed(path), claimed(path):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert found == [f"{path} is being written by another thread; name another file"]
    other()
    assert found[1] is None


def test_one_file_for_two_purposes_is_refused(tmp_path):
    a, link, other = tmp_path / "a", tmp_path / "link", tmp_path / "other"
    link.symlink_to(a)
    other.symlink_to(tmp_path)
    twice, same, followed = ([a, other / "a"], []), ([a], [other / "a"]), ([a], [link])
    for written, read in (twice, same, followed, ([link], [link])):
        with pytest.raises(ValueError, match=r"a is to be written twice|(a|link) is read, and would be over"):
            check_apart(written, read)
    check_apart([link, tmp_path / "b"], [a])  # a write replaces the link
    with pytest.raises(ValueError, match="is to be written twice"), claimed(a, other / "a"):
        pass
    assert names(tmp_path) == ["link", "other"]


def test_many_processes_claim_in_turn(tmp_path):
    """Each adds one to a number, without an update lost, while the lock file comes and goes."""
    path = tmp_path / "count"
    path.write_text("0")
    script = """
import sys
from pathlib import Path
from xpnet.io.locks import InUseError, claimed
path, done = Path(sys.argv[1]), 0
while done < 100:
    try:
        with claimed(path):
            path.write_text(str(int(path.read_text()) + 1))
            done += 1
    except InUseError:
        pass
"""
    processes = [start(script, path) for _ in range(3)]
    for process in processes:
        assert process.wait() == 0, process.stderr.read()
    assert path.read_text() == "300"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_that_was_forked_does_not_keep_the_claim(tmp_path):
    script = """
import os, sys, time
from xpnet.io.locks import claimed
told, tell = os.pipe()
with claimed(sys.argv[1]):
    if os.fork() == 0:
        os.close(1); os.close(2)
        os.write(tell, b"x")  # it is past the fork, and has run what is registered for it
        time.sleep(30)
        os._exit(0)
    os.read(told, 1)
    print("ready", flush=True)
    os.kill(os.getpid(), 9)
"""
    process = start(script, tmp_path / "a")
    assert process.stdout.readline() == "ready\n"
    assert process.wait() == -signal.SIGKILL
    with claimed(tmp_path / "a"):
        pass


def test_where_there_are_no_locks_a_warning_says_so_and_writing_goes_on(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", none)
    stack = ExitStack()
    with pytest.warns(UserWarning, match="knows no locks: nothing keeps a second run from writing it"):
        stack.enter_context(claimed(tmp_path / "a"))
    left = tmp_path / f".a.{'0' * 16}.tmp"
    left.write_bytes(b"perhaps of a living one")
    with stack, atomic_write(tmp_path / "a"):
        pass
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_writable(tmp_path / "a")
    assert names(tmp_path) == [left.name, "a"]


def test_a_planted_lock_file_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / ".a.lock").symlink_to(victim)
    with pytest.raises(OSError, match="cannot write"), claimed(tmp_path / "a"):
        pass
    assert victim.read_bytes() == b"precious"


def test_a_claim_in_a_folder_that_is_not_there(tmp_path):
    path = tmp_path / "no" / "a"
    with pytest.raises(FileNotFoundError, match=f"cannot write {path}: "), claimed(path):
        pass


def write_whole(path):
    with atomic_write(path) as file:
        file.write(b"whole")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_what_is_no_file_is_refused_and_not_replaced(tmp_path):
    """A rename would put a file in the place of a device, for everybody on the machine."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        for write in (check_writable, lambda path: claimed(path).__enter__(), write_whole):
            with pytest.raises(OSError, match=f"cannot write {path}: it is a pipe, expected a file"):
                write(path)
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert names(tmp_path) == ["link", "pipe"]
