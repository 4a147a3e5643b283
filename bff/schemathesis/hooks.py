"""Signs every request of Schemathesis as a desktop does: with an access token of the stand-in iam and a
fresh DPoP proof (RFC 9449) per request. Generated values of a valid format are replaced by a real
property or second factor, which a schema cannot express; invalid values stay as generated.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import ssl
import struct
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import schemathesis
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

with open(os.environ["MELMASTOON_STACK"], encoding="utf-8") as file:
    STACK = json.load(file)
BASE_URL, API_URL = STACK["gateway"]["baseUrl"], STACK["gateway"]["apiUrl"]
CONTEXT = ssl.create_default_context(cafile=STACK["caFile"])
# An access token or attestation is not used in its last seconds of validity.
MARGIN = 60
PROPERTY = re.compile(r"ppt_[0-7][0-9A-HJKMNP-TV-Z]{25}")
ATTESTATION = re.compile(r"mfa_[0-7][0-9A-HJKMNP-TV-Z]{25}")
SCOPES = {"refunds": "folio.refund", "revoke-key": "lock.revoke"}


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Desktop:
    """A desktop with its own key, and its operator."""

    def __init__(self, operator):
        self.operator = operator
        self.key = ec.generate_private_key(ec.SECP256R1())
        numbers = self.key.public_key().public_numbers()
        x, y = (encode(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
        self.jwk = {"kty": "EC", "crv": "P-256", "x": x, "y": y}
        self.token, self.until = None, 0.0
        self.attestations, self.step = {}, 0
        self.lock = threading.Lock()

    def proof(self, method, url, token=None):
        claims = {"jti": secrets.token_hex(16), "htm": method, "htu": url, "iat": int(time.time())}
        if token:
            claims["ath"] = encode(hashlib.sha256(token.encode()).digest())
        header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk}
        text = ".".join(encode(json.dumps(part).encode()) for part in (header, claims))
        r, s = decode_dss_signature(self.key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def sign_in(self):
        url = f"{STACK['iam']['issuer']}/oauth2/token"
        form = {
            "grant_type": "password",
            "username": self.operator["username"],
            "password": self.operator["password"],
            "device_id": self.operator["deviceId"],
            "client_id": "desktop",
        }
        data = urllib.parse.urlencode(form).encode()
        request = urllib.request.Request(url, data, {"DPoP": self.proof("POST", url)})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def access_token(self):
        with self.lock:
            if time.time() > self.until - MARGIN:
                tokens = self.sign_in()
                self.token = tokens["access_token"]
                self.until = time.time() + tokens["expires_in"]
            return self.token

    def headers(self, method, url):
        token = self.access_token()
        return {
            "Authorization": f"DPoP {token}",
            "DPoP": self.proof(method, url, token),
            "X-Device-Id": self.operator["deviceId"],
        }

    def code(self):
        """The authenticator code (RFC 6238), or None if it was already used in this period."""
        step = int(time.time()) // 30
        if step == self.step:
            return None
        self.step = step
        secret = base64.b32decode(self.operator["totpSecret"] + "=" * (-len(self.operator["totpSecret"]) % 8))
        digest = hmac.new(secret, struct.pack(">Q", step), hashlib.sha1).digest()
        start = digest[-1] & 15
        number = struct.unpack(">I", digest[start : start + 4])[0] & 0x7FFFFFFF
        return f"{number % 1_000_000:06d}"

    def attestation(self, scope):
        """An unused attestation, or None if there is neither one nor a code to get one."""
        known, until = self.attestations.get(scope, (None, 0.0))
        if time.time() < until - MARGIN:
            return known
        code = self.code()
        if code is None:
            return None
        url = f"{API_URL}/auth/mfa/step-up"
        body = json.dumps({"method": "totp", "code": code, "scope": scope}).encode()
        headers = {**self.headers("POST", url), "Content-Type": "application/json"}
        request = urllib.request.Request(url, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=10, context=CONTEXT) as answer:
                self.attestations[scope] = (json.load(answer)["id"], time.time() + 300)
        except urllib.error.HTTPError:
            return None
        return self.attestations[scope][0]


def desktop(role):
    return Desktop(next(it for it in STACK["operators"] if role in it["roles"]))


# The role that most routes allow; and another desktop for sign-outs.
DESK, LEAVING = desktop("property.gm"), desktop("front_desk")


@schemathesis.hook
def before_call(context, case, kwargs):
    path = case.formatted_path
    who = LEAVING if path.endswith("/auth/sign-out") else DESK
    if who is LEAVING:
        who.until = 0.0
    url = BASE_URL + urllib.parse.quote(path, safe="/%:@!$&'()*+,;=~-._")
    headers = dict(case.headers or {})
    if path.endswith("/auth/refresh"):
        signed = {"DPoP": who.proof(case.method, url), "X-Device-Id": who.operator["deviceId"]}
        headers.pop("Authorization", None)
    else:
        signed = who.headers(case.method, url)
    headers = {name: value for name, value in headers.items() if name.lower() not in {key.lower() for key in signed}}
    scope = SCOPES.get(path.rsplit("/", 1)[-1])
    given = headers.get("X-MFA-Attestation")
    if scope and isinstance(given, str) and ATTESTATION.fullmatch(given):
        headers["X-MFA-Attestation"] = who.attestation(scope) or given
    case.headers.update({**headers, **signed})
    query = case.query or {}
    if isinstance(query.get("propertyId"), str) and PROPERTY.fullmatch(query["propertyId"]):
        query["propertyId"] = who.operator["propertyIds"][0]


@schemathesis.hook
def after_call(context, case, response):
    # An attestation cannot be used again, not even for a change that failed.
    if SCOPES.get(case.formatted_path.rsplit("/", 1)[-1]) and response.status_code not in (400, 413, 415):
        DESK.attestations.clear()
