/**
 * @file Broken safetensors files from a seed, and the check that the parser either refuses one with a `DeltafitError`
 * or returns a header that accounts for every byte. Used by a short test and by a long run from the command line.
 */
import { DeltafitError } from "../../src/errors.ts";
import { parseHeader, parseHeaderLength } from "../../src/files/safetensors-header.ts";
import type { SafetensorsHeader } from "../../src/files/safetensors-header.ts";
import { TorchGenerator } from "../../src/tensor/random.ts";
import { bytesPerElement } from "../../src/tensor/tensor.ts";

/** Fragments that have broken parsers of tensor files. */
const fragments = [
  '"__proto__"',
  '"constructor"',
  '"__metadata__"',
  '"dtype"',
  '"shape"',
  '"data_offsets"',
  '"F32"',
  '"BOOL"',
  '"F8_E4M3"',
  "[]",
  "{}",
  "[[[[[[",
  "}}",
  '"',
  "\\u0000",
  "\\ud800",
  ",",
  ":",
  "-1",
  "-0",
  "1e3",
  "1.5",
  "1e400",
  "NaN",
  "null",
  "true",
  "9007199254740992",
  "9007199254740993",
  "18446744073709551615",
  "4294967296",
  "2147483648",
  " ",
  "\uFEFF",
  "é",
];

const dtypeNames = ["F64", "F32", "F16", "BF16", "I64", "I32", "U32", "I16", "U8", "I8", "BOOL"];

export interface FuzzCounts {
  accepted: number;
  refused: number;
}

function below(random: TorchGenerator, count: number): number {
  return random.nextUint32() % count;
}

function pick<Item>(random: TorchGenerator, items: readonly Item[]): Item {
  return items[below(random, items.length)] as Item;
}

/** The text of a valid header and the number of data bytes that belong to it. */
function validHeader(random: TorchGenerator): { text: string; dataBytes: number } {
  const sizes: Readonly<Record<string, number>> = {
    F64: 8,
    I64: 8,
    F32: 4,
    I32: 4,
    U32: 4,
    F16: 2,
    BF16: 2,
    I16: 2,
  };
  const fields = below(random, 2) === 0 ? [] : ['"__metadata__":{"format":"pt"}'];
  let begin = 0;
  for (let index = below(random, 5); index > 0; index--) {
    const dtype = pick(random, dtypeNames);
    const shape = Array.from({ length: below(random, 4) }, () => below(random, 4));
    const end = begin + shape.reduce((product, extent) => product * extent, sizes[dtype] ?? 1);
    fields.push(`"layer.${index}.weight":${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`);
    begin = end;
  }
  return { text: `{${fields.join(",")}}`, dataBytes: begin };
}

function mutateText(random: TorchGenerator, text: string): string {
  const at = below(random, text.length + 1);
  const length = below(random, 8);
  switch (below(random, 6)) {
    case 0:
      return text.slice(0, at) + text.slice(at + length);
    case 1:
      return text.slice(0, at) + pick(random, fragments) + text.slice(at);
    case 2:
      return text.slice(0, at) + pick(random, fragments) + text.slice(at + length);
    case 3: {
      // A piece of the header a second time: duplicate names, overlapping ranges.
      const piece = text.slice(at, at + below(random, 90));
      return text.slice(0, at) + piece + text.slice(at);
    }
    case 4: {
      const numbers = [...text.matchAll(/\d+/g)];
      if (numbers.length === 0) return text;
      const match = pick(random, numbers);
      const value = pick(random, [
        "0",
        "1",
        "2",
        "7",
        "8",
        "16",
        "1e1",
        "-1",
        "9007199254740992",
        "4611686018427387904",
      ]);
      return text.slice(0, match.index) + value + text.slice(match.index + match[0].length);
    }
    default:
      return text.slice(0, at) + String.fromCharCode(below(random, 0x180)) + text.slice(at + 1);
  }
}

/** A file of a valid header after up to three mutations, its stated length and its data sometimes wrong too. */
function brokenFile(random: TorchGenerator): Uint8Array {
  const { text: valid, dataBytes } = validHeader(random);
  let text = valid;
  for (let count = below(random, 4); count > 0; count--) text = mutateText(random, text);
  const header = Buffer.from(text, "utf8");
  const wrongBytes = below(random, 8) === 0 ? below(random, 5) - 2 : 0;
  const file = Buffer.alloc(8 + header.length + Math.max(0, dataBytes + wrongBytes));
  header.copy(file, 8);
  const lengths = [header.length, header.length + 1, header.length - 1, 0, 2 ** 31, 2 ** 32 + header.length];
  const stated = below(random, 12) === 0 ? pick(random, lengths) : header.length;
  file.writeBigUInt64LE(BigInt(Math.max(0, stated)), 0);
  if (below(random, 16) === 0) file[below(random, file.length)] = below(random, 256);
  return below(random, 16) === 0 ? file.subarray(0, below(random, file.length)) : file;
}

function parse(file: Uint8Array): SafetensorsHeader {
  const length = parseHeaderLength(file.subarray(0, 8), file.length, "the file");
  return parseHeader(file.subarray(8, 8 + length), file.length, "the file");
}

function demand(condition: boolean, what: string): void {
  if (!condition) throw new Error(`An accepted header is inconsistent: ${what}.`);
}

/** Every byte after the header belongs to exactly one tensor, each of the size its shape says. */
function checkAccounts(header: SafetensorsHeader, file: Uint8Array): void {
  const headerLength = Number(Buffer.from(file).readBigUInt64LE(0));
  const owners = new Uint8Array(file.length).fill(1, 0, 8 + headerLength);
  for (const [key, { name, dtype, shape, offset, byteLength }] of header.tensors) {
    demand(key === name, "a name");
    const count = shape.reduce((product, extent) => product * BigInt(extent), 1n);
    demand(count * BigInt(bytesPerElement[dtype]) === BigInt(byteLength), "a size");
    demand(offset >= 8 + headerLength && offset + byteLength <= file.length, "a range");
    for (let index = offset; index < offset + byteLength; index++)
      owners[index] = (owners[index] as number) + 1;
  }
  demand(
    owners.every((count) => count === 1),
    "a byte has no owner, or two",
  );
  demand(Object.getPrototypeOf(header.metadata) === Object.prototype, "the metadata's prototype");
  const text = Buffer.from(file.subarray(8, 8 + headerLength)).toString("utf8");
  const keys = Object.keys(JSON.parse(text) as object).filter((key) => key !== "__metadata__");
  demand(keys.length === header.tensors.size && keys.every((key) => header.tensors.has(key)), "the names");
}

/** Parses `iterations` broken files; throws what is neither a refusal nor a consistent header. */
export function fuzzSafetensors(seed: number, iterations: number): FuzzCounts {
  const random = new TorchGenerator(seed);
  const counts: FuzzCounts = { accepted: 0, refused: 0 };
  for (let iteration = 0; iteration < iterations; iteration++) {
    const file = brokenFile(random);
    try {
      checkAccounts(parse(file), file);
      counts.accepted++;
    } catch (error) {
      if (!DeltafitError.isInstance(error) || error.code !== "file-invalid") {
        const content = Buffer.from(file).toString("base64");
        throw new Error(`Iteration ${iteration} of seed ${seed}, file (base64) ${content}`, { cause: error });
      }
      counts.refused++;
    }
  }
  return counts;
}
