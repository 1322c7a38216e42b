"""A model as one file that other programs load, checked against the net before it is written."""

import io
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from metasemi_plugin.errors import UserError
from metasemi_plugin.model.net import build
from metasemi_plugin.model.predictor import Predictor
from metasemi_plugin.run_folder import files

TOLERANCE = 1e-5
INPUT = ("classes", "img_size", "channels", "mean", "std", "resize", "ranges")
Logits = Callable[[Tensor], Tensor]


class OnlyLogits(nn.Module):
    """The net as most programs want it: (N, channels, H, W), normalized -> logits, (N, classes)."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)["logits"]


def export(predictor: Predictor, form: str, out: Path) -> float:
    """Write the model to `out`, and beside it a JSON file of its classes and of its input.

    Args:
        predictor: of the model, on the CPU.
        form: of FORMATS.
        out: the file; the other one is called the same with ".json" behind.

    Returns:
        The greatest difference between its logits and those of the net, of random images.

    Raises:
        UserError: packages are missing, torch cannot write this net so, the logits differ by more
            than TOLERANCE, or there is no writing to `out`.
    """
    net = OnlyLogits(predictor.module).eval()
    says = {name: getattr(predictor.description, name) for name in INPUT}
    size = (says["channels"], says["img_size"], says["img_size"])
    # Not as many images as check it: the number must not become part of the graph.
    chance = torch.Generator().manual_seed(0)
    example, x = (torch.randn(count, *size, generator=chance) for count in (2, 5))
    try:
        content, again = FORMATS[form](net, example, predictor)
        with torch.no_grad():
            difference = (again(x) - net(x)).abs().max().item()
    except UserError:
        raise
    except Exception as error:  # of the exporters, which raise almost anything
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"{predictor.description.net!r} cannot be exported as {form}: {reason}"
        ) from error
    if not difference <= TOLERANCE:
        raise UserError(
            f"the logits of the {form} file differ from the net's by {difference:.1e}, more than "
            f"{TOLERANCE:g}: it is not written; choose another --format"
        )
    try:
        files.replace(out, content)
        files.replace(out.with_name(f"{out.name}.json"), f"{json.dumps(says, indent=2)}\n".encode())
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or error}") from error
    return difference


@contextmanager
def _tracing() -> Iterator[None]:
    with warnings.catch_warnings():
        # What a net asks of the size of its input has one answer here; its results are compared.
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        # torch would rather have its other exporter used, which needs one more package.
        for message in ("You are using the legacy TorchScript", "The feature will be removed"):
            warnings.filterwarnings("ignore", message, DeprecationWarning)
        yield


def _onnx(net: nn.Module, example: Tensor, predictor: Predictor) -> tuple[bytes, Logits]:
    try:
        import onnx  # noqa: F401
        from onnxruntime import InferenceSession
    except ImportError as error:
        raise UserError(
            f"--format onnx needs {error.name}: pip install 'metasemi-plugin[export]'"
        ) from error
    file, batch = io.BytesIO(), {0: "N"}
    with _tracing():
        torch.onnx.export(net, (example,), file, input_names=["x"], output_names=["logits"],  # type: ignore[arg-type]
                          dynamic_axes={"x": batch, "logits": batch}, dynamo=False)  # fmt: skip
    session = InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    return file.getvalue(), lambda x: torch.from_numpy(session.run(None, {"x": x.numpy()})[0])


def _torchscript(net: nn.Module, example: Tensor, predictor: Predictor) -> tuple[bytes, Logits]:
    file = io.BytesIO()
    with _tracing():
        torch.jit.save(torch.jit.trace(net, example), file)
    file.seek(0)
    return file.getvalue(), torch.jit.load(file)


def _safetensors(net: nn.Module, example: Tensor, predictor: Predictor) -> tuple[bytes, Logits]:
    """The weights alone, under the names of the net's own; all that is said of it in their header.

    The header holds strings only.
    """
    weights = {name: t.contiguous() for name, t in predictor.module.state_dict().items()}
    says = {"description": json.dumps(predictor.description._asdict())}
    content = safetensors.torch.save(weights, metadata=says)
    again = build(predictor.description)
    again.load_state_dict(safetensors.torch.load(content))
    return content, OnlyLogits(again).eval()


FORMATS = {"onnx": _onnx, "torchscript": _torchscript, "safetensors": _safetensors}
