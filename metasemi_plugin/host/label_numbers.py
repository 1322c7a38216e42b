"""`labels` and `num_labels` of a folder of images, which its files decide."""

from collections.abc import Mapping
from pathlib import Path

from metasemi_plugin.config.resolve import Problems
from metasemi_plugin.config.yaml_files import Setting
from metasemi_plugin.data.labels import count, find_labeled
from metasemi_plugin.errors import UserError


def settle_labels(values: dict, settings: Mapping[str, Setting]) -> Problems:
    """Have `labels` and `num_labels` say the same: of labels that are given, the number found.

    A number that stands where it wins over `labels`, or beside it, must be that.
    """
    given = values["labels"] != "equal"
    if values["dataset"] != "image_folder":
        if given:
            yield "labels", "only dataset image_folder has it: leave it out"
        return
    try:
        data_dir, labels, channels = (values[key] for key in ("data_dir", "labels", "channels"))
        counts = count(find_labeled(Path(data_dir), labels, channels)).values()
    except (UserError, OSError, ValueError) as error:
        if given:
            yield "labels", str(error)
        return  # the data set says so
    found = sum(counts)
    if not given:
        uneven = len({*counts}) > 1 and values["lb_imb_ratio"] == 1
        if uneven and values["num_labels"] == found:
            values["labels"] = "all"  # equally many of each are less
        return
    number, which = settings.get("num_labels"), settings["labels"]
    if number and number.source in (which.source, "command line") and values["num_labels"] != found:
        yield "num_labels", f"{values['num_labels']}, but labels finds {found}: leave it out"
    values["num_labels"] = found
