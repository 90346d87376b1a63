"""A Python that takes warnings for errors, for tests that run a program."""

import sys

# A strict Python. Torch before 2.8 leaves a temporary folder of its own to Python's exit.
STRICT = [sys.executable, "-W", "error", "-W", "ignore:Implicitly cleaning up:ResourceWarning"]
