// A signed-in operator: tokens from iam, and requests to the gateway.

import { DeviceKey } from "./key.js";

const BASE_PATH = "/api/bff/backoffice/v1";
const CLIENT = "desktop";
/** Tokens are refreshed this long before they expire. */
const EARLY_MS = 60_000;

/** An error message to show, and the address to open if that helps. */
export class Failure extends Error {
  constructor(message, { code, address } = {}) {
    super(message);
    this.code = code;
    this.address = address;
  }
}

export class Session {
  #key;
  #config;
  #tokens;
  #endsAt = 0;
  #renewing;

  constructor(config, operator, key) {
    this.#config = config;
    this.operator = operator;
    this.#key = key;
  }

  /** Signs in with the password grant. */
  static async open(config, operator) {
    const session = new Session(config, operator, await DeviceKey.of(operator.deviceId));
    const { username, password, deviceId } = operator;
    await session.#requestTokens({ grant_type: "password", username, password, device_id: deviceId });
    return session;
  }

  /** When the access token ends, milliseconds since 1970. */
  get endsAt() {
    return this.#endsAt;
  }

  async #requestTokens(parameters) {
    const { issuer } = this.#config;
    const metadata = await reach(`${issuer}/.well-known/oauth-authorization-server`);
    const { token_endpoint: url } = await metadata.json();
    const body = new URLSearchParams({ client_id: CLIENT, ...parameters });
    const send = async () => {
      const headers = { DPoP: await this.#key.proof("POST", url) };
      return reach(url, { method: "POST", headers, body });
    };
    let answer = await send();
    if (this.#key.noteNonce(url, answer) && answer.status === 400) answer = await send();
    const tokens = await answer.json();
    if (!answer.ok) throw new Failure(tokens.error_description ?? tokens.error, { code: tokens.error });
    this.#tokens = tokens;
    this.#endsAt = Date.now() + tokens.expires_in * 1000;
  }

  /** Renews the tokens. Calls at the same time share one request: a refresh token works once. */
  renew() {
    this.#renewing ??= this.#requestTokens({
      grant_type: "refresh_token",
      refresh_token: this.#tokens.refresh_token,
    }).finally(() => {
      this.#renewing = undefined;
    });
    return this.#renewing;
  }

  /** GET below the gateway's base path. Answers with a status of 200 only. */
  async get(path, { accept, headers, signal } = {}) {
    const url = `${this.#config.gateway}${BASE_PATH}${path}`;
    if (Date.now() > this.#endsAt - EARLY_MS) await this.renew();
    const send = async () => {
      const token = this.#tokens.access_token;
      const own = {
        Authorization: `DPoP ${token}`,
        DPoP: await this.#key.proof("GET", url, token),
        "X-Device-Id": this.operator.deviceId,
        Accept: accept ?? "application/json",
      };
      return reach(url, { headers: { ...own, ...headers }, signal, cache: "no-store" });
    };
    let answer = await send();
    if (this.#key.noteNonce(url, answer) && answer.status === 401) answer = await send();
    if (!answer.ok) throw await refusal(answer);
    return answer;
  }
}

async function refusal(answer) {
  const problem = await answer.json().catch(() => ({}));
  const said = problem.detail ?? `The gateway answered ${answer.status}.`;
  return new Failure(`${said} (${problem.code ?? answer.status})`, { code: problem.code });
}

/** fetch with a readable message for network errors, whose cause the browser hides. */
async function reach(url, options) {
  try {
    return await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const { origin } = new URL(url);
    const certificate = origin.startsWith("https:")
      ? " If it runs, open it once in a tab and trust its certificate, then try again."
      : " Start the stack, then try again.";
    throw new Failure(`${origin} cannot be reached from this page.${certificate}`, { address: origin });
  }
}
