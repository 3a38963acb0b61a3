"""Shares in words, for the terminal and for the README."""

from collections.abc import Iterator
from typing import Any


def rate(share: dict[str, Any]) -> str:
    """Right of cases, as "57/60"; nothing where there are no cases."""
    return f"{share['right']}/{share['cases']}" if share["cases"] else ""


def share_text(share: dict[str, Any]) -> str:
    """Right of cases and the interval, as "57/60 [0.89, 0.99]"."""
    return f"{rate(share)} [{share['low']:.3f}, {share['high']:.3f}]" if share["cases"] else ""


def role_rows(results: dict[str, Any]) -> Iterator[tuple[str, str, str, str, str]]:
    """Each role that a drawn head has or was given: precision, recall with little and any noise, false positives."""
    for role, found in results["roles"].items():
        everywhere, easy = found["all"], found["easy"]
        if everywhere["recall"]["cases"] or everywhere["precision"]["cases"]:
            yield (
                role,
                share_text(everywhere["precision"]),
                share_text(easy["recall"]),
                share_text(everywhere["recall"]),
                share_text(everywhere["false_positives"]),
            )


def level_text(found: dict[str, Any]) -> str:
    """From which noise on recall is under 90 %, in both units."""
    level, unit = found["falls_below_90_percent_at"], found["noise_of_level_1"]
    if level is None:
        return "never"
    return f"from {level:g}" if unit is None else f"from {level:g} (scale {level * unit:.2f})"


def wrong_rows(results: dict[str, Any]) -> Iterator[tuple[str, str, str, str, str, str]]:
    """Each case that went wrong: model, its name, head, what, what the audit said instead, noise and accuracy kept."""
    for case in results["wrong"]:
        given = ", ".join(f"{role} ({word})" for role, word in case["given"].items()) or "nothing"
        noise = f"{case['noise']:.2f}" + (f" ({case['kept']:.0%})" if case["kept"] is not None else "")
        yield str(case["model"]), case["name"], case["head"], f"{case['role']} {case['what']}", given, noise
