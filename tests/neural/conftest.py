"""Let the test files here import `histories`, which models of sequences share."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
