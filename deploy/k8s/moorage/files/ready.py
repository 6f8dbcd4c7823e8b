"""Ask the registry, from within the cluster, whether clients can be served."""

import ssl
import sys
import urllib.error
import urllib.request

url = sys.argv[1]
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the Service's own name


def status(path: str) -> int:
    try:
        with urllib.request.urlopen(url + path, timeout=10, context=context) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


ready, api = status("/readyz"), status("/v2/")
print(f"/readyz {ready}, /v2/ {api}")
sys.exit(0 if ready == 200 and api in (200, 401) else 1)
