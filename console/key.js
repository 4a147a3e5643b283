// The device's key and the proofs made with it (RFC 9449).
//
// The private key is not extractable and is stored in this browser's IndexedDB, one per device id.

const DATABASE = "back-office-console";
const STORE = "device-keys";
const EC = { name: "ECDSA", namedCurve: "P-256" };

const asPromise = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

async function store(mode) {
  const opening = indexedDB.open(DATABASE, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
  const database = await asPromise(opening);
  return database.transaction(STORE, mode).objectStore(STORE);
}

async function keyPairOf(deviceId) {
  const kept = await asPromise((await store("readonly")).get(deviceId));
  if (kept) return kept;
  const pair = await crypto.subtle.generateKey(EC, false, ["sign", "verify"]);
  await asPromise((await store("readwrite")).put(pair, deviceId));
  return pair;
}

const encoder = new TextEncoder();

function base64url(bytes) {
  const text = String.fromCharCode(...new Uint8Array(bytes));
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

const part = (value) => base64url(encoder.encode(JSON.stringify(value)));
const sha256 = async (text) => base64url(await crypto.subtle.digest("SHA-256", encoder.encode(text)));

/** The key of a device. Creates proofs and stores the nonces that servers require. */
export class DeviceKey {
  #pair;
  #jwk;
  #nonces = new Map();

  static async of(deviceId) {
    const key = new DeviceKey();
    key.#pair = await keyPairOf(deviceId);
    const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", key.#pair.publicKey);
    key.#jwk = { kty, crv, x, y };
    return key;
  }

  /** RFC 7638 thumbprint: what tokens are bound to. */
  async thumbprint() {
    const { crv, kty, x, y } = this.#jwk;
    return sha256(JSON.stringify({ crv, kty, x, y }));
  }

  /** A proof for one request. `accessToken` only where one is presented. */
  async proof(method, url, accessToken) {
    const target = new URL(url);
    const claims = {
      jti: crypto.randomUUID(),
      htm: method,
      htu: target.origin + target.pathname,
      iat: Math.floor(Date.now() / 1000),
    };
    if (accessToken) claims.ath = await sha256(accessToken);
    const nonce = this.#nonces.get(target.origin);
    if (nonce) claims.nonce = nonce;
    const input = `${part({ typ: "dpop+jwt", alg: "ES256", jwk: this.#jwk })}.${part(claims)}`;
    const how = { name: "ECDSA", hash: "SHA-256" };
    const signature = await crypto.subtle.sign(how, this.#pair.privateKey, encoder.encode(input));
    return `${input}.${base64url(signature)}`;
  }

  /** Notes the nonce an answer carries. True when it is a new one. */
  noteNonce(url, answer) {
    const nonce = answer.headers.get("DPoP-Nonce");
    const origin = new URL(url).origin;
    const isNew = Boolean(nonce) && this.#nonces.get(origin) !== nonce;
    if (nonce) this.#nonces.set(origin, nonce);
    return isNew;
  }
}
