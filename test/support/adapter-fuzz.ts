/**
 * @file Broken adapter files of every format from a seed, and the check that reading one gives an adapter of finite
 * numbers or a `DeltafitError`, in bounded time and memory, and changes no file. Used by a short test and by a long run
 * from the command line.
 */
import fs from "node:fs";
import { join } from "node:path";
import { loadAdapter, saveAdapter } from "../../src/adapters/folder.ts";
import type { Adapter } from "../../src/adapters/adapter.ts";
import type { Base } from "../../src/base/base.ts";
import { adoptForeignAdapter, openForeignAdapter, writeForeignAdapter } from "../../src/conversion/index.ts";
import type { ForeignFormatName } from "../../src/conversion/index.ts";
import { DeltafitError } from "../../src/errors.ts";
import { bottleneckDefaults } from "../../src/methods/bottleneck.ts";
import { loraDefaults } from "../../src/methods/lora.ts";
import { TorchGenerator } from "../../src/tensor/random.ts";
import { randomAdapter } from "./random-adapter.ts";
import { tinyBase } from "./tiny-base.ts";

/** Reading one of these small files takes some milliseconds. */
const longestMs = 5_000;
const mostBytes = 256 * 2 ** 20;

/** A valid adapter, and how it is read. */
interface Subject {
  readonly name: string;
  /** The file, or the folder of files, that is broken. */
  readonly path: string;
  readonly read: () => Promise<Adapter>;
}

export interface AdapterFuzzCounts {
  accepted: number;
  refused: number;
}

/** One valid adapter of each format in a folder of its own. */
async function subjects(folder: string): Promise<Subject[]> {
  const baseIn = (name: string, options: Parameters<typeof tinyBase>[1]) => {
    fs.mkdirSync(join(folder, name));
    return tinyBase(join(folder, name), options);
  };
  const llama = await baseIn("llama", {});
  const gpt2 = await baseIn("gpt2", {
    configuration: { model_type: "gpt2", vocab_size: 12, n_embd: 8, n_layer: 2, n_head: 2, n_positions: 32 },
  });
  const lora = randomAdapter(llama, "LORA", { ...loraDefaults, rank: 2, targets: ["q_proj", "down_proj"] });
  const bottleneck = randomAdapter(llama, "BOTTLENECK", { ...bottleneckDefaults.seq_bn, reduction: 2 });
  const foreign = (format: ForeignFormatName, path: string, base: Base): Subject => ({
    name: format,
    path,
    read: async () =>
      adoptForeignAdapter(await openForeignAdapter(path, format), base, { alpha: 16 }).adapter,
  });
  const pathOf = (name: string): string => join(folder, name);
  await saveAdapter(pathOf("peft"), lora, llama);
  await writeForeignAdapter(pathOf("mlx"), "mlx", lora, llama);
  await writeForeignAdapter(pathOf("adapterhub"), "adapterhub", bottleneck, llama);
  await writeForeignAdapter(pathOf("two.onnx_adapter"), "onnx-adapter", lora, llama);
  fs.copyFileSync(join("test", "fixtures", "torch", "loralib.pt"), pathOf("loralib.pt"));
  return [
    { name: "peft", path: pathOf("peft"), read: () => Promise.resolve(loadAdapter(pathOf("peft"), llama)) },
    foreign("mlx", pathOf("mlx"), llama),
    foreign("adapterhub", pathOf("adapterhub"), llama),
    foreign("onnx-adapter", pathOf("two.onnx_adapter"), llama),
    foreign("loralib", pathOf("loralib.pt"), gpt2),
  ];
}

const below = (random: TorchGenerator, count: number): number => random.nextUint32() % count;

/** Texts and numbers that have broken readers of configurations and of archives. */
const fragments: readonly Uint8Array[] = [
  ...[
    "null",
    "-1",
    "1e400",
    '"__proto__"',
    "[]",
    "{}",
    '"',
    "\\u0000",
    "../",
    "9007199254740993",
    "F32",
    "PK\x03\x04",
  ],
  ...[
    "cposix\nsystem\n",
    "\x80\x04",
    "(lp0\n",
    "ctorch\nFloatStorage\n",
    "S'x'\nR.",
    "\xff\xff\xff\x7f",
    "true",
  ],
].map((text) => Buffer.from(text, "latin1"));

