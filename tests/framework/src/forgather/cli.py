"""A stand-in for the framework's command line."""

import json
import sys


def main() -> None:
    """Prints the arguments that it got, or its help; ``fail`` fails."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write("Framework CLI\n\nAvailable subcommands:\n  train        Train a model\n")
        sys.exit(0)
    sys.stdout.write(json.dumps({"framework": sys.argv}) + "\n")
    if arguments[0] == "fail":
        sys.exit(3)
