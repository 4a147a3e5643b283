// Three third-party clients sign in at iam, call the gateway, refresh and call again, with every algorithm
// they support. Requests that must be refused are refused.
//
// node clients.mjs <stack.json> [nonces], with the stack's certificate authority in NODE_EXTRA_CA_CERTS.
import * as dpop from 'dpop';
import * as oauth from 'oauth4webapi';
import * as openid from 'openid-client';
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';

const CLIENT = 'desktop';
const stack = JSON.parse(await readFile(process.argv[2], 'utf8'));
const operator = stack.operators.find(({ roles }) => roles.includes('property.gm'));
const { username, password, deviceId: device_id } = operator;
const credentials = { username, password, device_id };
const dashboard = `/dashboard?propertyId=${operator.propertyIds[0]}`;

const api = (path) => new URL(stack.gateway.apiUrl + path);
const ours = () => new Headers({ 'x-device-id': device_id });

/** Checks that the session is the operator's and that the dashboard has widgets. */
async function check(call) {
  const session = await call('/session');
  assert.equal(session.status, 200, await session.clone().text());
  assert.equal((await session.json()).operatorId, claims.sub);
  const board = await call(dashboard);
  assert.equal(board.status, 200, await board.clone().text());
  const { widgets } = await board.json();
  assert.equal(widgets.occupancy.status, 'ok', JSON.stringify(widgets.occupancy));
}

/** Claims of the latest token, compared with the session. */
let claims = {};
function signedIn(tokens) {
  assert.equal(tokens.token_type.toLowerCase(), 'dpop');
  claims = JSON.parse(Buffer.from(tokens.access_token.split('.')[1], 'base64url').toString());
  return tokens;
}

async function withOauth4webapi(algorithm) {
  const client = { client_id: CLIENT };
  const insecure = { [oauth.allowInsecureRequests]: true };
  const issuer = new URL(stack.iam.issuer);
  const found = await oauth.discoveryRequest(issuer, { ...insecure, algorithm: 'oauth2' });
  const server = await oauth.processDiscoveryResponse(issuer, found);
  const DPoP = oauth.DPoP(client, await oauth.generateKeyPair(algorithm));
  const options = { ...insecure, DPoP };
  const challenges = { nonces: 0 };
  const again = async (act) => {
    try {
      return await act();
    } catch (error) {
      if (!oauth.isDPoPNonceError(error)) throw error;
      challenges.nonces += 1;
      return act();
    }
  };
  const password = () =>
    oauth.genericTokenEndpointRequest(server, client, oauth.None(), 'password', credentials, options)
      .then((answer) => oauth.processGenericTokenEndpointResponse(server, client, answer));
  const refresh = (token) => () =>
    oauth.refreshTokenGrantRequest(server, client, oauth.None(), token, options)
      .then((answer) => oauth.processRefreshTokenResponse(server, client, answer));
  const call = (token) => (path) =>
    again(() => oauth.protectedResourceRequest(token, 'GET', api(path), ours(), null, { DPoP }));
  const first = signedIn(await again(password));
  await check(call(first.access_token));
  const second = signedIn(await again(refresh(first.refresh_token)));
  await check(call(second.access_token));
  return challenges.nonces;
}

async function withOpenidClient(algorithm) {
  const config = await openid.discovery(new URL(stack.iam.issuer), CLIENT, undefined, openid.None(), {
    algorithm: 'oauth2',
    execute: [openid.allowInsecureRequests],
  });
  const DPoP = openid.getDPoPHandle(config, await openid.randomDPoPKeyPair(algorithm));
  const challenges = { nonces: 0 };
  // Counts the nonce challenges, which the library handles itself.
  config[openid.customFetch] = async (...request) => {
    const answer = await fetch(...request);
    if (!answer.ok && answer.headers.has('dpop-nonce')) challenges.nonces += 1;
    return answer;
  };
  const call = (token) => (path) =>
    openid.fetchProtectedResource(config, token, api(path), 'GET', null, ours(), { DPoP });
  const first = signedIn(await openid.genericGrantRequest(config, 'password', credentials, { DPoP }));
  await check(call(first.access_token));
  const second = signedIn(await openid.refreshTokenGrant(config, first.refresh_token, {}, { DPoP }));
  await check(call(second.access_token));
  return challenges.nonces;
}

