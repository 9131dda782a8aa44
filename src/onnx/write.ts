/**
 * @file Writes a graph as an ONNX model. Weights are external data at offsets of files that already exist,
 * so a model stays small and sessions share one memory-mapped copy. Knows no runtime.
 */
import { internalError } from "../errors.ts";
import type { DataType } from "../tensor/tensor.ts";
import { bytesPerElement, elementCount } from "../tensor/tensor.ts";
import { termsOf } from "../graph/dimension.ts";
import type { Dimension } from "../graph/dimension.ts";
import { attributeText, isOperation, nodesOf } from "../graph/graph.ts";
import type { Graph, Node, OperationName, Value, ValueType } from "../graph/graph.ts";
import { onnxDataType } from "../graph/operation.ts";
import type { FloatAttribute, LoweringTarget, OnnxAttribute } from "../graph/operation.ts";
import { operationOf } from "../graph/operations/index.ts";
import { lowerStoredValue, storedMatrix } from "../graph/operations/stored-matrix.ts";
import type { StoredMatrix } from "../graph/operations/stored-matrix.ts";
import { readInBlocks } from "../graph/operations/stored-product.ts";
import type { PartName, RowRange, WeightForm } from "../graph/weight-form.ts";
import { externalTensor, partTensor } from "./external-tensor.ts";
import type { ExternalTensor } from "./external-tensor.ts";
import { attributeType, encodeModel } from "./schema.ts";
import type { AttributeMessage, NodeMessage, TensorMessage, ValueInfoMessage } from "./schema.ts";

/** RotaryEmbedding came with operator set 23, the newest one whose operations all have kernels on the CPU. */
const operatorSet = 23;
const irVersion = 10;

/** Says where a weight's float32 values lie, or one array of a weight that the graph keeps in another form. */
export type LocateWeight = (name: string, form?: WeightForm, part?: PartName) => ExternalTensor;

export interface WriteOptions {
  /**
   * Whether float32 weights may be given at a run in place of the file's: a runtime then takes them for no constants,
   * and neither packs nor folds them.
   */
  readonly overridableWeights?: boolean;
}

/** The bytes of an .onnx file. */
export function writeOnnx(graph: Graph, locate: LocateWeight, options: WriteOptions = {}): Uint8Array {
  return new ModelWriter(graph, options, locate).write();
}

class ModelWriter {
  readonly #graph: Graph;
  readonly #options: WriteOptions;
  readonly #locate: LocateWeight;
  readonly #used = new Set<Value>();
  readonly #inBlocks: ReadonlySet<string>;
  readonly #names = new Map<Value, string>();
  readonly #nodes: NodeMessage[] = [];
  readonly #initializers = new Map<string, TensorMessage>();
  readonly #inputs: ValueInfoMessage[] = [];
  /** Names of int64 [1] vectors by the dimension they hold. */
  readonly #dimensionNames = new Map<Dimension, string>();
  readonly #extentNames = new Map<string, string>();
  readonly #constantNames = new Map<string, string>();
  /** Names given from outside, which none made here may repeat. */
  readonly #givenNames = new Set<string>();
  #intermediates = 0;
  readonly #intermediateTypes: ValueInfoMessage[] = [];

