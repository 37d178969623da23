"""Check of an equivalence margin: in range, and at least one test image."""

import math

from mnist_mlp.base.errors import UserError

PERCENT = 100


def check_margin(margin: float | None, images: float | None, key: str) -> None:
    """Check an equivalence margin.

    Args:
        margin: Equivalence margin, a fraction; None disables equivalence testing.
        images: Number of test images; None if unknown.
        key: Option or key that sets the margin, with the character before its value, for the message.

    Raises:
        UserError: The margin is out of range, or less than one test image.
    """
    if margin is None:
        return
    given = f"{key}{margin * PERCENT:.12g}"
    if not 0 < margin < 1:
        raise UserError(f"{given}: expected percentage points in (0, 100), such as 0.3")
    if images and margin * images < 1 - 1e-9:
        least = math.ceil(PERCENT / images * 1e4 - 1e-6) / 1e4
        raise UserError(f"{given}: less than one of {images:,.0f} test images. Expected at least {least:g} points")
