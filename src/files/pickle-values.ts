/**
 * @file Reads the part of Python's pickle format that torch.save needs for a dictionary of tensors, as data: a closed
 * list of instructions, and names of a closed list in place of importing anything. Knows no files and no tensors'
 * bytes.
 * Source: the instructions as documented in CPython, Lib/pickletools.py.
 */
import { DeltafitError } from "../errors.ts";
import { quote } from "./quote.ts";

/** A value of a pickle; a global is a name that the caller gives its meaning. */
export type PickleValue =
  | null
  | boolean
  | number
  | string
  | PickleTuple
  | PickleList
  | PickleDictionary
  | PickleGlobal
  | PickleObject;

export interface PickleTuple {
  readonly kind: "tuple";
  readonly items: readonly PickleValue[];
}
export interface PickleList {
  readonly kind: "list";
  readonly items: PickleValue[];
}
export interface PickleDictionary {
  readonly kind: "dictionary";
  readonly entries: Map<PickleValue, PickleValue>;
}
export interface PickleGlobal {
  readonly kind: "global";
  readonly name: string;
}
/** What the caller made of a call or of a persistent id, and remembers by this value's identity. */
export interface PickleObject {
  readonly kind: "object";
}

/** What names, calls and persistent ids mean. */
export interface PickleMeaning {
  readonly isKnown: (globalName: string) => boolean;
  /** The result of calling a known global; `undefined` where the arguments are not of its form. */
  readonly call: (globalName: string, parameters: readonly PickleValue[]) => PickleValue | undefined;
  readonly persistent: (id: PickleValue) => PickleValue | undefined;
}

/** A dictionary of a million tensors stays below these. */
const maximumInstructions = 50_000_000;
const maximumTextBytes = 2 ** 16;

/** @param where What is read, for error messages. @throws DeltafitError `file-invalid`, `file-refused`. */
export function readPickle(bytes: Uint8Array, where: string, meaning: PickleMeaning): PickleValue {
  return new PickleReader(bytes, where, meaning).read();
}

const mark = Symbol("mark");
type Slot = PickleValue | typeof mark;

class PickleReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #where: string;
  readonly #meaning: PickleMeaning;
  readonly #stack: Slot[] = [];
  readonly #memo = new Map<number, PickleValue>();
  #position = 0;

  constructor(bytes: Uint8Array, where: string, meaning: PickleMeaning) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#where = where;
    this.#meaning = meaning;
  }

  read(): PickleValue {
    for (let count = 0; count < maximumInstructions; count++) {
      const code = this.#byte();
      if (code === 0x2e) return this.#pop();
      const instruction = instructions[code];
      if (instruction === undefined)
        throw this.#refused(`the instruction 0x${code.toString(16).padStart(2, "0")}`);
      instruction(this);
    }
    throw this.#invalid(`more than ${maximumInstructions} instructions`);
  }

  #invalid(found: string): DeltafitError {
    return new DeltafitError(
      "file-invalid",
      `${this.#where} is no dictionary of tensors as torch.save writes it: ${found} at byte ${this.#position}.`,
      "Check that the download or the copy is complete.",
    );
  }

  #refused(found: string): DeltafitError {
    return new DeltafitError(
      "file-refused",
      `${this.#where} holds more than a dictionary of tensors: ${found} at byte ${this.#position}.`,
      "deltafit reads tensors from torch's files and never runs their code. " +
        "Save the state dictionary alone, or as safetensors.",
    );
  }

  #take(count: number): number {
    const start = this.#position;
    if (start + count > this.#bytes.length) throw this.#invalid("the end");
    this.#position += count;
    return start;
  }

  #byte(): number {
    return this.#view.getUint8(this.#take(1));
  }

  #uint16(): number {
    return this.#view.getUint16(this.#take(2), true);
  }

  uint(bytes: 1 | 2 | 4): number {
    if (bytes === 1) return this.#byte();
    return bytes === 2 ? this.#uint16() : this.#view.getUint32(this.#take(4), true);
  }

  int32(): number {
    return this.#view.getInt32(this.#take(4), true);
  }

  float64(): number {
    return this.#view.getFloat64(this.#take(8), false);
  }

  /** A whole number of any length that a double holds exactly, two's complement, least significant byte first. */
  long(): number {
    const length = this.#byte();
    const start = this.#take(length);
    let value = 0n;
    for (let index = length - 1; index >= 0; index--)
      value = (value << 8n) | BigInt(this.#bytes[start + index] ?? 0);
    const signed = length === 0 ? 0n : BigInt.asIntN(length * 8, value);
    if (signed > Number.MAX_SAFE_INTEGER || signed < -Number.MAX_SAFE_INTEGER)
      throw this.#invalid("a whole number beyond 2^53");
    return Number(signed);
  }

  text(length: number): string {
    if (length > maximumTextBytes) throw this.#invalid(`a text of ${length} bytes`);
    const start = this.#take(length);
    return Buffer.from(this.#bytes.subarray(start, start + length)).toString("utf8");
  }

  line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#position);
    if (end < 0) throw this.#invalid("a line without an end");
    const text = this.text(end - this.#position);
    this.#take(1);
    return text;
  }

  skip(count: number): void {
    this.#take(count);
  }

  push(value: PickleValue): void {
    this.#stack.push(value);
  }

  mark(): void {
    this.#stack.push(mark);
  }

  #pop(): PickleValue {
    const value = this.#stack.pop();
    if (value === undefined || value === mark) throw this.#invalid("an instruction without its value");
    return value;
  }

  pop(): PickleValue {
    return this.#pop();
  }

  /** The values above the last mark. */
  popMarked(): PickleValue[] {
    const start = this.#stack.lastIndexOf(mark);
    if (start < 0) throw this.#invalid("an instruction without its mark");
    const items = this.#stack.splice(start).slice(1);
    return items.flatMap((item) => (item === mark ? [] : [item]));
  }

  tuple(count: number): void {
    const items = Array.from({ length: count }, () => this.#pop()).reverse();
    this.push({ kind: "tuple", items });
  }

  remember(index: number): void {
    const value = this.#pop();
    this.#memo.set(index, value);
    this.push(value);
  }

  rememberNext(): void {
    this.remember(this.#memo.size);
  }

  recall(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) throw this.#invalid(`the value ${index}, which was never stored,`);
    this.push(value);
  }

  append(items: readonly PickleValue[]): void {
    const list = this.#pop();
    if (!isKind(list, "list")) throw this.#invalid("an item without its list");
    for (const item of items) list.items.push(item);
    this.push(list);
  }

  setItems(items: readonly PickleValue[]): void {
    const dictionary = this.#pop();
    if (!isKind(dictionary, "dictionary") || items.length % 2 !== 0)
      throw this.#invalid("an entry without its dictionary");
    for (let index = 0; index < items.length; index += 2)
      dictionary.entries.set(items[index] ?? null, items[index + 1] ?? null);
    this.push(dictionary);
  }

  global(module: string, attribute: string): void {
    const name = `${module}.${attribute}`;
    if (!this.#meaning.isKnown(name)) throw this.#refused(`the name ${quote(name)}`);
    this.push({ kind: "global", name });
  }

  stackGlobal(): void {
    const [attribute, module] = [this.#pop(), this.#pop()];
    if (typeof attribute !== "string" || typeof module !== "string")
      throw this.#invalid("a name that is no text");
    this.global(module, attribute);
  }

  reduce(): void {
    const [parameters, target] = [this.#pop(), this.#pop()];
    if (!isKind(parameters, "tuple") || !isKind(target, "global"))
      throw this.#invalid("a call without name or arguments");
    const result = this.#meaning.call(target.name, parameters.items);
    if (result === undefined) throw this.#invalid(`a call of ${quote(target.name)} with other arguments`);
    this.push(result);
  }

  /** State beside a dictionary's entries, such as the `_metadata` of a state dictionary: of no use to anyone here. */
  build(): void {
    this.#pop();
    const target = this.#pop();
    if (!isKind(target, "dictionary")) throw this.#refused("state of an object");
    this.push(target);
  }

  persistent(): void {
    const result = this.#meaning.persistent(this.#pop());
    if (result === undefined) throw this.#invalid("a reference that is no storage");
    this.push(result);
  }
}

type Kinds = Exclude<PickleValue, null | boolean | number | string>;

/** Whether a value is one of the composite kinds. */
export function isKind<Kind extends Kinds["kind"]>(
  value: PickleValue | undefined,
  kind: Kind,
): value is Extract<Kinds, { readonly kind: Kind }> {
  return typeof value === "object" && value !== null && value.kind === kind;
}

type Instruction = (reader: PickleReader) => void;

/** Instructions by their byte. STOP (0x2e) ends the reading. */
const instructions: Readonly<Partial<Record<number, Instruction>>> = {
  0x28: (reader) => reader.mark(),
  0x29: (reader) => reader.push({ kind: "tuple", items: [] }),
  0x47: (reader) => reader.push(reader.float64()),
  0x4a: (reader) => reader.push(reader.int32()),
  0x4b: (reader) => reader.push(reader.uint(1)),
  0x4d: (reader) => reader.push(reader.uint(2)),
  0x4e: (reader) => reader.push(null),
  0x51: (reader) => reader.persistent(),
  0x52: (reader) => reader.reduce(),
  0x58: (reader) => reader.push(reader.text(reader.uint(4))),
  0x5d: (reader) => reader.push({ kind: "list", items: [] }),
  0x61: (reader) => reader.append([reader.pop()]),
  0x62: (reader) => reader.build(),
  0x63: (reader) => reader.global(reader.line(), reader.line()),
  0x65: (reader) => reader.append(reader.popMarked()),
  0x68: (reader) => reader.recall(reader.uint(1)),
  0x6a: (reader) => reader.recall(reader.uint(4)),
  0x71: (reader) => reader.remember(reader.uint(1)),
  0x72: (reader) => reader.remember(reader.uint(4)),
  0x73: (reader) => {
    const value = reader.pop();
    reader.setItems([reader.pop(), value]);
  },
  0x74: (reader) => reader.push({ kind: "tuple", items: reader.popMarked() }),
  0x75: (reader) => reader.setItems(reader.popMarked()),
  0x7d: (reader) => reader.push({ kind: "dictionary", entries: new Map() }),
  0x80: (reader) => reader.skip(1),
  0x85: (reader) => reader.tuple(1),
  0x86: (reader) => reader.tuple(2),
  0x87: (reader) => reader.tuple(3),
  0x88: (reader) => reader.push(true),
  0x89: (reader) => reader.push(false),
  0x8a: (reader) => reader.push(reader.long()),
  0x8c: (reader) => reader.push(reader.text(reader.uint(1))),
  0x93: (reader) => reader.stackGlobal(),
  0x94: (reader) => reader.rememberNext(),
  0x95: (reader) => reader.skip(8),
};
