"""The stored results: what the last whole run found, which comes with the package."""

import json
from pathlib import Path
from typing import Any

from toy_models.errors import InputError

RESULTS = Path(__file__).parent / "results.json"


def load_results() -> dict[str, Any]:
    """The content of results.json; `InputError` if there is none."""
    if not RESULTS.is_file():
        raise InputError(f"{RESULTS} is missing; make it with: python -m analyses.calibration")
    return json.loads(RESULTS.read_text(encoding="utf-8"))
