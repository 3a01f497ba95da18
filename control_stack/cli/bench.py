"""``control-stack bench NAME``."""
import argparse
def add_parser(commands: argparse._SubParsersAction) -> None:
    pass
