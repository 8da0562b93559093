"""An application server by pywebpush: one push message from standard input to the push service.

Why it exists: the service must satisfy senders that were written without knowing it. This script adds nothing to the
library but the reading of its order and the printing of the answer; encryption and VAPID are the library's.

Standard input, JSON: `subscription` (a W3C PushSubscription), `text` (null: no body), `ttl`, and if they are wanted
`privateKey` (base64url) or `pem` (a file, which comes first), `topic`, `urgency`, `contentEncoding`. Standard output,
JSON: `status`, `location`, `ttl`, `body`. A refusal by the service is an answer, not an error of this script.
"""

import json
import sys
import warnings

import requests
from pywebpush import WebPushException, webpush


def main() -> None:
    """Sends the one message that standard input describes."""
    order = json.load(sys.stdin)
    session = requests.Session()
    # The service under test made its own certificate, which no authority has signed.
    session.verify = False
    # Else a certificate bundle named in the environment would be asked after all; and no proxy is wanted either.
    session.trust_env = False
    warnings.filterwarnings("ignore", message="Unverified HTTPS request")
    key = order.get("pem") or order.get("privateKey")
    try:
        answer = webpush(
            order["subscription"],
            order["text"],
            vapid_private_key=key,
            vapid_claims={"sub": "mailto:tests@example.test"} if key else None,
            content_encoding=order.get("contentEncoding", "aes128gcm"),
            ttl=order["ttl"],
            headers={name: order[name] for name in ("topic", "urgency") if name in order},
            requests_session=session,
            timeout=10,
        )
    except WebPushException as refusal:
        if refusal.response is None:
            raise
        answer = refusal.response
    json.dump(
        {
            "status": answer.status_code,
            "location": answer.headers.get("location"),
            "ttl": answer.headers.get("ttl"),
            "body": answer.text,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
