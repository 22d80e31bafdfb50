"""Counter-based randomness: the published vectors, the same bits everywhere, the right distributions."""

import itertools
import math
import threading
from collections import Counter

import numpy as np
import pytest
from scipy import stats

import xpnet
from xpnet import random
from xpnet.core.backend import Backend
from xpnet.core.random import Generator, Key

HOST = Backend("numpy", np)
MASK = 0xFFFFFFFF


def philox_integers(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, ...]:
    """Philox 4x32-10 on Python integers, from the paper (Salmon et al., 2011, section 3.3)."""
    (x0, x1, x2, x3), (k0, k1) = counter, key
    for _ in range(10):
        high0, low0 = divmod(x0 * 0xD2511F53, 2**32)
        high1, low1 = divmod(x2 * 0xCD9E8D57, 2**32)
        x0, x1, x2, x3 = high1 ^ x1 ^ k0, low1, high0 ^ x3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return x0, x1, x2, x3


# kat_vectors of the Random123 library, "philox4x32 10": counter, key, expected
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((MASK,) * 4, (MASK, MASK), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def signed(x: int) -> int:
    """64 bits as an int64."""
    return x - 2**64 if x >= 2**63 else x


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_gives_the_published_vectors(counter, key, expected):
    block = xpnet.asarray(np.array([signed(counter[1] << 32 | counter[0])], dtype=np.int64))
    words = random.philox(block, Key(key[1] << 32 | key[0], counter[3], counter[2]))
    assert tuple(int(xpnet.to_numpy(w)[0]) for w in words) == expected
    assert philox_integers(counter, key) == expected  # the reference of the next test


def test_bits_follow_the_documented_layout():
    key = Key(seed=0x0123456789ABCDEF, stream=3, step=0x80000001)
    got = xpnet.to_numpy(random.bits(40, key))
    words = [philox_integers((b, 0, key.step, key.stream), (0x89ABCDEF, 0x01234567)) for b in range(10)]
    assert got.dtype == np.int64
    assert got.tolist() == list(itertools.chain(*words))


@pytest.mark.parametrize("seed", [-1, 2**64 - 1, 2**80 - 1])
def test_the_low_64_bits_of_a_seed_are_used(seed):
    assert xpnet.to_numpy(random.bits(8, Key(seed, 0, 0))).tolist() == [
        w for b in range(2) for w in philox_integers((b, 0, 0, 0), (MASK, MASK))
    ]


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 4 * random._CHUNK + 3, 9 * random._CHUNK])
def test_bits_are_the_same_on_every_backend(n):
    key = Key(7, 1, 2)
    got = random.bits(n, key)
    assert got.shape == (n,)
    assert xpnet.core.places.backend_name(got) == xpnet.get_backend()
    assert xpnet.core.places.device(got) == xpnet.core.places.device(xpnet.asarray([0.0]))
    np.testing.assert_array_equal(xpnet.to_numpy(got), random.bits(n, key, HOST))


@pytest.mark.parametrize(
    "draw", [random.uniform, random.normal, lambda s, k, **b: random.keep_mask(s, 0.3, k, **b)]
)
def test_draws_are_the_same_on_every_backend(draw):
    key, shape = Key(5, 0, 9), (7, 5, 3)
    got, host = draw(shape, key), draw(shape, key, backend=HOST)
    assert tuple(got.shape) == shape
    assert xpnet.core.places.backend_name(got) == xpnet.get_backend()
    assert xpnet.to_numpy(got).dtype == host.dtype
    assert xpnet.to_numpy(got).tobytes() == host.tobytes()


@pytest.mark.parametrize("start", [0, 1, 3, 4, 6, 4 * random._CHUNK - 1])
@pytest.mark.parametrize("n", [0, 1, 5, 8])
def test_a_draw_can_be_made_in_slices(start, n):
    key = Key(1, 2, 3)
    whole = xpnet.to_numpy(random.bits(4 * random._CHUNK + 16, key))
    np.testing.assert_array_equal(xpnet.to_numpy(random.bits(n, key, start=start)), whole[start : start + n])