/** A minimal client with proofs by the package dpop. Also tries requests that must be refused. */
async function withDpop(algorithm) {
  const keys = await dpop.generateKeyPair(algorithm);
  const nonces = new Map();
  const challenges = { nonces: 0 };
  const proven = async (pair, url, method, token) => {
    const target = url.origin + url.pathname;
    return dpop.generateProof(pair, target, method, nonces.get(url.origin), token);
  };
  const send = async (url, method, token, headers, body) => {
    const once = async () => {
      headers.set('dpop', await proven(keys, url, method, token));
      const answer = await fetch(url, { method, headers, body });
      const nonce = answer.headers.get('dpop-nonce');
      if (nonce) nonces.set(url.origin, nonce);
      return [answer, nonce];
    };
    const [answer, nonce] = await once();
    if (answer.ok || !nonce) return answer;
    challenges.nonces += 1;
    return (await once())[0];
  };
  const grant = async (parameters) => {
    const body = new URLSearchParams({ client_id: CLIENT, ...parameters });
    const answer = await send(new URL(`${stack.iam.issuer}/oauth2/token`), 'POST', undefined, new Headers(), body);
    assert.equal(answer.status, 200, await answer.clone().text());
    return signedIn(await answer.json());
  };
  const authorized = (token) => {
    const headers = ours();
    headers.set('authorization', `DPoP ${token}`);
    return headers;
  };
  const call = (token) => (path) => send(api(path), 'GET', token, authorized(token));
  const first = await grant({ grant_type: 'password', ...credentials });
  await check(call(first.access_token));
  const second = await grant({ grant_type: 'refresh_token', refresh_token: first.refresh_token });
  await check(call(second.access_token));

  const refused = async (why, pair, method, path, times = 1) => {
    const headers = authorized(second.access_token);
    headers.set('dpop', await proven(pair, api(path), method, second.access_token));
    let answer;
    for (let time = 0; time < times; time += 1) answer = await fetch(api('/session'), { headers });
    assert.equal(answer.status, 401, `${why} was not refused`);
    assert.match(answer.headers.get('www-authenticate'), /error="invalid_dpop_proof"/, why);
  };
  await refused('a proof used twice', keys, 'GET', '/session', 2);
  await refused('a stolen token', await dpop.generateKeyPair(algorithm), 'GET', '/session');
  await refused('a proof for another method', keys, 'POST', '/session');
  await refused('a proof for another path', keys, 'GET', '/today');
  return challenges.nonces;
}

const clients = [
  ['oauth4webapi', withOauth4webapi, ['ES256', 'Ed25519', 'ES384', 'RS256', 'PS256']],
  ['openid-client', withOpenidClient, ['ES256', 'Ed25519', 'ES384', 'RS256', 'PS256']],
  ['dpop', withDpop, ['ES256', 'Ed25519', 'RS256', 'PS256']],
];
const required = process.argv[3] === 'nonces';
for (const [name, use, algorithms] of clients) {
  for (const algorithm of algorithms) {
    const challenges = await use(algorithm);
    // iam and the gateway each require a nonce once; a client that has one is not challenged again.
    assert.equal(challenges, required ? 2 : 0, `${name} with ${algorithm} got ${challenges} nonce challenges`);
  }
  const nonces = required ? 'with a nonce required by each server' : 'without nonces';
  console.log(`${name}: signed in, called, refreshed, called with ${algorithms.join(', ')}; ${nonces}.`);
}
