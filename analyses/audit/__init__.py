"""`audit`: a role for every head of a model, each with three kinds of evidence that may disagree.

report = audit("runs/demo")
report.heads("induction", confidence="strong")
report["L1H2"].claims[0].evidence
"""

from analyses.audit.expectations import Expectation, Judgement
from analyses.audit.result import AuditReport
from analyses.audit.run import audit
from analyses.criteria import Criteria

__all__ = ["AuditReport", "Criteria", "Expectation", "Judgement", "audit"]
