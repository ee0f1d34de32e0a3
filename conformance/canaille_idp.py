"""A second identity provider: PyPI `canaille`, with one static confidential client, and Alice with a password.

Unlike the first it asks everything: who one is, the password, and whether the application may know. Its memory is its process.

Usage: canaille_idp.py PORT CLIENT_SECRET REDIRECT_URI PASSWORD
"""

import sys

from canaille import create_app
from canaille.app import models
from canaille.backends import Backend
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server

port, secret, redirect_uri, password = sys.argv[1:]
origin = f"http://127.0.0.1:{port}"

app = create_app(
    config={
        "SECRET_KEY": "not-a-secret-of-anybody",
        "SERVER_NAME": f"127.0.0.1:{port}",
        "PREFERRED_URL_SCHEME": "http",
        "CANAILLE": {"ADMIN_EMAIL": "admin@example.org", "ENABLE_PASSWORD_COMPROMISSION_CHECK": False},
        "CANAILLE_OIDC": {"REQUIRE_NONCE": True, "TRUSTED_DOMAINS": [], "ACTIVE_JWKS": [RSAKey.generate_key(2048).as_dict(private=True)]},
    }
)
with app.app_context():
    Backend.instance.save(
        models.User(
            user_name="alice", password=password, emails=["alice@example.org"], formatted_name="Alice Archer", given_name="Alice", family_name="Archer"
        )
    )
    client = models.Client(
        client_id="deputy",
        client_secret=secret,
        client_name="deputy",
        client_uri="http://localhost",
        redirect_uris=[redirect_uri],
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
        scope=["openid", "profile", "email", "offline_access"],
        token_endpoint_auth_method="client_secret_basic",
    )
    Backend.instance.save(client)
    client.audience = [client]
    Backend.instance.save(client)

print(f"idp at {origin}", flush=True)
make_server("127.0.0.1", int(port), app, threaded=True).serve_forever()
