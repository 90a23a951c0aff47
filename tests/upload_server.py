"""A server of the API alone, without Kafka, as a process that can be killed: `python upload_server.py DATA`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from lit.api.config import ApiConfig
from lit.api.server import listening, serving
from lit.api.services import Services


def main() -> None:
    data = Path(sys.argv[1])
    stores: Any = None
    services = Services(ApiConfig(data, "127.0.0.1:1", data / "static", embedded=False), stores)
    with listening("127.0.0.1", 0) as listener, serving(services, listener) as url:
        sys.stdout.write(f"{url} {services.keys.admin_token}\n")
        sys.stdout.flush()
        while True:
            time.sleep(60)


if __name__ == "__main__":
    main()
