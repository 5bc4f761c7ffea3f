"""``python -m driftline.cli``: the command line, for those who know the interpreter and not the installed script."""

from driftline.cli.main import run

if __name__ == "__main__":
    run()
