import { describe, expect, test } from "vitest";
import { failureOf } from "../../test/support/failure.ts";
import { parseHeader, parseHeaderLength } from "./safetensors-header.ts";
import type { SafetensorsHeader } from "./safetensors-header.ts";

/** Parses a header in front of `dataBytes` bytes. */
function parse(header: string, dataBytes: number): SafetensorsHeader {
  const bytes = Buffer.from(header, "utf8");
  return parseHeader(bytes, 8 + bytes.length + dataBytes, '"a.safetensors"');
}

function tensor(dtype: string, shape: readonly number[], begin: number, end: number): string {
  return JSON.stringify({ dtype, shape, data_offsets: [begin, end] });
}

describe("accepts", () => {
  test("tensors in any order, scalars, empty tensors, metadata and trailing spaces", () => {
    const header = `{"b":${tensor("F32", [2], 2, 10)},"empty":${tensor("F32", [0, 3], 2, 2)},"a":${tensor("BF16", [], 0, 2)},"__metadata__":{"format":"pt"}}   `;
    const { metadata, tensors } = parse(header, 10);
    const start = 8 + header.length;
    expect(metadata).toEqual({ format: "pt" });
    expect([...tensors.values()]).toEqual([
      { name: "b", dtype: "float32", shape: [2], offset: start + 2, byteLength: 8 },
      { name: "empty", dtype: "float32", shape: [0, 3], offset: start + 2, byteLength: 0 },
      { name: "a", dtype: "bfloat16", shape: [], offset: start, byteLength: 2 },
    ]);
  });

  test("no tensors at all", () => {
    expect(parse("{}", 0).tensors.size).toBe(0);
  });

  test("__proto__ as a name and as a key of the metadata, harmlessly", () => {
    const header = `{"__metadata__":{"__proto__":"x"},"__proto__":${tensor("U8", [1], 0, 1)},"constructor":${tensor("U8", [1], 1, 2)}}`;
    const { metadata, tensors } = parse(header, 2);
    expect([...tensors.keys()]).toEqual(["__proto__", "constructor"]);
    expect(Object.entries(metadata)).toEqual([["__proto__", "x"]]);
    expect(Object.getPrototypeOf(metadata)).toBe(Object.prototype);
  });
});

