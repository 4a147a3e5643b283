// Judges the requests of generate.rs, read from standard input, with oauth4webapi as a resource
// server, and compares. A disagreement is explained by a rule of policies.mjs or is a failure.
import * as oauth from 'oauth4webapi';
import { createInterface } from 'node:readline';
import { policies } from './policies.mjs';
import { Seen } from './seen.mjs';

const SHOWN = 20;
const AUDIENCE = 'bff-backoffice';
const ALGORITHMS = ['ES256', 'EdDSA', 'Ed25519', 'ES384', 'RS256', 'PS256'];
const full = process.argv[2] !== '--short';

/** The clock is the request's own. */
let now = 0;
Date.now = () => now * 1000;

async function theirs(server, options, seen) {
  const headers = new Headers();
  try {
    for (const [name, value] of seen.headers) headers.append(name, value);
  } catch {
    return 'cannot be sent';
  }
  try {
    const request = new Request(seen.url, { method: seen.method, headers });
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
const count = { judged: 0, accepted: 0, refused: 0, explained: 0 };
const unexplained = [];
for await (const line of lines) {
  const seen = new Seen(JSON.parse(line));
  now = seen.now;
  const their = await theirs(server, options, seen);
  count.judged += 1;
  const [weAccept, theyAccept] = [seen.verdict === 'ok', their === 'ok'];
  if (weAccept === theyAccept) {
    count[weAccept ? 'accepted' : 'refused'] += 1;
    continue;
  }
  const policy = policies.find((it) => it.ours.includes(seen.verdict) && it.holds(seen));
  if (policy) {
    used.set(policy, used.get(policy) + 1);
    count.explained += 1;
  } else {
    unexplained.push({ from: seen.from, ours: seen.verdict, theirs: their, headers: seen.headers });
  }
}

for (const [policy, times] of used) {
  console.log(`${String(times).padStart(6)}  ${policy.ours.join(', ')}: ${policy.name}`);
}
console.log(
  `${count.judged} requests: both accept ${count.accepted}, both refuse ${count.refused}, ` +
    `${count.explained} differ by a written policy, ${unexplained.length} differ without one.`,
);
const idle = [...used].filter(([, times]) => times === 0).map(([policy]) => policy.name);
if (full && idle.length > 0) console.error(`Policies that explained nothing: ${idle.join('; ')}.`);
for (const one of unexplained.slice(0, SHOWN)) console.error(JSON.stringify(one, null, 1));
const good = count.judged > 0 && count.accepted > 0 && unexplained.length === 0;
process.exitCode = good && !(full && idle.length > 0) ? 0 : 1;