/** Up to four bytes, ranges or numbers of a file changed, or its end cut off. */
function broken(random: TorchGenerator, valid: Uint8Array): Uint8Array {
  let bytes = Buffer.from(valid);
  for (let count = 1 + below(random, 3); count > 0; count--) {
    const at = below(random, bytes.length + 1);
    const length = below(random, 12);
    const fragment = fragments[below(random, fragments.length)] ?? new Uint8Array();
    switch (below(random, 7)) {
      case 0:
        if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << below(random, 8));
        break;
      case 1:
        if (at < bytes.length) bytes[at] = below(random, 256);
        break;
      case 2:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), fragment, bytes.subarray(at)]);
        break;
      case 4:
        bytes = Buffer.concat([bytes.subarray(0, at), fragment, bytes.subarray(at + fragment.length)]);
        break;
      case 5:
        if (at + 4 <= bytes.length)
          bytes.writeUInt32LE([0, 1, 0x7fff_ffff, 0xffff_ffff, bytes.length][below(random, 5)] ?? 0, at);
        break;
      default:
        bytes = bytes.subarray(0, at);
    }
  }
  return bytes;
}

/** The subject's files, by their names inside its folder. */
function filesOf({ path }: Subject): string[] {
  return fs.statSync(path).isDirectory() ? fs.readdirSync(path).map((name) => join(path, name)) : [path];
}

/** What a folder holds: any file that reading adds or changes shows in it. */
const stateOf = (folder: string): string =>
  JSON.stringify(
    fs
      .readdirSync(folder, { recursive: true })
      .filter((name) => !String(name).startsWith("cache"))
      .sort(),
  );

/**
 * Reads `iterations` broken adapters, each format in turn.
 * @param folder An empty one.
 * @throws Error what is neither a refusal nor an adapter of finite numbers, with the file, or takes too much.
 */
export async function fuzzAdapters(
  folder: string,
  seed: number,
  iterations: number,
): Promise<AdapterFuzzCounts> {
  const random = new TorchGenerator(seed);
  const counts: AdapterFuzzCounts = { accepted: 0, refused: 0 };
  const all = await subjects(folder);
  for (const subject of all) checkAdapter(await subject.read());
  const before = stateOf(folder);
  const startBytes = process.memoryUsage.rss();
  for (let iteration = 0; iteration < iterations; iteration++) {
    const subject = all[iteration % all.length] as Subject;
    const files = filesOf(subject);
    const file = files[below(random, files.length)] as string;
    const valid = fs.readFileSync(file);
    const content = broken(random, valid);
    fs.writeFileSync(file, content);
    const startMs = performance.now();
    try {
      checkAdapter(await subject.read());
      counts.accepted++;
    } catch (error) {
      if (!DeltafitError.isInstance(error) || error.code === "internal")
        throw new Error(described(subject, file, { iteration, seed, content }), { cause: error });
      counts.refused++;
    } finally {
      fs.writeFileSync(file, valid);
    }
    if (performance.now() - startMs > longestMs || process.memoryUsage.rss() - startBytes > mostBytes)
      throw new Error(`Too much time or memory: ${described(subject, file, { iteration, seed, content })}`);
  }
  if (stateOf(folder) !== before) throw new Error(`Reading added or removed files: ${stateOf(folder)}`);
  return counts;
}

function checkAdapter({ values, layout }: Adapter): void {
  if (values.length !== layout.size) throw new Error(`${values.length} values, expected ${layout.size}`);
  if (!values.every(Number.isFinite))
    throw new Error("an accepted adapter holds numbers that are not finite");
}

function described(
  { name }: Subject,
  file: string,
  {
    iteration,
    seed,
    content,
  }: { readonly iteration: number; readonly seed: number; readonly content: Uint8Array },
): string {
  return `Iteration ${iteration} of seed ${seed}, ${name}, ${file}: ${Buffer.from(content).toString("base64")}`;
}
