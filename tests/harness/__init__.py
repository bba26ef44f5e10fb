"""What every system test needs: a server to talk to, a wire to talk over, a runner to report."""

import os

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
REFERENCE = "/usr/bin/memcached"  # Debian's, 1.6.18


class Settings:
    """What the command line of run-system decided."""

    server = os.path.join(REPOSITORY, "build", "release", "larder")
    is_full = False  # also the tests that take minutes
    is_strict = False  # a missing client is a failure
    commands = None  # of the differential test; None: 20,000, or 200,000 in a full run
    seed = None
    threads = None  # of every server that is started without -t; None: as many as it likes


settings = Settings()
