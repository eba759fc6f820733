"""``python -m forgather_convert``, which does what ``forgather`` does."""

from forgather_convert.cli.main import main

if __name__ == "__main__":
    main()
