"""Settings of the context: used again, nested, decorating, of one thread and one task."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import xpnet
from xpnet.core.context import Setting

pytestmark = pytest.mark.host


def test_a_block_may_be_used_again_and_nested():
    setting = Setting("test", 0)
    one, two = setting.within(1), setting.within(2)
    with one, two, one:
        assert setting.get() == 1
    with one:
        with two:
            assert setting.get() == 2
        assert setting.get() == 1
    assert setting.get() == 0
    with pytest.raises(KeyError), one:
        raise KeyError
    assert setting.get() == 0


def test_settings_do_not_disturb_one_another():
    a, b = Setting("a", 0), Setting("b", 0)

    def inside():
        with a.within(1):
            yield

    suspended = inside()
    next(suspended)
    with b.within(1):
        suspended.close()  # leaves a's block within b's
        assert (a.get(), b.get()) == (0, 1)
    assert (a.get(), b.get()) == (0, 0)


def test_one_block_in_two_threads_and_tasks():
    setting = Setting("test", 0)
    shared, seen = setting.within(1), []
    both = threading.Barrier(2)

    def work():
        with shared:
            both.wait()
            seen.append(setting.get())
            both.wait()
        seen.append(setting.get())

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == [0, 0, 1, 1]

    async def task():
        with shared:
            await asyncio.sleep(0)
            return setting.get()

    async def main():
        found = await asyncio.gather(task(), task())
        return [*found, setting.get()]

    with ThreadPoolExecutor(1) as elsewhere:  # a browser's loop may run in this thread
        assert elsewhere.submit(asyncio.run, main()).result() == [1, 1, 0]


def test_no_grad_is_used_again_and_decorates():
    x = xpnet.tensor([1.0], requires_grad=True)
    off = xpnet.no_grad()
    for _ in range(2):
        with off:
            assert not (x * 2).requires_grad

    @xpnet.no_grad()
    def double(x):
        return x * 2

    assert not double(x).requires_grad
    assert (x * 2).requires_grad
