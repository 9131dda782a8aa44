/**
 * @file The encoders of P-tuning: from embeddings E [n, size] of the virtual tokens to those that the model sees, by
 * three linear layers with ReLU between them, or by a bidirectional LSTM (Hochreiter and Schmidhuber 1997) and two.
 * Of an LSTM's step: [i; f; g; o] = W x + U h + b, c' = s(f) c + s(i) tanh(g), h' = s(o) tanh(c').
 */
import type { Value } from "../graph/graph.ts";
import type { MethodUse, ParameterSpec } from "./contract.ts";
import { kaimingUniform, linearBias, normal } from "./initial.ts";

export interface PromptEncoderSettings {
  readonly virtualTokens: number;
  /** Width of the model's embeddings. */
  readonly size: number;
  readonly encoder: "mlp" | "lstm";
  /** Width of hidden layers; an LSTM has it in each direction. */
  readonly width: number;
  /** Layers of an LSTM. */
  readonly layers: number;
  /** Dropout between the layers of an LSTM. */
  readonly dropout: number;
}

type EncoderUse = Pick<MethodUse, "builder" | "parameter"> & Partial<Pick<MethodUse, "dropout">>;

const root = "prompt_encoder";
const embedding = `${root}.embedding.weight`;
/** Places of the linear layers in PEFT's sequence of layers, ReLU between them. */
const linearPaths = { mlp: ["0", "2", "4"], lstm: ["0", "2"] } as const;
const directions = ["", "_reverse"] as const;
const lstmKey = (name: string, layer: number, direction: string) =>
  `${root}.lstm_head.${name}_l${layer}${direction}`;

export function encoderSpecs(settings: PromptEncoderSettings): ParameterSpec[] {
  const { virtualTokens, size, encoder } = settings;
  const table = [virtualTokens, size];
  return [
    { key: embedding, shape: table, initial: normal(table, 1) },
    ...(encoder === "lstm" ? lstmSpecs(settings) : []),
    ...linearSpecs(settings),
  ];
}

function linearSpecs({ size, width, encoder }: PromptEncoderSettings): ParameterSpec[] {
  const widths = encoder === "mlp" ? [size, width, width, size] : [2 * width, 2 * width, size];
  return linearPaths[encoder].flatMap((path, index): ParameterSpec[] => {
    const [from = 0, to = 0] = widths.slice(index, index + 2);
    const key = `${root}.mlp_head.${path}`;
    return [
      { key: `${key}.weight`, shape: [to, from], initial: kaimingUniform([to, from]) },
      { key: `${key}.bias`, shape: [to], initial: linearBias(to, from) },
    ];
  });
}

/** All uniform within 1 / sqrt(width), as torch starts an LSTM. */
function lstmSpecs({ size, width, layers }: PromptEncoderSettings): ParameterSpec[] {
  const bound = 1 / Math.sqrt(width);
  const spec = (key: string, shape: readonly number[]): ParameterSpec => ({
    key,
    shape,
    initial: ({ random }) =>
      random.uniform(
        shape.reduce((a, b) => a * b),
        -bound,
        bound,
      ),
  });
  return Array.from({ length: layers }, (_, layer) =>
    directions.flatMap((direction) => [
      spec(lstmKey("weight_ih", layer, direction), [4 * width, layer === 0 ? size : 2 * width]),
      spec(lstmKey("weight_hh", layer, direction), [4 * width, width]),
      spec(lstmKey("bias_ih", layer, direction), [4 * width]),
      spec(lstmKey("bias_hh", layer, direction), [4 * width]),
    ]),
  ).flat();
}

/** The embeddings [n, size] that the model sees. */
export function encodePrompt(use: EncoderUse, settings: PromptEncoderSettings): Value {
  const { builder, parameter } = use;
  let x = parameter(embedding);
  if (settings.encoder === "lstm")
    for (let layer = 0; layer < settings.layers; layer++) {
      if (layer > 0) x = use.dropout?.(x, settings.dropout) ?? x;
      const input = x;
      x = builder.concat(
        directions.map((direction) => readAlong(use, settings, input, layer, direction)),
        1,
      );
    }
  for (const [index, path] of linearPaths[settings.encoder].entries()) {
    const key = `${root}.mlp_head.${path}`;
    const activated = index === 0 ? x : builder.relu(x);
    x = builder.gemm(activated, parameter(`${key}.weight`), { transB: true, c: parameter(`${key}.bias`) });
  }
  return x;
}

/** One direction of an LSTM's layer over the rows of x: its states [n, width] in the order of the rows. */
function readAlong(
  { builder, parameter }: EncoderUse,
  { virtualTokens, width }: PromptEncoderSettings,
  x: Value,
  layer: number,
  direction: (typeof directions)[number],
): Value {
  const of = (name: string) => parameter(lstmKey(name, layer, direction));
  const bias = builder.add(of("bias_ih"), of("bias_hh"));
  const inputs = builder.gemm(x, of("weight_ih"), { transB: true, c: bias });
  const recurrent = of("weight_hh");
  const rows = Array.from({ length: virtualTokens }, (_, row) => row);
  const states: Value[] = [];
  let cell: Value | undefined;
  let state: Value | undefined;
  for (const row of direction === "" ? rows : rows.toReversed()) {
    const own = builder.slice(inputs, 0, row, row + 1);
    const gates = state ? builder.gemm(state, recurrent, { transB: true, c: own }) : own;
    const gate = (index: number) => builder.slice(gates, 1, index * width, (index + 1) * width);
    const entered = builder.multiply(builder.sigmoid(gate(0)), builder.tanh(gate(2)));
    cell = cell ? builder.add(builder.multiply(builder.sigmoid(gate(1)), cell), entered) : entered;
    state = builder.multiply(builder.sigmoid(gate(3)), builder.tanh(cell));
    states[row] = state;
  }
  return builder.concat(states, 0);
}
