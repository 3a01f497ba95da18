"""``python -m control_stack.cli``."""

import sys

from control_stack.cli.main import main

sys.exit(main())
