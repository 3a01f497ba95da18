"""What is proved of a policy or a model before it is used: ranges, gains, and sets that are never left."""

from control_stack.verification.box_file import read_box_file
from control_stack.verification.invariance import Claim, Verdict, invariance
from control_stack.verification.ranges import Ranges, ranges
from control_stack.verification.start import require_proof
from control_stack.verification.verify import verify_model, verify_policy

__all__ = [
    "Claim",
    "Ranges",
    "Verdict",
    "invariance",
    "ranges",
    "read_box_file",
    "require_proof",
    "verify_model",
    "verify_policy",
]
