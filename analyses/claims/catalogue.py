"""Every claim, found in the modules of `analyses.claims.experiments`."""

import difflib
import importlib
import pkgutil
from functools import cache

from analyses.claims import experiments
from analyses.claims.claim import Claim
from interp.errors import InputError


@cache
def all_claims() -> tuple[Claim, ...]:
    """By their number in the list of claims, then by name; `InputError` if two have the same name."""
    found: list[Claim] = []
    for module in pkgutil.iter_modules(experiments.__path__, experiments.__name__ + "."):
        found.extend(getattr(importlib.import_module(module.name), "CLAIMS", ()))
    names = [claim.name for claim in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"two claims are called {', '.join(twice)}; names must differ")
    return tuple(sorted(found, key=lambda claim: (claim.numbers, claim.name)))


def find_claim(name: str) -> Claim:
    """The claim of that name; `InputError` that lists the nearest names if there is none."""
    claims = {claim.name: claim for claim in all_claims()}
    if name in claims:
        return claims[name]
    near = difflib.get_close_matches(name, claims, n=3, cutoff=0.3) or sorted(claims)[:3]
    raise InputError(f"no claim is called {name!r}; the nearest are {', '.join(near)} (interp claims list)")
