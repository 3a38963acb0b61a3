"""Two audits side by side: which head of one model does what which head of the other does, and what changed.

diff = diff_audits("runs/demo/checkpoints/step-00000000", "runs/demo")
diff.gained["induction"]
"""

from analyses.diff.compare import diff_audits
from analyses.diff.result import AuditDiff, Change, Circuits, Pair

__all__ = ["AuditDiff", "Change", "Circuits", "Pair", "diff_audits"]
