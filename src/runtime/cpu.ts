/** @file The CPU through onnxruntime-node. The facts of that runtime that cost time to find are kept here. */
import { randomBytes } from "node:crypto";
import { copyFile, link, mkdir, realpath, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as ort from "onnxruntime-node";
import { DeltafitError, internalError } from "../errors.ts";
import { bindDimensions } from "../graph/dimension.ts";
import { nodesOf } from "../graph/graph.ts";
import type { Graph } from "../graph/graph.ts";
import { overKeptWeights } from "../graph/stored-weights.ts";
import type { PartName, WeightForm } from "../graph/weight-form.ts";
import { writeOnnx } from "../onnx/write.ts";
import { cacheFolder } from "../files/cache-folder.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { elementCount } from "../tensor/tensor.ts";
import { dropOptimisedGraph, findOptimisedGraph, keepOptimisedGraph } from "./optimised-graphs.ts";
import type { OptimisedGraph } from "./optimised-graphs.ts";
import type { ArrayLocation, Device, Session, SessionOptions, WeightLocation } from "./session.ts";

export const cpu: Device = { name: "cpu", createSession };

async function createSession(
  graph: Graph,
  locate: (weight: string) => WeightLocation,
  options: SessionOptions = {},
): Promise<Session> {
  const folder = join(cacheFolder(), "sessions", `${process.pid}-${randomBytes(6).toString("hex")}`);
  await mkdir(folder, { recursive: true });
  try {
    const kept = overKeptWeights(graph, (weight) => {
      const { form, products } = locate(weight);
      const blocks = options.fewRows === true ? products?.blocks?.()?.form : undefined;
      const blockSize = blocks?.kind === "int4-blocks" ? blocks.blockSize : undefined;
      const productAxes = ([0, 1] as const).filter((axis) => productsAlong(products, axis) !== undefined);
      return { form, productAxes, blockSize, isOutput: products?.isOutput };
    });
    const written = await linkWeights(kept, locate, folder);
    const session = await openModel(kept, written, folder, sessionOptions(options, kept));
    return wrap(graph, session, options.onRun);
  } catch (error) {
    if (DeltafitError.isInstance(error)) throw error;
    throw new DeltafitError(
      "runtime-failed",
      `ONNX Runtime refused a graph: ${reasonOf(error)}`,
      undefined,
      error,
    );
  } finally {
    // The runtime has mapped the weights and read the graph: the folder is no longer needed.
    await rm(folder, { recursive: true, force: true });
  }
}

/** Opens a graph as it was optimised before, or has it optimised and keeps the result. */
async function openModel(
  graph: Graph,
  { model, weightFiles }: ModelFolder,
  folder: string,
  options: ort.InferenceSession.SessionOptions,
): Promise<ort.InferenceSession> {
  const kept = await findOptimisedGraph({
    nodeCount: graph.nodes.length,
    model,
    weightFiles,
    runtime: [ort.env.versions, { ...options, intraOpNumThreads: 0 }],
  });
  const path = join(folder, "graph.onnx");
  if (kept?.exists)
    try {
      return await openOptimised(kept, path, options);
    } catch {
      // It can be made again, and whatever else is wrong will show then.
      await dropOptimisedGraph(kept);
    }
  await writeFile(path, model);
  if (!kept) return ort.InferenceSession.create(path, options);
  const optimised = join(folder, "optimised.onnx");
  const session = await ort.InferenceSession.create(path, { ...options, optimizedModelFilePath: optimised });
  if (!(await keepOptimisedGraph(kept, optimised))) return session;
  // The runtime puts the nodes of what it wrote into another order than those of the session that wrote it, which may
  // hold more at once (0.5 GB of 3.3 were seen). Opened anew, the first run is as every later one.
  await session.release();
  return openOptimised(kept, path, options);
}

async function openOptimised(
  kept: OptimisedGraph,
  path: string,
  options: ort.InferenceSession.SessionOptions,
): Promise<ort.InferenceSession> {
  await copyFile(kept.path, path);
  return ort.InferenceSession.create(path, { ...options, graphOptimizationLevel: "disabled" });
}

interface ModelFolder {
  /** The bytes of the graph. */
  readonly model: Uint8Array;
  /** Files with its weights, links resolved. */
  readonly weightFiles: readonly string[];
}

/** ONNX Runtime reads external data only from files inside the model's own folder, with links resolved: hard links serve. */
async function linkWeights(
  graph: Graph,
  locate: (weight: string) => WeightLocation,
  folder: string,
): Promise<ModelFolder> {
  const files = new Map<string, string>();
  const arrayOf = (name: string, form?: WeightForm, part?: PartName) => {
    const { path, offset, byteLength } = arrayIn(locate(name), form, part ?? "values");
    const file = files.get(path) ?? `weights-${files.size}.bin`;
    files.set(path, file);
    return { file, offset, byteLength };
  };
  const overridableWeights = hasIntegerProducts(graph);
  const model = writeOnnx(graph, arrayOf, { overridableWeights });
  const weightFiles: string[] = [];
  for (const [path, file] of files) {
    const resolved = await existing(path);
    await linkOrCopy(resolved, join(folder, file));
    weightFiles.push(resolved);
  }
  return { model, weightFiles };
}

function hasIntegerProducts(graph: Graph): boolean {
  return nodesOf(graph, "QuantizedGemm").length + nodesOf(graph, "BlockGemm").length > 0;
}

/** One array of a weight: of the form that the storage keeps it in, or of one that products read. */
function arrayIn(weight: WeightLocation, form: WeightForm | undefined, part: PartName): ArrayLocation {
  const kept = keptFor(weight, form) ?? weight;
  const array = part === "values" ? kept : kept.parts?.[part];
  if (!array) throw internalError(`a weight is kept without its ${part}.`);
  return array;
}

/** What products read in place of a weight. */
function keptFor({ products }: WeightLocation, form: WeightForm | undefined): WeightLocation | undefined {
  if (form?.kind === "int4-blocks") return products?.blocks?.();
  return form?.kind === "int8" ? productsAlong(products, form.axis) : undefined;
}

const productsAlong = (products: WeightLocation["products"], axis: number): WeightLocation | undefined =>
  axis === 0 ? products?.byRow : products?.byColumn;

async function existing(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    throw new DeltafitError(
      "file-missing",
      `The weights file ${path} is not there: ${reasonOf(error)}`,
      undefined,
      error,
    );
  }
}

