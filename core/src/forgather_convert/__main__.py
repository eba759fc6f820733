"""``python -m forgather_convert``."""

from forgather_convert.cli.main import main

if __name__ == "__main__":
    main()
