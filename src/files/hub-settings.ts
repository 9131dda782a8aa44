/**
 * @file Where the hub is, where its cache lies and who asks, from the environment variables that Python's
 * huggingface_hub reads, with their meanings. Opens no connection.
 */
import fs from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { DeltafitError } from "../errors.ts";
import { quote } from "./quote.ts";
import { systemErrorCode } from "./read.ts";

const defaultEndpoint = "https://huggingface.co";
/** Known tokens have 37 characters; a file far beyond that is no token file. */
const maximumTokenFileBytes = 4096;

/** Environment variables by name, as in `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

export interface HubSettings {
  /** `http` or `https`, without a slash at its end. */
  readonly endpoint: string;
  /** The cache's folder, which holds `models--OWNER--NAME` folders. */
  readonly cacheFolder: string;
}

/** An access token and where it comes from. The token itself never appears in a message. */
export interface HubToken {
  readonly value: string;
  readonly source: string;
}

function isTrue(value: string | undefined): boolean {
  return /^(?:1|on|yes|true)$/i.test(value ?? "");
}

/** Whether the hub may not be asked (`HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE`); then the variable's name. */
export function offlineVariable(environment: Environment): string | undefined {
  const name = environment["HF_HUB_OFFLINE"] ? "HF_HUB_OFFLINE" : "TRANSFORMERS_OFFLINE";
  return isTrue(environment[name]) ? name : undefined;
}

/** `~`, `$NAME` and `${NAME}` stand for what they stand for in a shell; an unknown name stays as it is. */
function expandPath(text: string, environment: Environment): string {
  const home = environment["HOME"] || homedir();
  const withHome = text === "~" || /^~[/\\]/.test(text) ? path.join(home, text.slice(1)) : text;
  return withHome.replace(/\$(?:\{(\w+)\}|(\w+))/g, (whole, braced?: string, bare?: string) => {
    return environment[braced ?? bare ?? ""] ?? whole;
  });
}

function homeFolder(environment: Environment): string {
  const shared = environment["XDG_CACHE_HOME"] || path.join("~", ".cache");
  return expandPath(environment["HF_HOME"] || path.join(shared, "huggingface"), environment);
}

/** @throws DeltafitError `config-invalid` if `HF_ENDPOINT` is not the address of a web server. */
export function hubSettings(environment: Environment): HubSettings {
  const cache = environment["HF_HUB_CACHE"] || environment["HUGGINGFACE_HUB_CACHE"];
  const cacheFolder = cache ? expandPath(cache, environment) : path.join(homeFolder(environment), "hub");
  return { endpoint: endpointOf(environment), cacheFolder: path.resolve(cacheFolder) };
}

function endpointOf(environment: Environment): string {
  const endpoint = (environment["HF_ENDPOINT"] || defaultEndpoint).replace(/\/+$/, "");
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  const isWeb = url?.protocol === "https:" || url?.protocol === "http:";
  if (isWeb && url.username === "" && url.password === "" && url.search === "" && url.hash === "") {
    return endpoint;
  }
  // The value may hold a password, so it is not shown.
  const message =
    "HF_ENDPOINT is not valid: expected an address such as https://huggingface.co, without a user name or a query.";
  throw new DeltafitError(
    "config-invalid",
    message,
    "Correct HF_ENDPOINT, or unset it to use the public hub.",
  );
}

/**
 * The user's token: `HF_TOKEN`, else the file that `hf auth login` writes (`HF_TOKEN_PATH`, by default
 * `$HF_HOME/token`); undefined where there is none.
 *
 * @throws DeltafitError `config-invalid` if there is something that cannot be a token; `file-missing` if the file may
 * not be read.
 */
export function findToken(environment: Environment): HubToken | undefined {
  if (isTrue(environment["HF_HUB_DISABLE_IMPLICIT_TOKEN"])) return undefined;
  for (const name of ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]) {
    const token = tokenOf(environment[name] ?? "", name);
    if (token !== undefined) return token;
  }
  const file = expandPath(
    environment["HF_TOKEN_PATH"] || path.join(homeFolder(environment), "token"),
    environment,
  );
  return tokenOf(readTokenFile(file), `the file ${quote(file)}`);
}

function readTokenFile(file: string): string {
  try {
    const status = fs.statSync(file, { throwIfNoEntry: false });
    if (status?.isFile() !== true || status.size > maximumTokenFileBytes) return "";
    return fs.readFileSync(file, "utf8");
  } catch (error) {
    const message = `The hub's token file ${quote(file)} may not be read (${systemErrorCode(error) ?? "unknown"}).`;
    throw new DeltafitError("file-missing", message, "Check its permissions, or set HF_TOKEN.", error);
  }
}

/** A header refuses other characters, and its error text would show the token. */
function tokenOf(text: string, source: string): HubToken | undefined {
  const value = text.trim();
  if (value === "") return undefined;
  if (/^[\x21-\x7e]+$/.test(value)) return { value, source };
  const message = `The hub token in ${source} is not valid: expected letters, digits and signs without spaces.`;
  throw new DeltafitError("config-invalid", message, "Copy the token again, without quotes around it.");
}
