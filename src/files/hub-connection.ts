/**
 * @file Requests to the hub: the access token goes to the hub's own address and nowhere else, a silent server is
 * given up after a while, and every refusal becomes an error that says what to do. Knows nothing of the cache.
 */
import { DeltafitError } from "../errors.ts";
import type { HubSettings, HubToken } from "./hub-settings.ts";
import { quote } from "./quote.ts";

const maximumRedirects = 10;

/** What stops a request: the user, or a server that says nothing for `timeoutMs`. */
export interface Watch {
  readonly signal: AbortSignal;
  /** The server has said something: the time starts again. */
  touch(): void;
  end(): void;
}

export interface HubConnection {
  readonly endpoint: string;
  readonly token: HubToken | undefined;
  readonly timeoutMs: number;
  /** The user's wish to stop. */
  readonly signal: AbortSignal | undefined;
}

/** What is asked for, for error messages. */
export interface HubTarget {
  readonly kind: "model" | "adapter";
  readonly id: string;
  readonly revision: string;
}

export function connectToHub(
  settings: HubSettings,
  token: HubToken | undefined,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): HubConnection {
  return { endpoint: settings.endpoint, token, timeoutMs, signal };
}

function interruptedError(): DeltafitError {
  const message = "The download from the hub was interrupted.";
  return new DeltafitError(
    "interrupted",
    message,
    "Files that were complete are kept: start again to go on.",
  );
}

export function watchRequest(connection: HubConnection): Watch {
  const { signal: stop, timeoutMs } = connection;
  const controller = new AbortController();
  const onStop = (): void => controller.abort(interruptedError());
  const onSilence = (): void => controller.abort(new Error(`nothing came for ${timeoutMs / 1000} s`));
  let timer = setTimeout(onSilence, timeoutMs);
  if (stop?.aborted === true) onStop();
  stop?.addEventListener("abort", onStop, { once: true });
  return {
    signal: controller.signal,
    touch: () => {
      clearTimeout(timer);
      timer = setTimeout(onSilence, timeoutMs);
    },
    end: () => {
      clearTimeout(timer);
      stop?.removeEventListener("abort", onStop);
    },
  };
}

/** One request; redirects are followed here and not by `fetch`, so that each hop's address decides about the token. */
export async function requestFromHub(
  connection: HubConnection,
  address: URL,
  headers: Readonly<Record<string, string>>,
  watch: Watch,
): Promise<Response> {
  let url = address;
  for (let hop = 0; hop <= maximumRedirects; hop++) {
    const response = await fetch(url, {
      headers: { ...headers, ...authorization(connection, url) },
      redirect: "manual",
      signal: watch.signal,
    });
    watch.touch();
    const location = response.headers.get("location");
    if (response.status < 300 || response.status >= 400 || location === null) return response;
    await response.body?.cancel();
    url = redirectTarget(url, location);
  }
  throw new Error(`more than ${maximumRedirects} redirects`);
}

function authorization(connection: HubConnection, url: URL): Record<string, string> {
  const isHub = url.origin === new URL(connection.endpoint).origin;
  return isHub && connection.token !== undefined ? { authorization: `Bearer ${connection.token.value}` } : {};
}

function redirectTarget(from: URL, location: string): URL {
  const to = URL.canParse(location, from.href) ? new URL(location, from) : undefined;
  const isAllowed = to?.protocol === "https:" || (to?.protocol === "http:" && from.protocol === "http:");
  if (to !== undefined && isAllowed && to.username === "" && to.password === "") return to;
  throw new Error("a redirect to an address that is not allowed");
}

/** The system's code, or the text, of what made a request fail. */
function reasonOf(error: unknown): string {
  let current = error;
  // `fetch` wraps the system's error once or twice.
  for (let depth = 0; depth < 4 && current instanceof Error; depth++) {
    if ("code" in current && typeof current.code === "string") return current.code;
    if (current.cause === undefined) return current.message;
    current = current.cause;
  }
  return "unknown reason";
}

/** A request that failed without an answer. */
export function unreachableError(connection: HubConnection, error: unknown): DeltafitError {
  const message = `The hub at ${connection.endpoint} cannot be reached: ${reasonOf(error)}.`;
  const hint = "Check the network and HF_ENDPOINT, or name a local folder.";
  return new DeltafitError("hub-unavailable", message, hint, error);
}

/** An answer that is not the hub's, such as the login page of a network. */
export function strangeAnswerError(connection: HubConnection, problem: string): DeltafitError {
  const message = `The answer of ${connection.endpoint} is not a hub's: ${problem}.`;
  const hint = "Check HF_ENDPOINT, and that the network needs no login.";
  return new DeltafitError("hub-unavailable", message, hint);
}

/** Whether the same request may succeed a little later. */
export function isTransient(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

/**
 * A refusal as an error. The hub tells the kind of refusal in `X-Error-Code`; without it 401 and 404 both mean "not
 * there for you", since the hub does not say of a private repository that it exists.
 */
export function refusalError(
  connection: HubConnection,
  target: HubTarget,
  response: Response,
): DeltafitError {
  const { status, headers } = response;
  const [problem, hint] = explainRefusal(connection, target, status, headers);
  return new DeltafitError("hub-unavailable", `${problem} (${status}).`, hint);
}

function explainRefusal(
  connection: HubConnection,
  target: HubTarget,
  status: number,
  headers: Headers,
): readonly [problem: string, hint: string] {
  const { endpoint, token } = connection;
  const code = headers.get("x-error-code");
  const name = `the hub ${target.kind} ${quote(target.id)}`;
  const page = `${endpoint}/${target.id}`;
  if (code === "GatedRepo") {
    const means = token === undefined ? "set HF_TOKEN" : `use a token of that account (${token.source})`;
    return [
      `Access to ${name} is gated: its owner lets in those who accept its terms`,
      `Accept the terms at ${page}, then ${means}.`,
    ];
  }
  if (code === "RevisionNotFound") {
    const problem = `The hub ${target.kind} ${quote(target.id)} has no revision ${quote(target.revision)}`;
    return [problem, `Choose a branch, a tag or a commit of ${page}.`];
  }
  if (status === 401 && token !== undefined && code !== "RepoNotFound") {
    const problem = `The hub at ${endpoint} refuses the access token from ${token.source}`;
    return [problem, "Set HF_TOKEN to a valid token, or unset it for public models."];
  }
  if (status === 403) {
    const means =
      token === undefined ? "Set HF_TOKEN." : `Give the token from ${token.source} the right to read it.`;
    return [`The hub at ${endpoint} forbids access to ${name}`, means];
  }
  if (status === 401 || status === 404) {
    const means = token === undefined ? "set HF_TOKEN" : `the token from ${token.source} may not see it`;
    const problem = `The hub at ${endpoint} has no ${target.kind} ${quote(target.id)}, or it is private`;
    return [problem, `Check the name: it is no folder here either. If it is private: ${means}.`];
  }
  if (status === 429) {
    const problem = `The hub at ${endpoint} takes no more requests for now`;
    return [problem, `Wait a few minutes${token === undefined ? ", or set HF_TOKEN" : ""}.`];
  }
  return [`The hub at ${endpoint} failed to answer for ${name}`, "Try again later."];
}