/** A hard link costs nothing; across file systems, or where links are not allowed, the file is copied. */
async function linkOrCopy(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch {
    await copyFile(from, to);
  }
}

/**
 * Matrices that are kept in a form are decoded for each product anew, large ones in parts. Three passes of the runtime
 * would undo that: folding of constants decodes them once and for all, merging of equal nodes keeps what the forward pass
 * decoded for the backward pass, and slices that meet the parts one by one become one split.
 */
const undoingDecoding = "ConstantFolding;CommonSubexpressionElimination;GatherSliceToSplitFusion";

function sessionOptions(
  { threads = 0, profilePrefix }: SessionOptions,
  graph: Graph,
): ort.InferenceSession.SessionOptions {
  const hasForms = nodesOf(graph, "Weight").some(({ attributes }) => attributes.form !== undefined);
  // A frozen float32 weight is read in both directions; prepacking would keep one more copy for each. Matrices in eight
  // bits have arrays of their own for each direction, and are multiplied faster when packed.
  const hasProducts = hasIntegerProducts(graph);
  return {
    executionProviders: ["cpu"],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: "sequential",
    graphOptimizationLevel: "all",
    // Patterns of symbolic shapes reserve the largest block seen for each shape: 40 % more peak memory for no speed.
    enableMemPattern: false,
    // Whatever the runtime would log as an error also reaches the caller as one.
    logSeverityLevel: 4,
    extra: {
      session: hasProducts ? {} : { disable_prepacking: "1" },
      ...(hasForms ? { optimization: { disable_specified_optimizers: undoingDecoding } } : {}),
    },
    ...(profilePrefix === undefined ? {} : { enableProfiling: true, profileFilePrefix: profilePrefix }),
  };
}

function wrap(graph: Graph, session: ort.InferenceSession, onRun: SessionOptions["onRun"]): Session {
  const inputs = nodesOf(graph, "Input").map((node) => ({
    name: node.attributes.name,
    value: node.outputs[0],
  }));
  let isDisposed = false;
  return {
    async run(feeds) {
      const dimensions = new Map<string, number>();
      const tensors: Record<string, ort.Tensor> = {};
      for (const { name, value } of inputs) {
        const feed = feeds[name];
        if (!value || !feed) throw internalError(`the graph's input "${name}" was not given.`);
        const problem = bindDimensions(value.shape, feed.shape, dimensions);
        if (problem !== undefined || feed.dtype !== value.dtype)
          throw internalError(
            `the input "${name}" does not fit: ${problem ?? `expected ${value.dtype}, found ${feed.dtype}`}.`,
          );
        tensors[name] = toRuntime(feed);
      }
      try {
        const startMs = performance.now();
        const results = await session.run(tensors);
        onRun?.(performance.now() - startMs);
        return Object.fromEntries(
          Object.entries(results).map(([name, tensor]) => [name, fromRuntime(name, tensor)]),
        );
      } catch (error) {
        if (DeltafitError.isInstance(error)) throw error;
        throw new DeltafitError(
          "runtime-failed",
          `ONNX Runtime failed while running a graph: ${reasonOf(error)}`,
          undefined,
          error,
        );
      }
    },
    async dispose() {
      if (isDisposed) return;
      isDisposed = true;
      await session.release();
    },
  };
}

function toRuntime({ dtype, shape, data }: Tensor): ort.Tensor {
  if (data.length !== elementCount(shape))
    throw internalError(`a tensor of shape [${shape.join()}] has ${data.length} elements.`);
  return new ort.Tensor(dtype, data, shape);
}

function fromRuntime(name: string, { type, dims, data }: ort.Tensor): Tensor {
  if (data instanceof Float32Array) return { dtype: "float32", shape: dims, data };
  if (data instanceof BigInt64Array) return { dtype: "int64", shape: dims, data };
  if (data instanceof Int32Array) return { dtype: "int32", shape: dims, data };
  if (data instanceof Uint8Array && type === "bool") return { dtype: "bool", shape: dims, data };
  throw internalError(`the output "${name}" has the type ${type}, which no graph of deltafit yields.`);
}

function reasonOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).trim();
}
