"""Claims that cost nothing, for the tests of what runs, stores and shows claims."""

from pathlib import Path
from typing import Any

import torch

from analyses.claims.claim import Arm, Claim, Comparison, Picture, Row


def steady(seed: int, device: str, budget: float, shift: float = 0.0, log: str = "") -> Row:
    """A score near `shift` and a curve that ends there; with `log` a line is added to that file."""
    if log:
        with Path(log).open("a") as file:
            file.write(f"{shift:g} {seed}\n")
    noise = float(torch.randn((), generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    score = shift + 0.01 * noise
    return {"score": score, "steps": [1.0, 2.0, 4.0], "curve": [0.0, score / 2, score]}


def raises(seed: int, device: str, budget: float) -> Row:
    """Gives a number, except with seed 1."""
    if seed == 1:
        raise ValueError("no luck\nwith this seed")
    return {"score": 0.0}


def interrupted(seed: int, device: str, budget: float, log: str) -> Row:
    """Ctrl-C in the middle of seed 2, once."""
    done = Path(log)
    if seed == 2 and not done.exists():
        done.touch()
        raise KeyboardInterrupt
    return {"score": float(seed)}


def noisy(seed: int, device: str, budget: float) -> Row:
    """A number that depends on the seed alone, with a variance of 1."""
    return {"score": float(torch.randn((), generator=torch.Generator().manual_seed(seed), dtype=torch.float64))}


def exact(seed: int, device: str, budget: float) -> Row:
    return {"error": 0.0, "wrong way": float("inf")}


def claim(name: str = "more-is-more", log: str = "", **changes: Any) -> Claim:
    """The arm shifted by 1 against the one that is not; holds with any seeds."""
    values: dict[str, Any] = {
        "name": name,
        "numbers": (12,),
        "statement": "More <b>is</b> more & never less.",
        "source": "Nobody 1900, section 2",
        "arms": {"shifted": Arm(steady, {"shift": 1.0, "log": log}), "plain": Arm(steady, {"shift": 0.0, "log": log})},
        "comparisons": (Comparison("at the end", "score", "score", "shifted", "plain", "greater", 0.5),),
        "why": "The same without the shift.",
        "picture": Picture("curve", "score reached", "steps", "step", log_x=True),
    }
    return Claim(**(values | changes))


IDENTITY = claim(
    name="nothing-is-nothing",
    numbers=(9,),
    arms={"only": Arm(exact)},
    comparisons=(
        Comparison("zero", "error", "error", "only", "only", "exact", 1e-9, control_value="wrong way"),
    ),
    picture=None,
    trained=False,
)  # fmt: skip
BROKEN = claim(
    name="broken-by-chance",
    arms={"bad": Arm(raises), "plain": Arm(steady)},
    comparisons=(Comparison("at all", "score", "score", "bad", "plain", "greater", 0.5),),
    picture=None,
)
