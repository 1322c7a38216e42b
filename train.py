"""USB's command line for a run: python train.py --c config/metasemi/digits_40.yaml"""

import sys

from metasemi_plugin.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
