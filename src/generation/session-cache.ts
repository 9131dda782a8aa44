/** @file Sessions kept for reuse: one for each graph over each base model, until they are disposed of together. */
import type { Base } from "../base/base.ts";
import { hash } from "../graph/print.ts";
import type { Graph } from "../graph/graph.ts";
import type { Device, Session, SessionOptions } from "../runtime/session.ts";

/** Owns the sessions that generators share. */
export class SessionCache {
  readonly #device: Device;
  readonly #options: SessionOptions;
  readonly #sessions = new Map<Base, Map<string, Promise<Session>>>();

  constructor(device: Device, options: SessionOptions = {}) {
    this.#device = device;
    this.#options = options;
  }

  /** How many sessions there are. */
  get size(): number {
    return [...this.#sessions.values()].reduce((sum, sessions) => sum + sessions.size, 0);
  }

  /**
   * The session of a graph over a base: a known one where an equal graph was opened before.
   * @param fewRows See `SessionOptions`.
   */
  open(base: Base, graph: Graph, fewRows = false): Promise<Session> {
    const sessions = this.#sessions.get(base) ?? new Map<string, Promise<Session>>();
    this.#sessions.set(base, sessions);
    const key = `${hash(graph)}${fewRows ? " for few rows" : ""}`;
    const known = sessions.get(key);
    if (known) return known;
    const opened = this.#device.createSession(graph, (weight) => base.locate(weight), {
      ...this.#options,
      fewRows,
    });
    sessions.set(key, opened);
    // What failed may succeed later: a full disk, a missing file.
    opened.catch(() => sessions.delete(key));
    return opened;
  }

  /** Frees every session. Generators over them cannot go on. */
  async dispose(): Promise<void> {
    const sessions = [...this.#sessions.values()].flatMap((known) => [...known.values()]);
    this.#sessions.clear();
    for (const session of sessions) await (await session).dispose();
  }
}
