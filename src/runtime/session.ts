/**
 * @file Running graphs: the `Session` interface and who makes one. Callers see graphs, host tensors and
 * places of weights; which runtime and which device stand behind is known only in this room.
 */
import type { Graph } from "../graph/graph.ts";
import type { PartName, WeightForm } from "../graph/weight-form.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** A graph ready to run. Weights are shared with other sessions over the same files. */
export interface Session {
  /** Runs once. Every input of the graph must be given; all outputs come back. Blocks the thread while it runs. */
  run(feeds: Readonly<Record<string, Tensor>>): Promise<Record<string, Tensor>>;
  /** Frees the runtime's memory; the session cannot run afterwards. A second call does nothing. */
  dispose(): Promise<void>;
}

/** Where an array lies on disk: little-endian values in row-major order. */
export interface ArrayLocation {
  readonly path: string;
  readonly offset: number;
  readonly byteLength: number;
}

/** Where the bytes of a weight lie on disk: float32 values, or those of its form. */
export interface WeightLocation extends ArrayLocation {
  /** How the matrix is kept, where it is not as float32 values. */
  readonly form?: WeightForm | undefined;
  /** The other arrays of a form that has more than its numbers. */
  readonly parts?: Readonly<Partial<Record<PartName, ArrayLocation>>> | undefined;
  /**
   * The matrix in eight bits, for products in whole numbers: with a scale for each row, and for each column. One of them
   * may be missing; its products are as if there were none.
   */
  readonly products?:
    | {
        readonly byRow: WeightLocation | undefined;
        readonly byColumn: WeightLocation | undefined;
        /** Whether products by column read the gradient of a softmax alone: its large numbers need care. */
        readonly isOutput?: boolean;
        /** In blocks of four bits with a scale each, for products of few rows; prepared when it is asked for. */
        readonly blocks?: (() => WeightLocation | undefined) | undefined;
      }
    | undefined;
}

export interface SessionOptions {
  /** Threads of one operation; 0 means one for each physical core. */
  readonly threads?: number;
  /**
   * Whether products have few rows, as in a step of one token: they take the time to read the weights, which are then read
   * in four bits where they are kept so and products are computed in eight.
   */
  readonly fewRows?: boolean;
  /** Writes a trace of the runtime's own operations to files beginning with this path. */
  readonly profilePrefix?: string;
  /** Told after each run how long the runtime itself took: what is left of a step is deltafit's own share. */
  readonly onRun?: (milliseconds: number) => void;
}

/** Makes sessions on one device. */
export interface Device {
  readonly name: string;
  createSession(
    graph: Graph,
    locate: (weight: string) => WeightLocation,
    options?: SessionOptions,
  ): Promise<Session>;
}
