"""A process of its own for test_openclaw_gevent: greenlets in the place of threads, as in a worker of that pool.

Prints one JSON line: what came of 50 dispatches at once, and of 50 that were parked.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

import gevent  # noqa: E402

from orchestrator.core.outcome import Succeeded  # noqa: E402
from orchestrator.drivers.openclaw import OpenClawGateway  # noqa: E402
from orchestrator.drivers.openclaw_handshake import Address  # noqa: E402
from tests.support.driving import Heard, endpoint, parts, work  # noqa: E402


def main(url: str, token: str) -> None:
    heard, place = Heard(), endpoint(Address(url=url, token=token))
    driver = OpenClawGateway(parts(heard=heard))
    began = time.monotonic()
    jobs = [gevent.spawn(driver.dispatch, place, work(f"g{n}", '{"delay": 0.5}')) for n in range(50)]
    gevent.joinall(jobs, timeout=30)
    seconds = time.monotonic() - began
    parked = [
        driver.dispatch(place, work(f"p{n}", '{"delay": 0.5}', patience=0.0, ended=heard.ends.append))
        for n in range(50)
    ]
    with gevent.Timeout(30):
        while len(heard.ends) < 50:
            gevent.sleep(0.01)
    found = {
        "succeeded": sum(isinstance(job.value, Succeeded) for job in jobs),
        "seconds": seconds,
        "parked": len(parked),
        "ended": sum(isinstance(end, Succeeded) for end in heard.ends),
    }
    print(json.dumps(found), flush=True)
    driver.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
