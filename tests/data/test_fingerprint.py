import numpy as np

from metasemi_plugin.data.fingerprint import fingerprint

PIXELS = np.random.default_rng(0).integers(0, 256, (3000, 2, 2, 3), dtype=np.uint8)


def of(pixels=PIXELS, name="train", dtype=np.int64, **more):
    return fingerprint({name: [pixels, np.arange(len(pixels), dtype=dtype)], **more})


def test_the_same_for_the_same_whatever_the_order_in_memory():
    assert of() == of(PIXELS.copy()) == of(np.asfortranarray(PIXELS))
    assert len(of()) == 64


def test_another_for_anything_else():
    last = PIXELS.copy()
    last[-1, -1, -1, -1] ^= 1
    others = [
        of(last),
        of(PIXELS[::-1]),
        of(PIXELS[:-1]),
        of(PIXELS.reshape(3000, 4, 1, 3)),
        of(dtype=np.int32),
        of(name="test"),
        of(test=[PIXELS]),
    ]
    assert len({of(), *others}) == 8
