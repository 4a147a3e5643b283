// What a rule of policies.mjs may look at: a request, its proof and its token, decoded as
// leniently as anybody might, so that a rule can show the very thing it speaks of.

const BASE64URL = /^[A-Za-z0-9_-]+$/;

/** Lenient: what is not there or not JSON is an empty object. */
function json(part) {
  try {
    return JSON.parse(Buffer.from(part ?? '', 'base64url').toString());
  } catch {
    return {};
  }
}

/** Whether some name stands twice in an object of this JSON text. */
function hasTwins(text) {
  let twins = false;
  const names = [];
  const token = /"(?:[^"\\]|\\.)*"(\s*:)?|[{}]/g;
  for (const [match, colon] of text.matchAll(token)) {
    if (match === '{') names.push(new Set());
    else if (match === '}') names.pop();
    else if (colon) {
      const name = JSON.parse(match.slice(0, match.length - colon.length));
      twins ||= names.at(-1)?.has(name);
      names.at(-1)?.add(name);
    }
  }
  return twins;
}

export class Jwt {
  constructor(text = '') {
    this.text = text;
    this.parts = text.split('.');
    this.header = json(this.parts[0]) ?? {};
    this.claims = json(this.parts[1]) ?? {};
  }

  /** Three parts, each base64url in its one form: RFC 7515 section 2, RFC 4648 section 3.5. */
  get isStrict() {
    const once = (part) => Buffer.from(part, 'base64url').toString('base64url') === part;
    return this.parts.length === 3 && this.parts.every((it) => BASE64URL.test(it) && once(it));
  }

  get hasTwins() {
    return this.parts.slice(0, 2).some((it) => hasTwins(Buffer.from(it, 'base64url').toString()));
  }
}

export class Seen {
  constructor(line) {
    Object.assign(this, line);
    const header = (name) => this.headers.find(([it]) => it === name)?.[1] ?? '';
    this.proof = new Jwt(header('dpop'));
    this.token = new Jwt(header('authorization').replace(/^\S+ +/, ''));
    this.jwk = this.proof.header.jwk ?? {};
  }
}
