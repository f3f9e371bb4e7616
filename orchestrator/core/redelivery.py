"""When a webhook delivery that failed is tried again. Source: spec "mission", P5; Standard Webhooks, retries.

Pure: the caller draws the jitter.
"""

# Seconds before each attempt: 8 of them, over 27.6 h.
WAITS = (0.0, 5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 36_000.0)
JITTER = 0.1
LONGEST = 36_000.0


def wait(tries: int, jitter: float, retry_after: float | None = None) -> float | None:
    """Seconds until the attempt after `tries` that failed; None: that was the last one.

    jitter: drawn evenly from [0, 1); each wait is up to a tenth longer or shorter, so that what failed together does
    not come back together. retry_after: the seconds that the receiver asked for; it may ask for 10 h at most.
    """
    if tries >= len(WAITS):
        return None
    spread = WAITS[tries] * (1 + JITTER * (2 * jitter - 1))
    return max(spread, min(retry_after or 0.0, LONGEST))
