"""Options of every configuration group."""

from mnist_mlp.base.schema import GROUPS
from tests.helpers.paths import ROOT

OPTIONS = [(path.parent.name, path.stem) for group in GROUPS for path in sorted((ROOT / "conf" / group).glob("*.yaml"))]