  constructor(graph: Graph, options: WriteOptions, locate: LocateWeight) {
    this.#graph = graph;
    this.#options = options;
    this.#locate = locate;
    this.#inBlocks = readInBlocks(graph);
    for (const node of graph.nodes) for (const input of node.inputs) if (input) this.#used.add(input);
    for (const node of [...nodesOf(graph, "Input"), ...nodesOf(graph, "Weight")])
      this.#givenNames.add(node.attributes.name);
    for (const { name, value } of graph.outputs) {
      this.#givenNames.add(name);
      this.#used.add(value);
      if (!this.#names.has(value) && !isLeaf(value.node)) this.#names.set(value, name);
    }
  }

  write(): Uint8Array {
    for (const node of this.#graph.nodes) this.#writeNode(node);
    const outputs = this.#graph.outputs.map(({ name, value }) => {
      const own = this.#nameOf(value);
      if (own !== name) this.#emit("Identity", [own], [name]);
      return valueInfo(name, value);
    });
    return encodeModel({
      ir_version: irVersion,
      producer_name: "deltafit",
      opset_import: [
        { domain: "", version: operatorSet },
        { domain: "com.microsoft", version: 1 },
      ],
      graph: {
        name: "deltafit",
        node: this.#nodes,
        initializer: [...this.#initializers.values()],
        input: this.#inputs,
        output: outputs,
        value_info: this.#valueInfos(new Set(outputs.map(({ name }) => name))),
      },
    });
  }

  /**
   * Types of all intermediate values. The runtime's memory planner compares the extents of freed buffers by name:
   * without these it finds no two alike, keeps them all apart, and its search is quadratic in the number of nodes.
   */
  #valueInfos(outputs: ReadonlySet<string>): ValueInfoMessage[] {
    const named = [...this.#names].filter(([value, name]) => !isLeaf(value.node) && !outputs.has(name));
    return [...named.map(([value, name]) => valueInfo(name, value)), ...this.#intermediateTypes];
  }

  #writeNode<K extends OperationName>(node: Node<K>): void {
    const [output] = node.outputs;
    if (output && isOperation(node, "Input")) {
      this.#names.set(output, node.attributes.name);
      this.#inputs.push(valueInfo(node.attributes.name, output));
    } else if (output && isOperation(node, "Weight")) {
      const { name, form } = node.attributes;
      // As float32 numbers such a weight exists only where something needs it so.
      if (form) return;
      this.#names.set(output, name);
      if (this.#options.overridableWeights === true) this.#inputs.push(valueInfo(name, output));
      const dims = output.shape.map((extent) => numeric(extent, `the weight ${name}`));
      const byteLength = elementCount(dims) * bytesPerElement[output.dtype];
      const external = { type: onnxDataType[output.dtype], dims, byteLength };
      this.#initializers.set(name, externalTensor(name, external, this.#locate(name)));
    } else if (output && isOperation(node, "Constant")) {
      const shape = output.shape.map((extent) => numeric(extent, "a literal"));
      this.#names.set(output, this.#constant(output.dtype, shape, node.attributes.data));
    } else operationOf(node).lower(node, this.#target(node));
  }

  #target(node: Node): LoweringTarget {
    const output = (index: number, needed: boolean) => {
      const value = node.outputs[index];
      if (!value) throw internalError(`${node.operation} has no output ${index}.`);
      return needed || this.#used.has(value) ? this.#nameOf(value) : "";
    };
    return {
      input: (index) => {
        const value = node.inputs[index];
        return value ? this.#nameOf(value) : "";
      },
      output: (index) => output(index, false),
      requiredOutput: (index) => output(index, true),
      weightPart: (weight, part, rows) => this.#weightPart(weight, part, rows),
      isReadInBlocks: ({ attributes }) => this.#inBlocks.has(attributes.name),
      intermediate: (hint, type) => {
        const name = this.#intermediate(hint);
        if (type) this.#intermediateTypes.push(valueInfo(name, type));
        return name;
      },
      emit: (operationType, inputs, outputs, attributes, domain) => {
        this.#emit(operationType, inputs, outputs, attributes, domain);
      },
      constant: (dtype, shape, data) => this.#constant(dtype, shape, data),
      extents: (shape) => this.#extents(shape),
      extent: (dimension) => this.#extent(dimension),
    };
  }

  #nameOf(value: Value): string {
    const known = this.#names.get(value);
    if (known !== undefined) return known;
    const stored = storedMatrix(value);
    if (stored) return this.#storedValue(value, stored);
    const suffix = value.outputIndex === 0 ? "" : `.${value.outputIndex}`;
    const name = this.#fresh(`${value.node.operation}_${value.node.id}${suffix}`);
    this.#names.set(value, name);
    return name;
  }

  #storedValue(value: Value, stored: StoredMatrix): string {
    const { name } = stored.node.attributes;
    this.#names.set(value, name);
    this.#intermediateTypes.push(valueInfo(name, value));
    lowerStoredValue(this.#target(stored.node), stored, name);
    return name;
  }

  #weightPart(
    { attributes: { name, form }, outputs: [output] }: Node<"Weight">,
    part: PartName,
    rows?: RowRange,
  ): string {
    if (!form || !output) throw internalError(`the weight ${name} is kept in no form.`);
    const suffix = `${part}${rows ? `.${rows.from}` : ""}`;
    const partName = this.#fresh(`${name}.${form.kind}${"axis" in form ? form.axis : ""}.${suffix}`);
    const shape = output.shape.map((extent) => numeric(extent, `the weight ${name}`));
    const location = this.#locate(name, form, part);
    this.#initializers.set(partName, partTensor(partName, { form, part, shape, rows }, location));
    return partName;
  }

