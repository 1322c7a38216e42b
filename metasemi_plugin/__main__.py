"""``python -m metasemi_plugin COMMAND ...``."""

import sys

from metasemi_plugin.cli import main

if __name__ == "__main__":
    sys.exit(main())
