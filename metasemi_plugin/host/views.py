"""Which views of an unlabeled image an algorithm is given, as semilearn's BasicDataset has it."""

from semilearn.core.utils import ALGORITHMS

from metasemi_plugin.host.rand_augment import CHANNELS

_WEAK = {"x_ulb_w": "weak"}
_TWO_WEAK = {"x_ulb_w": "weak", "x_ulb_s": "weak"}
_WEAK_STRONG = {"x_ulb_w": "weak", "x_ulb_s": "strong"}

HOST_VIEWS: dict[str, dict[str, str]] = {
    "supervised": {},
    "fullysupervised": {},
    "pseudolabel": _WEAK,
    "vat": _WEAK,
    "pimodel": _TWO_WEAK,
    "meanteacher": _TWO_WEAK,
    "mixmatch": _TWO_WEAK,
    "fixmatch": _WEAK_STRONG,
    "uda": _WEAK_STRONG,
    "flexmatch": _WEAK_STRONG,
    "freematch": _WEAK_STRONG,
    "softmatch": _WEAK_STRONG,
    "remixmatch": {
        "x_ulb_w": "weak",
        "x_ulb_s_0": "strong",
        "x_ulb_s_1": "strong",
        "x_ulb_s_0_rot": "rotated",
    },
}


def ulb_views(args) -> dict[str, str]:
    """Batch key -> kind of view that the run described by ``args`` needs.

    An algorithm of ours declares them as ``ulb_views``: that dict, or a static method args -> dict.
    """
    if args.algorithm in HOST_VIEWS:
        return HOST_VIEWS[args.algorithm]
    views = ALGORITHMS[args.algorithm].ulb_views
    return views(args) if callable(views) else views


def no_strong_views(args) -> str | None:
    """What to say where the run needs strong views of images that cannot have them."""
    if args.channels in CHANNELS or "strong" not in ulb_views(args).values():
        return None
    return (
        f"{args.algorithm} wants strong views (RandAugment), which images of {args.channels} "
        "channels do not have, only of 1 or 3: take an algorithm with weak views alone, such as "
        "metasemi"
    )


def host_name_with_views(args) -> str:
    """The name that makes BasicDataset return just the views that the run needs."""
    if args.algorithm in HOST_VIEWS:
        return args.algorithm
    wanted = ulb_views(args)
    return next(name for name, views in HOST_VIEWS.items() if views == wanted)


def supported_algorithms() -> list[str]:
    """Names of the registered algorithms that train here, sorted."""
    return sorted(
        n for n in list(ALGORITHMS.keys()) if n in HOST_VIEWS or hasattr(ALGORITHMS[n], "ulb_views")
    )
