"""`python -m lit.cli`: the `lit` command, for processes that LIT starts itself."""

from lit.cli import main

main()
