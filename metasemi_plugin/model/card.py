"""The model card: README.md of a model folder, as Hugging Face reads it."""

from collections.abc import Mapping

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
The course of the training is in `metrics.jsonl` of the run folder. License of the weights and of \
the data: `model.json` has the fields, for whoever passes this folder on to fill in.

## Use it

    pip install metasemi-plugin

    from metasemi_plugin import load
    model = load("path/of/this/folder")
    classes, probabilities = model.predict("folder/of/pictures")[:2]

or `python -m metasemi_plugin predict path/of/this/folder folder/of/pictures --csv out.csv`.
"""


def _errors(errors: Mapping[str, float]) -> str:
    return "".join(f"- **{name.capitalize()} error**: {e:.2f} %\n" for name, e in errors.items())