  #intermediate(hint: string): string {
    return this.#fresh(`${hint}.${this.#intermediates++}`);
  }

  #fresh(name: string): string {
    return this.#givenNames.has(name) ? this.#fresh(`${name}'`) : name;
  }

  #emit(
    operationType: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes: Readonly<Record<string, OnnxAttribute | FloatAttribute>> = {},
    domain = "",
  ): void {
    this.#nodes.push({
      op_type: operationType,
      domain,
      name: `${operationType}.${this.#nodes.length}`,
      input: inputs,
      output: trimEnd(outputs),
      attribute: Object.entries(attributes).map(([name, value]) => attributeMessage(name, value)),
    });
  }

  #constant(dtype: DataType, shape: readonly number[], data: readonly number[]): string {
    const text = `${dtype}${attributeText(shape)}${attributeText(data)}`;
    const known = this.#constantNames.get(text);
    if (known !== undefined) return known;
    const name = this.#fresh(`constant.${text.length < 40 ? text : this.#constantNames.size}`);
    this.#constantNames.set(text, name);
    this.#initializers.set(name, {
      name,
      data_type: onnxDataType[dtype],
      dims: shape,
      raw_data: literalBytes(dtype, data),
    });
    return name;
  }

  /** Name of the int64 vector of extents. */
  #extents(shape: readonly Dimension[]): string {
    if (shape.every((dimension) => typeof dimension === "number"))
      return this.#constant("int64", [shape.length], shape);
    const key = shape.join();
    const known = this.#extentNames.get(key);
    if (known !== undefined) return known;
    const parts = shape.map((dimension) => this.#vectorOf(dimension));
    const [single] = parts;
    const name = parts.length === 1 && single !== undefined ? single : this.#intermediate("extents");
    if (parts.length !== 1) this.#emit("Concat", parts, [name], { axis: 0 });
    this.#extentNames.set(key, name);
    return name;
  }

  #extent(dimension: Dimension): string {
    if (typeof dimension === "number") return this.#constant("int64", [], [dimension]);
    const name = this.#intermediate("extent");
    this.#emit("Squeeze", [this.#vectorOf(dimension), this.#constant("int64", [1], [0])], [name]);
    return name;
  }

  /** Name of an int64 [1] vector holding a dimension, as a sum of products of symbols. */
  #vectorOf(dimension: Dimension): string {
    if (typeof dimension === "number") return this.#constant("int64", [1], [dimension]);
    const known = this.#dimensionNames.get(dimension);
    if (known !== undefined) return known;
    const terms = termsOf(dimension);
    const [first] = terms;
    const isSymbol = terms.length === 1 && first?.coefficient === 1 && first.symbols.length === 1;
    const name = isSymbol
      ? this.#symbolVector(first.symbols[0] ?? "")
      : terms
          .map(({ coefficient, symbols }) => {
            const factors = symbols.map((symbol) => this.#vectorOf(symbol));
            const all =
              coefficient === 1 && factors.length > 0
                ? factors
                : [this.#constant("int64", [1], [coefficient]), ...factors];
            return all.reduce((a, b) => this.#combine("Mul", a, b));
          })
          .reduce((a, b) => this.#combine("Add", a, b));
    this.#dimensionNames.set(dimension, name);
    return name;
  }

  #combine(operation: "Mul" | "Add" | "Div", a: string, b: string): string {
    const name = this.#intermediate("extent");
    this.#emit(operation, [a, b], [name]);
    return name;
  }

  /** A symbol's value comes from the shape of an input that has it as a factor of one axis. */
  #symbolVector(symbol: string): string {
    for (const node of this.#graph.nodes) {
      const [output] = node.outputs;
      if (!isOperation(node, "Input") || !output) continue;
      for (const [axis, dimension] of output.shape.entries()) {
        const [term, ...others] = termsOf(dimension);
        if (!term || others.length > 0 || term.symbols.length !== 1 || term.symbols[0] !== symbol) continue;
        const name = this.#intermediate("extent");
        this.#emit("Shape", [node.attributes.name], [name], { start: axis, end: axis + 1 });
        return term.coefficient === 1
          ? name
          : this.#combine("Div", name, this.#constant("int64", [1], [term.coefficient]));
      }
    }
    throw internalError(`no input of the graph tells the dimension "${symbol}".`);
  }
}

function isLeaf(node: Node): boolean {
  return isOperation(node, "Input") || isOperation(node, "Weight") || isOperation(node, "Constant");
}

function numeric(dimension: Dimension, what: string): number {
  if (typeof dimension === "string") throw internalError(`${what} has the symbolic extent ${dimension}.`);
  return dimension;
}

function trimEnd(names: readonly string[]): string[] {
  const last = names.findLastIndex((name) => name !== "");
  return names.slice(0, last + 1);
}

function valueInfo(name: string, value: ValueType): ValueInfoMessage {
  const dim = value.shape.map((extent) =>
    typeof extent === "number" ? { dim_value: extent } : { dim_param: extent },
  );
  return { name, type: { tensor_type: { elem_type: onnxDataType[value.dtype], shape: { dim } } } };
}

function attributeMessage(name: string, value: OnnxAttribute | FloatAttribute): AttributeMessage {
  if (typeof value === "string")
    return { name, type: attributeType.string, s: new TextEncoder().encode(value) };
  if (typeof value === "boolean") return { name, type: attributeType.int, i: Number(value) };
  if (typeof value === "number") return { name, type: attributeType.int, i: value };
  if ("float" in value) return { name, type: attributeType.float, f: value.float };
  return { name, type: attributeType.ints, ints: value };
}

function literalBytes(dtype: DataType, data: readonly number[]): Uint8Array {
  const array = (() => {
    switch (dtype) {
      case "float32":
        return Float32Array.from(data);
      case "int64":
        return BigInt64Array.from(data, BigInt);
      case "int32":
        return Int32Array.from(data);
      case "uint32":
        return Uint32Array.from(data);
      case "int8":
        return Int8Array.from(data);
      case "uint8":
      case "bool":
        return Uint8Array.from(data);
    }
  })();
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