def test_a_longer_draw_begins_with_the_shorter_one():
    key = Key(1, 2, 3)
    for draw in (random.uniform, random.normal):
        np.testing.assert_array_equal(xpnet.to_numpy(draw((17,), key)), xpnet.to_numpy(draw((40,), key))[:17])


# ---- independence ----


@pytest.mark.host
def test_seed_stream_and_step_each_change_every_word():
    base = random.bits(64, Key(10, 1, 5), HOST)
    for key in (Key(11, 1, 5), Key(10 + 2**32, 1, 5), Key(10, 2, 5), Key(10, 1, 6)):
        assert (random.bits(64, key, HOST) != base).all()


@pytest.mark.host
def test_streams_seeds_and_steps_are_uncorrelated():
    n = 20_000
    keys = [Key(s, t, u) for s, t, u in itertools.product((0, 1), repeat=3)]
    draws = np.stack([random.uniform((n,), key, backend=HOST).astype(np.float64) for key in keys])
    correlation = np.corrcoef(draws) - np.eye(len(keys))
    assert np.abs(correlation).max() < 5 / math.sqrt(n)


# ---- distributions ----


def test_uniform_is_uniform_in_0_1():
    u = xpnet.to_numpy(random.uniform((100_000,), Key(3, 0, 0)))
    assert u.dtype == np.float32
    assert u.min() >= 0
    assert u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    assert abs(u.mean() - 1 / 2) < 5 * math.sqrt(1 / 12 / u.size)
    assert abs(u.var() - 1 / 12) < 5 * math.sqrt(1 / 180 / u.size)
    assert abs(np.corrcoef(u[1:], u[:-1])[0, 1]) < 5 / math.sqrt(u.size)


