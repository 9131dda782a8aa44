/**
 * @file The highest rank that a product of two matrices beside a frozen one can have: no more than the frozen one's own
 * rows or columns. What is above it adds parameters and nothing that can be learnt, so no new adapter starts with it;
 * files of other tools that have it are computed as they are. Knows no method.
 */
import { DeltafitError } from "../errors.ts";

/** A matrix [out, in], and the rank of what is trained beside it. */
export interface RankedSite {
  readonly path: string;
  readonly in: number;
  readonly out: number;
  readonly rank: number;
}

/**
 * @param method What messages call it.
 * @param rankName What messages call the rank.
 * @throws DeltafitError `config-invalid`, naming the first site whose rank is too high.
 */
export function checkHighestRank(method: string, sites: readonly RankedSite[], rankName = "rank"): void {
  const highest = (site: RankedSite) => Math.min(site.in, site.out);
  const first = sites.find((site) => site.rank > highest(site));
  if (first === undefined) return;
  const most = Math.min(...sites.map(highest));
  throw new DeltafitError(
    "config-invalid",
    `${method}: the ${rankName} of "${first.path}" is ${first.rank}; its matrix [${first.out}, ${first.in}] can have no more than ${highest(first)}.`,
    `The highest ${rankName} that all targets can have is ${most}.`,
  );
}
