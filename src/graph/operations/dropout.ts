/**
 * @file Dropout whose mask is a pure function of a seed, the site and the element's place, so that a
 * session holds no random state and the backward pass makes the same mask again.
 *
 * An element at (row, column) of x seen as a matrix is dropped when (h(row) xor h'(column)) * (2 h(row) + 1),
 * as a signed 32-bit number, lies in the lowest `ratio` of its range. h and h' mix the seed and the site into
 * 32-bit hashes once per row and column, so an element costs an xor, a product and a comparison. A factor of its
 * own for each row keeps the masks of two rows from agreeing in a pattern.
 */
import { multiplyDimensions } from "../dimension.ts";
import type { LoweringTarget, Operation } from "../operation.ts";
import { typed } from "../operation.ts";
import { arrayOf, inputOf, outputGradient, required } from "./inputs.ts";

/** Odd multipliers of good avalanche: 2^32 / golden ratio and two of MurmurHash3's constants, as signed 32-bit numbers. */
const golden = 0x9e3779b1 | 0;
const firstMix = 0x85ebca6b | 0;
const secondMix = 0xc2b2ae35 | 0;
/** Keeps the hashes of columns apart from those of rows. */
const columnSalt = 0x27d4eb2f;

/** MurmurHash3's finaliser. */
function mix(value: number): number {
  let hash = value | 0;
  hash = Math.imul(hash ^ (hash >>> 16), firstMix);
  hash = Math.imul(hash ^ (hash >>> 13), secondMix);
  return hash ^ (hash >>> 16);
}

const siteSalt = (site: number) => Math.imul(site + 1, golden);

/** The signed number below which an element is dropped. */
function thresholdOf(ratio: number): number {
  return Math.min(2 ** 31 - 1, Math.round(ratio * 2 ** 32 - 2 ** 31));
}

/** hash of (index, seed) for a vector of indices, in ONNX. */
function emitHashes(target: LoweringTarget, indices: string, seed: string, salt: number): string {
  const step = (operation: string, a: string, b: string) => {
    const result = target.intermediate(operation);
    target.emit(operation, [a, b], [result]);
    return result;
  };
  const cast = (x: string, to: number) => {
    const result = target.intermediate("cast");
    target.emit("Cast", [x], [result], { to });
    return result;
  };
  const literal = (value: number) => target.constant("int32", [], [value]);
  const xorShift = (x: string, bits: number) => {
    const shifted = target.intermediate("shifted");
    target.emit("BitShift", [cast(x, 12), target.constant("uint32", [], [bits])], [shifted], {
      direction: "RIGHT",
    });
    return step("BitwiseXor", x, cast(shifted, 6));
  };
  const salted = step("BitwiseXor", seed, literal(salt));
  let hash = step("Add", step("Mul", indices, literal(golden)), salted);
  hash = step("Mul", xorShift(hash, 16), literal(firstMix));
  hash = step("Mul", xorShift(hash, 13), literal(secondMix));
  return xorShift(hash, 16);
}

/** Inputs: x [..., columns], an int32 seed [1]. */
export const SeededDropout: Operation<"SeededDropout"> = {
  infer: (inputs) => [required(inputs, 0, "SeededDropout")].map((x) => typed(x, x.shape)),
  gradient: (rule) => [
    rule.builder.seededDropout(outputGradient(rule), inputOf(rule.node, 1), rule.node.attributes),
    undefined,
  ],
  lower(node, target) {
    const { ratio, site } = node.attributes;
    const x = inputOf(node, 0);
    const columns = x.shape.at(-1) ?? 1;
    const rows = multiplyDimensions(...x.shape.slice(0, -1));
    const range = (end: typeof rows, shape: readonly number[]) => {
      const [long, int, shaped] = [
        target.intermediate("range"),
        target.intermediate("range"),
        target.intermediate("range"),
      ];
      const [zero, one] = [target.constant("int64", [], [0]), target.constant("int64", [], [1])];
      target.emit("Range", [zero, target.extent(end), one], [long]);
      target.emit("Cast", [long], [int], { to: 6 });
      target.emit("Reshape", [int, target.constant("int64", [shape.length], shape)], [shaped]);
      return shaped;
    };
    const matrix = (dtype: "int32" | "bool") => ({ dtype, shape: [rows, columns] });
    const mixed = target.intermediate("mixed", matrix("int32"));
    const product = target.intermediate("product", matrix("int32"));
    const kept = target.intermediate("kept", matrix("bool"));
    const keep = target.intermediate("keep", { dtype: "bool", shape: x.shape });
    const scaled = target.intermediate("scaled", x);
    const [doubled, factors] = [target.intermediate("doubled"), target.intermediate("factors")];
    const rowHashes = emitHashes(target, range(rows, [-1, 1]), target.input(1), siteSalt(site));
    const columnHashes = emitHashes(
      target,
      range(columns, [1, -1]),
      target.input(1),
      siteSalt(site) ^ columnSalt,
    );
    const integer = (value: number) => target.constant("int32", [], [value]);
    target.emit("Mul", [rowHashes, integer(2)], [doubled]);
    target.emit("Add", [doubled, integer(1)], [factors]);
    target.emit("BitwiseXor", [rowHashes, columnHashes], [mixed]);
    target.emit("Mul", [mixed, factors], [product]);
    target.emit("Less", [integer(thresholdOf(ratio)), product], [kept]);
    target.emit("Reshape", [kept, target.extents(x.shape)], [keep]);
    target.emit("Mul", [target.input(0), target.constant("float32", [], [1 / (1 - ratio)])], [scaled]);
    target.emit("Where", [keep, scaled, target.constant("float32", [], [0])], [target.output(0)]);
  },
  interpret(node, inputs) {
    const [x, seed] = [arrayOf(inputs, 0), arrayOf(inputs, 1).data[0] ?? 0];
    const { ratio, site } = node.attributes;
    const columns = x.shape.at(-1) ?? 1;
    const threshold = thresholdOf(ratio);
    const hash = (index: number, salt: number) => mix((Math.imul(index, golden) + (seed ^ salt)) | 0);
    const data = x.data.map((value, element) => {
      const row = hash(Math.floor(element / columns), siteSalt(site));
      const column = hash(element % columns, siteSalt(site) ^ columnSalt);
      return threshold < Math.imul(row ^ column, 2 * row + 1) ? value / (1 - ratio) : 0;
    });
    return [{ shape: x.shape, data }];
  },
};
