"""The model card: README.md of a model folder, as Hugging Face reads it."""

from collections.abc import Mapping

from metasemi_plugin.markdown_table import markdown_table
from metasemi_plugin.model.description import Description


def card(model: Description) -> str:
    """What it is, what it was trained on, how well it does, and how to use it."""
    run = model.run
    classes = ", ".join(model.classes[:20]) + (", ..." if len(model.classes) > 20 else "")
    return f"""\
---
library_name: metasemi_plugin
pipeline_tag: image-classification
license: other
---

# {run["algorithm"]} on {run["dataset"]}, {run["num_labels"]} labels

Classes ({len(model.classes)}): {classes}.

- **Data**: {run["dataset"]}, {run["num_labels"]} labeled images.
- **Input**: {model.img_size}x{model.img_size} pixels, {model.channels} channels.
- **Method**: {run["algorithm"]}, {model.net} {model.net_args or ""}, seed {run["seed"]}.
- **Weights**: of iteration {run["iteration"]} of {run["num_train_iter"]}, {model.chosen}.
{_errors(run["errors"])}

{_course(run)}

{_confused(model)}

License of the weights and of \
the data: `model.json` has the fields, for whoever passes this folder on to fill in.

## Use it

    pip install metasemi-plugin

    from metasemi_plugin import load
    model = load("path/of/this/folder")
    classes, probabilities = model.predict("folder/of/pictures")[:2]

or `python -m metasemi_plugin predict path/of/this/folder folder/of/pictures --csv out.csv`.
"""


def _course(run: Mapping) -> str:
    """At most ten of the evaluations, evenly spread, the last one among them."""
    course = run["course"]
    step = -(-len(course) // 10)
    shown = course[::-1][::step][::-1]
    rows = [(str(it), f"{error:.2f}") for it, error in shown]
    return markdown_table(("iteration", f"{next(iter(run['errors']))} error, %"), rows)


def _confused(model: Description) -> str:
    """The ten pairs of classes that are most often taken for one another."""
    part, table = list(model.run["confusion"].items())[-1]
    pairs = [
        (count, true, taken_for)
        for true, row in zip(model.classes, table, strict=True)
        for taken_for, count in zip(model.classes, row, strict=True)
        if count and taken_for != true
    ]
    sizes = {name: sum(row) for name, row in zip(model.classes, table, strict=True)}
    most = sorted(pairs, key=lambda pair: -pair[0])[:10]
    rows = [(true, taken_for, f"{count} of {sizes[true]}") for count, true, taken_for in most]
    head = (f"{part} images of class", "taken for", "how many")
    return markdown_table(head, rows, numeric={2}) if rows else f"No {part} image is mistaken."


def _errors(errors: Mapping[str, float]) -> str:
    return "".join(f"- **{name.capitalize()} error**: {e:.2f} %\n" for name, e in errors.items())
