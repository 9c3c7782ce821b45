"""Forwards the metrics of a latrace run to Weights & Biases or trackio while it is in progress.

Usage: forward.py RUN --to wandb|trackio|print [--project NAME] [--every SECONDS]

Follows every metrics.jsonl below the run folder, which may not exist yet, and ends once the run is finished, with the
accuracies of its summary. Needs the package that it forwards to, and otherwise the standard library alone; `print` needs
neither, and writes JSON lines.
"""

import argparse
import fcntl
import importlib
import json
import time
from pathlib import Path


class Printer:
    """Stands in for a package."""

    def init(self, project, name):
        pass

    def log(self, numbers):
        print(json.dumps(numbers), flush=True)

    def finish(self):
        pass


def is_worked_on(run):
    """Whether a process holds the run's lock, which the system drops with the process."""
    try:
        with open(run / "lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def is_finished(run):
    """Whether the results are there and every stage is done: a summary alone may be that of an earlier recipe."""
    if not (run / "summary.json").exists() or is_worked_on(run):
        return False
    return all(json.loads(stage.read_text())["done"] for stage in run.rglob("stage.json"))


class Metrics:
    """One training's metrics.jsonl."""

    def __init__(self, path, stage):
        self.path, self.stage = path, stage
        self.read, self.step = 0, 0

    def new(self):
        """The lines written since, without steps that are done again after an interruption."""
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return
        if len(text) < self.read:
            self.read = 0
        # The last line may be half written.
        end = text.rfind(b"\n") + 1
        lines, self.read = text[self.read : end].splitlines(), max(self.read, end)
        for numbers in map(json.loads, lines):
            if numbers["step"] > self.step:
                self.step = numbers["step"]
                yield {f"{self.stage}/{name}": value for name, value in numbers.items() if is_number(value)}


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def forward_new(run, followed, logger):
    for path in sorted(run.rglob("metrics.jsonl")):
        if path not in followed:
            stage = str(path.parent.relative_to(run))
            followed[path] = Metrics(path, stage)
            # Each training counts its own steps; trackio has no such call.
            if hasattr(logger, "define_metric"):
                logger.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
        for numbers in followed[path].new():
            logger.log(numbers)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--to", choices=["wandb", "trackio", "print"], required=True)
    parser.add_argument("--project", default="latrace")
    parser.add_argument("--every", type=float, default=5.0)
    arguments = parser.parse_args()
    logger = Printer() if arguments.to == "print" else importlib.import_module(arguments.to)
    logger.init(project=arguments.project, name=arguments.run.resolve().name)
    followed = {}
    is_last = False
    while not is_last:
        # Asked before the files are read, so that nothing is written between the last reading and the end.
        is_last = is_finished(arguments.run)
        forward_new(arguments.run, followed, logger)
        if not is_last:
            time.sleep(arguments.every)
    models = json.loads((arguments.run / "summary.json").read_text())["models"]
    logger.log({f"accuracy/{name}": model["accuracy"] for name, model in models.items()})
    logger.finish()


if __name__ == "__main__":
    main()
