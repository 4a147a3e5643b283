// Documented differences between this product and oauth4webapi. `ours` lists our outcomes; `holds` checks
// that the described difference is in the request, because an error alone explains nothing.

const MAX_LENGTH = 8 * 1024;
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];
/** The last second that our timestamps can represent. */
const LAST_SECOND = 253402207200;
/** An http URI as RFC 3986 writes it: no escapes in the host, no leading zero in the port. */
const PLAIN_URI =
  /^https?:\/\/(?:\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::[1-9]\d*|:)?(?:\/(?:[\w.~!$&'()*+,;=:@/-]|%[0-9a-f]{2})*)?(?:\?[^#\s]*)?(?:#\S*)?$/i;

const isDate = (value) => value === undefined || Number.isSafeInteger(value);
const isText = (value) => typeof value === 'string';
const isId = (value, prefix) => isText(value) && value.startsWith(prefix);

/** RFC 3986 sections 6.2.2.1 and 6.2.2.2: upper-case escapes, none for unreserved characters. */
function withNormalEscapes(uri) {
  return uri.replace(/%[0-9a-f]{2}/gi, (escape) => {
    const letter = String.fromCharCode(parseInt(escape.slice(1), 16));
    return /[\w.~-]/.test(letter) ? letter : escape.toUpperCase();
  });
}

function target(uri) {
  const url = new URL(withNormalEscapes(uri));
  return url.origin + url.pathname;
}

/** Whether the claims that gateway-api section 2 adds to RFC 9068 are present with their types. */
function hasOurClaims({ sub, tenant_id, device_id, property_ids, roles, sid, exp, iat, nbf, jti }) {
  return (
    isId(sub, 'opr_') && isId(tenant_id, 'tnt_') && isId(device_id, 'dev_') && jti !== '' &&
    Array.isArray(property_ids) && property_ids.every((it) => isId(it, 'ppt_')) &&
    Array.isArray(roles) && roles.every(isText) && (sid === undefined || isId(sid, 'bos_')) &&
    [exp, iat, nbf].every(isDate) && exp < LAST_SECOND
  );
}

export const policies = [
  {
    name: 'a proof is accepted from 10 s before its iat to 60 s after; oauth4webapi accepts 300 s both ways',
    source: 'RFC 9449 section 11.1 leaves the window to the server; gateway-api section 2',
    ours: ['Proof(Time)'],
    holds: ({ now, proof: { claims } }) => now - claims.iat > 60 || claims.iat - now > 10,
  },
  {
    name: 'exp of a proof is checked without tolerance',
    source: 'RFC 7519 section 4.1.4: some leeway MAY be given',
    ours: ['Proof(Time)'],
    holds: ({ now, proof: { claims } }) => claims.exp <= now && claims.exp > now - 10,
  },
  {
    name: 'exp of a token is checked without tolerance',
    source: 'RFC 7519 section 4.1.4: some leeway MAY be given',
    ours: ['Token(Expired)'],
    holds: ({ now, token: { claims } }) => claims.exp <= now && claims.exp > now - 10,
  },
  {
    name: 'a token issued in the future is refused',
    source: 'RFC 7519 section 4.1.6, RFC 9068 section 4',
    ours: ['Token(NotYetValid)'],
    holds: ({ now, token: { claims } }) => claims.iat > now + 10,
  },
  {
    name: 'longer than 8 KiB',
    source: 'gateway-api section 2: bounded before any cryptography',
    ours: ['Proof(Jwt(TooLong))', 'Token(Malformed)'],
    holds: ({ outcome, proof, token }) =>
      (outcome.startsWith('Proof') ? proof : token).text.length > MAX_LENGTH,
  },
  {
    name: 'a duplicate member',
    source: 'RFC 7515 section 4, RFC 7519 section 4: reject, or take the last; we reject',
    ours: ['Proof(Jwt(Json))', 'Token(Malformed)'],
    holds: ({ outcome, proof, token }) => (outcome.startsWith('Proof') ? proof : token).hasDuplicates,
  },
  {
    name: 'JSON nested deeper than 127',
    source: 'RFC 8259 section 9: an implementation may limit the depth',
    ours: ['Proof(Jwt(Json))'],
    holds: ({ proof }) => /[[{]{128}/.test(Buffer.from(proof.parts[1], 'base64url').toString()),
  },
  {
    name: 'a part that is not canonical base64url without padding',
    source: 'RFC 7515 section 2, RFC 4648 section 3.5',
    ours: ['Proof(Jwt(Shape))'],
    holds: ({ proof }) => !proof.isStrict,
  },
  {
    name: 'typ is exactly dpop+jwt, no other spelling of the media type',
    source: 'RFC 9449 section 4.3, check 4',
    ours: ['Proof(Type)'],
    holds: ({ proof: { header } }) => /^(application\/)?dpop\+jwt$/i.test(header.typ ?? '') && header.typ !== 'dpop+jwt',
  },
  {
    name: 'a member of a private or symmetric key, whatever its value and whatever the kind of the key',
    source: 'RFC 9449 section 4.3, check 7; CVE-2026-54431',
    ours: ['Proof(PrivateKey)'],
    holds: ({ jwk }) => PRIVATE_MEMBERS.some((member) => Object.hasOwn(jwk, member)),
  },
  {
    name: 'use or key_ops of the jwk do not allow verification',
    source: 'RFC 7517 sections 4.2 and 4.3; oauth4webapi ignores both',
    ours: ['Proof(Key)'],
    holds: ({ jwk }) =>
      (Object.hasOwn(jwk, 'use') && jwk.use !== 'sig') ||
      (Object.hasOwn(jwk, 'key_ops') && !(Array.isArray(jwk.key_ops) && jwk.key_ops.includes('verify'))),
  },
  {
    name: 'jti has 1 to 256 bytes',
    source: 'RFC 9449 section 11.1: servers MAY bound it',
    ours: ['Proof(Claims)'],
    holds: ({ proof: { claims } }) => claims.jti === '' || Buffer.byteLength(claims.jti) > 256,
  },
  {
    name: 'times of a proof are whole seconds',
    source: 'RFC 9449 section 4.2; RFC 7519 section 2 allows fractions, no known client sends one',
    ours: ['Proof(Claims)'],
    holds: ({ proof: { claims } }) => ![claims.iat, claims.exp, claims.nbf].every(isDate),
  },
  {
    name: 'htu is not a plain http URI, which the WHATWG parser would repair',
    source: 'RFC 3986; the WHATWG parser accepts blanks, backslashes, escapes in the host',
    ours: ['Proof(Uri)'],
    holds: ({ proof: { claims } }) => !PLAIN_URI.test(claims.htu),
  },
  {
    name: 'a token without kid',
    source: 'RFC 8725 section 3.1: the key is never guessed',
    ours: ['Token(UnknownKey)'],
    holds: ({ token: { header } }) => header.kid === undefined,
  },
  {
    name: 'a claim of this product is missing or invalid',
    source: 'gateway-api section 2: tenant, device, properties, roles, typed ids',
    ours: ['Token(Claims)'],
    holds: ({ token: { claims } }) => !hasOurClaims(claims),
  },
  {
    name: 'htu is compared with normalized escapes; oauth4webapi does not normalize',
    source: 'RFC 9449 section 4.3 after check 12: SHOULD; RFC 3986 section 6.2.2',
    ours: ['ok'],
    holds: ({ url, proof: { claims } }) =>
      claims.htu !== withNormalEscapes(claims.htu) || url !== withNormalEscapes(url)
        ? target(claims.htu) === target(url)
        : false,
  },
];