def test_uniform_takes_the_upper_24_bits_exactly():
    key = Key(3, 0, 0)
    words = random.bits(1000, key, HOST)
    np.testing.assert_array_equal(xpnet.to_numpy(random.uniform((1000,), key)), (words // 256) / 2**24)


def test_uniform_between_bounds():
    u = xpnet.to_numpy(random.uniform((50_000,), Key(4, 0, 0), -2.0, 6.0))
    assert u.dtype == np.float32
    assert stats.kstest(u, stats.uniform(-2, 8).cdf).pvalue > 1e-3


def test_normal_is_normal():
    z = xpnet.to_numpy(random.normal((100_001,), Key(8, 0, 0))).astype(np.float64)
    assert stats.kstest(z, "norm").pvalue > 1e-3
    for moment, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(z**moment) - expected) < 5 * math.sqrt(variance / z.size)
    pairs = z[: z.size // 2 * 2].reshape(-1, 2)  # the two values of one Box-Muller pair
    assert abs(np.corrcoef(pairs.T)[0, 1]) < 5 / math.sqrt(len(pairs))
    assert abs(np.corrcoef(pairs.T**2)[0, 1]) < 5 / math.sqrt(len(pairs))


def test_normal_of_any_shape_is_float32_and_finite():
    for shape in ((), (1,), (3, 5), (0, 4)):
        z = random.normal(shape, Key(8, 0, 0))
        assert tuple(z.shape) == shape
        assert xpnet.to_numpy(z).dtype == np.float32
    assert np.isfinite(xpnet.to_numpy(random.normal((10_000,), Key(2, 0, 0)))).all()


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_keep_mask_drops_with_probability_p(p):
    kept = xpnet.to_numpy(random.keep_mask((200, 500), p, Key(6, 1, 0)))
    assert kept.dtype == np.bool_
    assert abs(kept.mean() - (1 - p)) < 5 * math.sqrt(p * (1 - p) / kept.size)


def test_keep_mask_keeps_words_from_the_threshold_on():
    key = Key(6, 1, 0)
    words = random.bits(1000, key, HOST)
    np.testing.assert_array_equal(xpnet.to_numpy(random.keep_mask((1000,), 0.25, key)), words >= 2**30)


def test_the_threshold_is_p_of_the_word_range():
    assert [random.keep_threshold(p) for p in (0.0, 0.25, 0.5, 1.0)] == [0, 2**30, 2**31, 2**32]
    assert random.keep_threshold(0.1) == round(0.1 * 2**32) == 429496730
    assert xpnet.to_numpy(random.keep_mask((1000,), 0.0, Key(0, 0, 0))).all()
    assert not xpnet.to_numpy(random.keep_mask((1000,), 1.0, Key(0, 0, 0))).any()


# ---- permutations and integers ----


@pytest.mark.parametrize("n", [0, 1, 2, 1797, 40_000])
@pytest.mark.host
def test_permutation_permutes(n):
    order = random.permutation(n, Key(1, 2, n))
    assert isinstance(order, np.ndarray)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(n))


@pytest.mark.host
def test_permutations_of_three_are_equally_likely():
    counts = Counter(tuple(random.permutation(3, Key(0, 2, step)).tolist()) for step in range(3000))
    assert len(counts) == 6
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3


@pytest.mark.host
def test_positions_of_a_long_permutation_are_uniform():
    where = [int(np.argmin(random.permutation(8, Key(0, 2, step)))) for step in range(4000)]
    assert stats.chisquare(np.bincount(where, minlength=8)).pvalue > 1e-3


@pytest.mark.host
def test_integers_are_uniform_below_high():
    draws = random.integers(30_000, 10, Key(1, 2, 0))
    assert draws.dtype == np.int64
    assert set(draws.tolist()) == set(range(10))
    assert stats.chisquare(np.bincount(draws)).pvalue > 1e-3


# ---- generators and seeds ----


@pytest.mark.host
def test_a_generator_counts_its_draws():
    generator = Generator(5, stream=3)
    assert [generator.next_key() for _ in range(2)] == [Key(5, 3, 0), Key(5, 3, 1)]
    assert generator.state == (5, 3, 2)
    generator.seed(6)
    assert generator.next_key() == Key(6, 3, 0)


@pytest.mark.host
def test_manual_seed_restarts_every_stream():
    xpnet.manual_seed(11)
    first = {stream: [g.next_key() for _ in range(3)] for stream, g in random.generators.items()}
    xpnet.manual_seed(11)
    assert {stream: [g.next_key() for _ in range(3)] for stream, g in random.generators.items()} == first
    assert len({key for keys in first.values() for key in keys}) == 3 * len(first)
    xpnet.manual_seed(12)
    assert all(g.next_key() not in first[s] for s, g in random.generators.items())


def test_one_stream_does_not_disturb_another():
    xpnet.manual_seed(0)
    alone = xpnet.nn.Linear(3, 4).weight.numpy()
    xpnet.manual_seed(0)
    xpnet.functional.dropout(xpnet.asarray(np.ones((5, 5), np.float32)), 0.5)
    random.generators[random.SHUFFLE].next_key()
    np.testing.assert_array_equal(xpnet.nn.Linear(3, 4).weight.numpy(), alone)


@pytest.mark.host
def test_state_saves_and_restores():
    import json

    xpnet.manual_seed(3)
    for generator in random.generators.values():
        generator.next_key()
    saved = json.loads(json.dumps(random.generator_state()))  # a checkpoint is text
    expected = [g.next_key() for g in random.generators.values()]
    xpnet.manual_seed(99)
    random.set_generator_state(saved)
    assert [g.next_key() for g in random.generators.values()] == expected


def test_forked_streams_are_their_own():
    def draw():
        return random.generators[random.NOISE].next_key()

    draw()
    with random.forked():
        inside = [draw(), draw()]
        with random.forked(5):
            seeded = draw()
            assert seeded.seed == 5
        inside.append(draw())
    assert [draw() for _ in range(3)] == inside
    with pytest.raises(KeyError), random.forked(7):
        raise KeyError
    assert draw().seed == inside[0].seed


def test_forked_streams_are_of_one_thread():
    keys = []

    def draw():
        keys.append(random.generators[random.NOISE].next_key())

    with random.forked(5):
        thread = threading.Thread(target=draw)
        thread.start()
        thread.join()
        draw()
    assert [key.seed for key in keys] == [0, 5]
    assert [key.step for key in keys] == [0, 0]
