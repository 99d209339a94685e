"""What `helm test` asks the gateway, through its Service.

Environment: GATEWAY, ALLOWED, DENIED; TOKEN_FILE, CA_FILE, ANONYMOUS.
"""

import json
import os
import pathlib
import ssl
import sys
import urllib.error
import urllib.request

# A Secret without `ca.crt` holds a certificate of an authority that everybody trusts.
authority = pathlib.Path(os.environ.get("CA_FILE", "/nowhere"))
trust = ssl.create_default_context(cafile=authority if authority.is_file() else None)
file = os.environ.get("TOKEN_FILE")
token = pathlib.Path(file).read_text().strip() if file else None


def ask(call: str, credential: str | None) -> tuple[int, str]:
    """Status of the answer and, where it is a refusal, its code."""
    method, path = call.split(" ", 1)
    headers = {"Authorization": "Bearer " + credential} if credential else {}
    request = urllib.request.Request(os.environ["GATEWAY"] + "/api/v2" + path, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20, context=trust) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as answer:
        return answer.code, json.loads(answer.read())["error"]["code"]


def tell(what: str, call: str, answer: tuple[int, str], right: bool) -> bool:
    """One line for a call; whether it was answered as it should be."""
    print("ok  " if right else "FAIL", what, call, *answer, flush=True)
    return right


allowed, denied = os.environ["ALLOWED"], os.environ["DENIED"]
anonymous = bool(os.environ.get("ANONYMOUS"))
results = []
if not anonymous:
    answer = ask(allowed, None)
    results.append(tell("refused without a credential:", allowed, answer, answer[0] == 401))
if token or anonymous:
    answer = ask(allowed, token)
    results.append(tell("allowed:", allowed, answer, 200 <= answer[0] < 300))
    answer = ask(denied, token)
    results.append(tell("denied:", denied, answer, answer[0] == 403))
sys.exit(not all(results))
