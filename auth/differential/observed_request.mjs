// A request with its proof and token, decoded leniently, so that a rule of policies.mjs can show the
// difference it describes.

const BASE64URL = /^[A-Za-z0-9_-]+$/;

/** Decodes leniently: missing or invalid JSON becomes an empty object. */
function json(part) {
  try {
    return JSON.parse(Buffer.from(part ?? '', 'base64url').toString());
  } catch {
    return {};
  }
}

/** Whether an object of this JSON text has a duplicate member name. */
function hasDuplicates(text) {
  let duplicates = false;
  const names = [];
  const token = /"(?:[^"\\]|\\.)*"(\s*:)?|[{}]/g;
  for (const [match, colon] of text.matchAll(token)) {
    if (match === '{') names.push(new Set());
    else if (match === '}') names.pop();
    else if (colon) {
      const name = JSON.parse(match.slice(0, match.length - colon.length));
      duplicates ||= names.at(-1)?.has(name);
      names.at(-1)?.add(name);
    }
  }
  return duplicates;
}

export class Jwt {
  constructor(text = '') {
    this.text = text;
    this.parts = text.split('.');
    this.header = json(this.parts[0]) ?? {};
    this.claims = json(this.parts[1]) ?? {};
  }

  /** Whether it has three parts, each in canonical base64url: RFC 7515 section 2, RFC 4648 section 3.5. */
  get isStrict() {
    const once = (part) => Buffer.from(part, 'base64url').toString('base64url') === part;
    return this.parts.length === 3 && this.parts.every((it) => BASE64URL.test(it) && once(it));
  }

  get hasDuplicates() {
    return this.parts.slice(0, 2).some((it) => hasDuplicates(Buffer.from(it, 'base64url').toString()));
  }
}

export class ObservedRequest {
  constructor(line) {
    Object.assign(this, line);
    const header = (name) => this.headers.find(([it]) => it === name)?.[1] ?? '';
    this.proof = new Jwt(header('dpop'));
    this.token = new Jwt(header('authorization').replace(/^\S+ +/, ''));
    this.jwk = this.proof.header.jwk ?? {};
  }
}
