"""The command ``hrnet``: ``hrnet NAME ...`` is ``python -m hrnet_jax.NAME ...``."""

import runpy
import sys

import hrnet_jax

COMMANDS = {
    "predict": "find poses in photos and videos",
    "rows": "list the published rows with their configurations",
    "figures": "draw figures 5 and 6 of the paper from published points and runs",
    "prepare": "turn annotations and photos into records to train on",
    "doctor": "find what is wrong with a data set, a prepared split or a run",
    "convert": "convert checkpoints between PyTorch and JAX",
    "export": "export networks to safetensors, ONNX and StableHLO",
    "track": "follow the people of PoseTrack's sequences, and compare ways to do it",
    "posetrack": "evaluate people followed through videos, as the benchmark PoseTrack does",
    "compare": "compare a network layer by layer, with PyTorch or before and after a change",
    "benchmark": "measure speed and memory",
}


def main() -> None:
    """Runs a command with the remaining arguments."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        lines = [f"  {command:<10} {help}" for command, help in COMMANDS.items()]
        print("\n".join(["usage: hrnet COMMAND [--help] ...", "", *lines]))
    elif name == "--version":
        print(hrnet_jax.__version__)
    elif name in COMMANDS:
        sys.argv = [f"hrnet {name}", *sys.argv[2:]]
        runpy.run_module(f"hrnet_jax.{name}", run_name="__main__", alter_sys=True)
    else:
        print(f"error: there is no command {name!r}: choose one of {', '.join(COMMANDS)}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