describe("refuses", () => {
  const u8 = (begin: number, end: number): string => tensor("U8", [end - begin], begin, end);

  test.each([
    [
      "no JSON",
      "{]",
      0,
      'the header is not valid JSON: expected a key in double quotes, found "]" (column 2)',
    ],
    ["a list", "[]", 0, "the header does not begin with {"],
    ["a byte order mark", "\uFEFF{}", 0, "the header does not begin with {"],
    ["leading spaces", " {}", 0, "the header does not begin with {"],
    ["two objects", "{}{}", 0, 'the header is not valid JSON: expected the end, found "{" (column 3)'],
    [
      "a name twice",
      `{"a":${u8(0, 1)},"a":${u8(1, 2)}}`,
      2,
      'the header is not valid JSON: the key "a" occurs twice in one object (column 54)',
    ],
    [
      "a name twice by an escape",
      `{"a":${u8(0, 1)},"\\u0061":${u8(0, 1)}}`,
      1,
      'the header is not valid JSON: the key "a" occurs twice in one object (column 54)',
    ],
    [
      "a field twice",
      '{"a":{"dtype":"U8","dtype":"I8","shape":[],"data_offsets":[0,1]}}',
      1,
      'the header is not valid JSON: the key "dtype" occurs twice in one object (column 20)',
    ],
    [
      "depth",
      '{"a":{"shape":[[0]]}}',
      0,
      "the header is not valid JSON: it is nested more than 3 deep (column 16)",
    ],
    ["a tensor that is no object", '{"a":3}', 0, 'tensor "a" is not described by an object'],
    [
      "a missing field",
      '{"a":{"dtype":"U8","shape":[]}}',
      0,
      'tensor "a" has the fields ["dtype", "shape"], expected dtype, shape and data_offsets',
    ],
    [
      "another field",
      '{"a":{"dtype":"U8","shape":[],"offsets":[0,1]}}',
      1,
      'tensor "a" has the fields ["dtype", "shape", "offsets"], expected dtype, shape and data_offsets',
    ],
    [
      "metadata that is no text",
      '{"__metadata__":{"n":1}}',
      0,
      '__metadata__ has a value for "n" that is no text',
    ],
    ["metadata that is a list", '{"__metadata__":[]}', 0, "__metadata__ is not an object"],
    [
      "an unknown dtype",
      `{"a":${tensor("F8_E4M3", [1], 0, 1)}}`,
      1,
      'tensor "a" has the dtype "F8_E4M3", expected one of F64, F32, F16, BF16, I64, I32, U32, I16, U8, I8, BOOL',
    ],
    [
      "a dtype of Object's prototype",
      `{"a":${tensor("toString", [1], 0, 1)}}`,
      1,
      'tensor "a" has the dtype "toString", expected one of F64, F32, F16, BF16, I64, I32, U32, I16, U8, I8, BOOL',
    ],
    [
      "a dtype that is no text",
      '{"a":{"dtype":1,"shape":[],"data_offsets":[0,1]}}',
      1,
      'tensor "a" has the dtype something else than text, expected one of F64, F32, F16, BF16, I64, I32, U32, I16, U8, I8, BOOL',
    ],
    [
      "a negative extent",
      `{"a":${tensor("U8", [-1], 0, 1)}}`,
      1,
      'tensor "a" has a shape that is not a list of at most 64 counts',
    ],
    [
      "a fraction",
      `{"a":${tensor("U8", [0.5], 0, 1)}}`,
      1,
      'tensor "a" has a shape that is not a list of at most 64 counts',
    ],
    [
      "an extent beyond 2^53",
      '{"a":{"dtype":"U8","shape":[9007199254740992],"data_offsets":[0,1]}}',
      1,
      'tensor "a" has a shape that is not a list of at most 64 counts',
    ],
    [
      "65 axes",
      `{"a":${tensor("U8", Array<number>(65).fill(1), 0, 1)}}`,
      1,
      'tensor "a" has a shape that is not a list of at most 64 counts',
    ],
    [
      "a product beyond 2^53",
      `{"a":${tensor("U8", [2 ** 32, 2 ** 32, 0], 0, 0)}}`,
      0,
      'tensor "a" has the shape [4294967296, 4294967296, 0], which is too large to be counted exactly',
    ],
    [
      "a size that wraps around in 64 bits",
      `{"a":${tensor("F32", [2 ** 31, 2 ** 31], 0, 0)}}`,
      0,
      'tensor "a" has the shape [2147483648, 2147483648], which is too large to be counted exactly',
    ],
    [
      "offsets backwards",
      `{"a":${tensor("U8", [1], 1, 0)}}`,
      1,
      'tensor "a" has data_offsets that are not a begin and an end',
    ],
    [
      "three offsets",
      '{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1,2]}}',
      1,
      'tensor "a" has data_offsets that are not a begin and an end',
    ],
    [
      "a size that does not fit the shape",
      `{"a":${tensor("F32", [2, 2], 0, 8)}}`,
      8,
      'tensor "a" has 8 bytes, but F32 of shape [2, 2] takes 16 bytes',
    ],
    [
      "an overlap",
      `{"a":${u8(0, 2)},"b":${u8(1, 3)}}`,
      3,
      'tensor "b" overlaps the one before it: it begins at 1, expected 2',
    ],
    [
      "a gap",
      `{"a":${u8(0, 1)},"b":${u8(2, 3)}}`,
      3,
      'tensor "b" leaves a gap to the one before it: it begins at 2, expected 1',
    ],
    [
      "a gap at the start",
      `{"a":${u8(1, 2)}}`,
      2,
      'tensor "a" leaves a gap to the one before it: it begins at 1, expected 0',
    ],
    [
      "a file that was cut off",
      `{"a":${u8(0, 4)}}`,
      3,
      "the file was cut off: expected 65 bytes by its header, found 64",
    ],
    [
      "bytes after the last tensor",
      `{"a":${u8(0, 4)}}`,
      5,
      "something follows the last tensor: expected 65 bytes by its header, found 66",
    ],
  ])("%s", (_, header, dataBytes, problem) => {
    expect(failureOf(() => parse(header, dataBytes))).toEqual({
      code: "file-invalid",
      message: `"a.safetensors" is not a valid safetensors file: ${problem}.`,
      hint: "The file is damaged or not a safetensors file; download or convert it again.",
    });
  });

  test("a header that is not UTF-8", () => {
    const bytes = Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x7d);
    expect(failureOf(() => parseHeader(bytes, 13, '"a"')).message).toBe(
      '"a" is not a valid safetensors file: the header is not UTF-8 text.',
    );
  });

  test.each([
    [[1, 0, 0], 3, "expected at least 8 bytes, found 3"],
    [[3, 0, 0, 0, 0, 0, 0, 0], 10, "the header has a length of 3 bytes, but only 2 bytes follow"],
    [
      [0x41, 0x78, 0x7d, 0x01, 0, 0, 0, 0],
      2 ** 40,
      "expected a header of at most 25000000 bytes, found a length of 25000001",
    ],
    [
      Array<number>(8).fill(255),
      2 ** 40,
      "expected a header of at most 25000000 bytes, found a length of 18446744073709551615",
    ],
  ])("a length of %j in a file of %d bytes", (start, fileBytes, problem) => {
    expect(failureOf(() => parseHeaderLength(Uint8Array.from(start), fileBytes, '"a"')).message).toBe(
      `"a" is not a valid safetensors file: ${problem}.`,
    );
  });
});
