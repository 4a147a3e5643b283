// Checks the requests of generate.rs, read from standard input, with oauth4webapi as a resource server
// and compares the outcomes. A difference that no rule of policies.mjs explains is a failure.
import * as oauth from 'oauth4webapi';
import { createInterface } from 'node:readline';
import { policies } from './policies.mjs';
import { ObservedRequest } from './observed_request.mjs';

const MAX_PRINTED = 20;
const AUDIENCE = 'bff-backoffice';
const ALGORITHMS = ['ES256', 'EdDSA', 'Ed25519', 'ES384', 'RS256', 'PS256'];
const full = process.argv[2] !== '--short';

/** Time of the current request, used as the clock. */
let now = 0;
Date.now = () => now * 1000;

async function checkWithOauth4webapi(server, options, observed) {
  const headers = new Headers();
  try {
    for (const [name, value] of observed.headers) headers.append(name, value);
  } catch {
    return 'cannot be sent';
  }
  try {
    const request = new Request(observed.url, { method: observed.method, headers });
    await oauth.validateJwtAccessToken(server, request, AUDIENCE, options);
    return 'ok';
  } catch (error) {
    return `${error.code ?? error.name}: ${error.message}`;
  }
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { issuer, jwks } = JSON.parse((await lines.next()).value);
const server = { issuer, jwks_uri: `${issuer}/jwks` };
const options = {
  requireDPoP: true,
  signingAlgorithms: ALGORITHMS,
  [oauth.clockTolerance]: 10,
  [oauth.customFetch]: async () => Response.json(jwks),
};

const used = new Map(policies.map((policy) => [policy, 0]));
const count = { checked: 0, accepted: 0, refused: 0, explained: 0 };
const unexplained = [];
for await (const line of lines) {
  const observed = new ObservedRequest(JSON.parse(line));
  now = observed.now;
  const their = await checkWithOauth4webapi(server, options, observed);
  count.checked += 1;
  const [weAccept, theyAccept] = [observed.outcome === 'ok', their === 'ok'];
  if (weAccept === theyAccept) {
    count[weAccept ? 'accepted' : 'refused'] += 1;
    continue;
  }
  const policy = policies.find((policy) => policy.ours.includes(observed.outcome) && policy.holds(observed));
  if (policy) {
    used.set(policy, used.get(policy) + 1);
    count.explained += 1;
  } else {
    unexplained.push({ from: observed.from, ours: observed.outcome, theirs: their, headers: observed.headers });
  }
}

for (const [policy, times] of used) {
  console.log(`${String(times).padStart(6)}  ${policy.ours.join(', ')}: ${policy.name}`);
}
console.log(
  `${count.checked} requests: both accept ${count.accepted}, both refuse ${count.refused}, ` +
    `${count.explained} differ by a documented policy, ${unexplained.length} differ without one.`,
);
const idle = [...used].filter(([, times]) => times === 0).map(([policy]) => policy.name);
if (full && idle.length > 0) console.error(`Policies that explained nothing: ${idle.join('; ')}.`);
for (const one of unexplained.slice(0, MAX_PRINTED)) console.error(JSON.stringify(one, null, 1));
const good = count.checked > 0 && count.accepted > 0 && unexplained.length === 0;
process.exitCode = good && !(full && idle.length > 0) ? 0 : 1;
