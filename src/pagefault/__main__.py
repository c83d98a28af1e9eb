"""``python -m pagefault`` is the ``pagefault`` command."""

from pagefault.commands import main

if __name__ == "__main__":
    main()
