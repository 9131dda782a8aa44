/** @file Where deltafit keeps what it can make again: prepared weights and short-lived session folders. */
import { homedir } from "node:os";
import { join } from "node:path";

/** `$DELTAFIT_CACHE`, else `$XDG_CACHE_HOME/deltafit`, else `~/.cache/deltafit`. */
export function cacheFolder(): string {
  const { DELTAFIT_CACHE: own, XDG_CACHE_HOME: shared } = process.env;
  if (own) return own;
  return join(shared ? shared : join(homedir(), ".cache"), "deltafit");
}
