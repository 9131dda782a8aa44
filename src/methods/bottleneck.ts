/**
 * @file Bottleneck adapters: a small network a(x) = s W_up f(W_down x + b_down) + s b_up at the ends of sub-layers,
 * beside the residual stream r and after the sub-layer's output h. Houlsby et al. 2019 ("Parameter-Efficient Transfer
 * Learning for NLP") put one after attention and one after the feed-forward layer, y = norm(r + h + a(h)); Pfeiffer
 * et al. 2020 ("AdapterFusion") one after the feed-forward layer, y = norm(r + h + a(norm(r + h))); He et al. 2021
 * ("Towards a Unified View of Parameter-Efficient Transfer Learning") one beside it, y = norm(r + h + a(r)).
 */
import { DeltafitError } from "../errors.ts";
import type { Value } from "../graph/graph.ts";
import type { SublayerCall } from "../models/forward.ts";
import { activate } from "../models/layers/activation.ts";
import type { ActivationName } from "../models/configuration.ts";
import type { BoundMethod, Method, MethodUse, ModuleTable, ParameterSpec } from "./contract.ts";
import { kaimingUniform, normal, ones, zeros } from "./initial.ts";
import { savedModules } from "./saved-modules.ts";

export interface BottleneckConfiguration {
  /** After attention, after the feed-forward layer, or both. */
  readonly after: readonly SublayerCall["kind"][];
  /** Width of the stream by that of the bottleneck; single layers by their numbers. */
  readonly reduction: number;
  readonly layerReductions?: Readonly<Record<string, number>> | undefined;
  readonly activation: ActivationName;
  /** The adapter sees the residual stream in place of the sub-layer's output. */
  readonly isParallel: boolean;
  /** The residual stream and, in post-norm models, the norm come before the adapter as well. */
  readonly joinBefore: boolean;
  /** The residual stream and the norm come after the adapter. */
  readonly joinAfter: boolean;
  /** A norm of its own before the adapter. */
  readonly normBefore: boolean;
  /** A norm of its own after the adapter, before what it adds to is added. */
  readonly normAfter: boolean;
  /** What the adapter adds to: the sub-layer's output, what the adapter sees, or (with `joinBefore`) that before its norm. */
  readonly skipFrom: "output" | "input" | "sum";
  readonly scaling: number;
  readonly dropout: number;
  /** Numbers of the layers without adapters. */
  readonly leaveOut: readonly number[];
  /** "bert": normal with deviation 0.02; "mam_adapter": as LoRA, which starts from the base. */
  readonly initial: "bert" | "mam_adapter";
  /** Modules that are trained whole, such as the task's head. */
  readonly modulesToSave?: readonly string[] | undefined;
}

const common = {
  reduction: 16,
  isParallel: false,
  joinAfter: true,
  normBefore: false,
  normAfter: false,
  skipFrom: "output",
  scaling: 1,
  dropout: 0,
  leaveOut: [],
  initial: "bert",
} as const;

/** The three papers' settings, under AdapterHub's names. */
export const bottleneckDefaults = {
  double_seq_bn: { ...common, after: ["attention", "feed-forward"], activation: "swish", joinBefore: false },
  seq_bn: { ...common, after: ["feed-forward"], activation: "relu", joinBefore: true },
  par_bn: {
    ...common,
    after: ["feed-forward"],
    activation: "relu",
    joinBefore: false,
    isParallel: true,
    reduction: 2,
    scaling: 4,
    initial: "mam_adapter",
  },
} as const satisfies Record<string, BottleneckConfiguration>;

export type BottleneckName = keyof typeof bottleneckDefaults;

/** torch's default. */
const epsilon = 1e-5;
const bertDeviation = 0.02;
const locations = {
  attention: "attention_adapters",
  "cross-attention": "cross_attention_adapters",
  "feed-forward": "output_adapters",
} as const;

interface BottleneckSite {
  /** Module path and location. */
  readonly path: string;
  readonly size: number;
  readonly width: number;
}

export const bottleneck: Method<BottleneckConfiguration> = {
  type: "BOTTLENECK",
  summary: "Bottleneck adapters: small networks at the ends of sub-layers (Houlsby et al. 2019)",
  bind(configuration, modules): BoundMethod {
    checkSettings(configuration);
    const sites = sitesOf(configuration, modules);
    const { modulesToSave = [] } = configuration;
    const saved = savedModules({ modulesToSave, bias: "none", adapted: [] }, modules);
    return {
      parameters: [
        ...[...sites.values()].flatMap((site) => specsOf(site, configuration)),
        ...saved.parameters,
      ],
      hooks: (use) => ({
        sublayer(call, next) {
          const site = sites.get(pathOf(call));
          if (!site) return next(call);
          return use.toward(next(call), adapted(use, configuration, site, call, next));
        },
        ...saved.hooks(use),
      }),
      merge: { impossible: "a network with an activation is no change of the base's matrices." },
    };
  },
};

const pathOf = ({ path, kind }: Pick<SublayerCall, "path" | "kind">) => `${path}.${locations[kind]}`;

function checkSettings(configuration: BottleneckConfiguration): void {
  const { after, reduction, layerReductions, dropout, skipFrom, joinBefore } = configuration;
  const refuse = (message: string) => {
    throw new DeltafitError("config-invalid", `Bottleneck adapters: ${message}`);
  };
  if (after.length === 0) refuse("they are after no sub-layer; expected attention, feed-forward or both.");
  for (const value of [reduction, ...Object.values(layerReductions ?? {})])
    if (!(value > 0) || !Number.isFinite(value))
      refuse(`the reduction is ${value}; expected a number above 0.`);
  if (skipFrom === "sum" && !joinBefore)
    refuse("they add to the sum of stream and output, which is there with joinBefore alone.");
  if (!(dropout >= 0 && dropout < 1)) refuse(`dropout is ${dropout}; expected a share from 0 to below 1.`);
}

function sitesOf(
  configuration: BottleneckConfiguration,
  { sublayers }: ModuleTable,
): ReadonlyMap<string, BottleneckSite> {
  const { after, leaveOut, reduction, layerReductions } = configuration;
  const sites = new Map<string, BottleneckSite>();
  for (const kind of after)
    for (const [layer, call] of sublayers.filter((sublayer) => sublayer.kind === kind).entries()) {
      const path = pathOf(call);
      if (leaveOut.includes(layer) || sites.has(path)) continue;
      const size = Number(call.residual.shape[1]);
      const width = Math.max(1, Math.floor(size / (layerReductions?.[String(layer)] ?? reduction)));
      sites.set(path, { path, size, width });
    }
  if (sites.size > 0) return sites;
  throw new DeltafitError(
    "method-unsupported",
    "Bottleneck adapters: no layer is left to put one into.",
    "Leave fewer layers out, or use a method that adapts matrices, such as LoRA.",
  );
}

const keysOf = ({ path }: BottleneckSite, { normBefore }: BottleneckConfiguration) => ({
  norm: `${path}.adapter_norm_before`,
  // The norm is the first of the layers that AdapterHub numbers.
  down: `${path}.adapter_down.${normBefore ? 1 : 0}`,
  up: `${path}.adapter_up`,
  normAfter: `${path}.adapter_norm_after`,
});

function specsOf(site: BottleneckSite, configuration: BottleneckConfiguration): ParameterSpec[] {
  const { size, width } = site;
  const keys = keysOf(site, configuration);
  const spec = (key: string, shape: readonly number[], initial: ParameterSpec["initial"]) => ({
    key,
    shape,
    initial,
  });
  const norm = (key: string) => [
    spec(`${key}.weight`, [size], ones([size])),
    spec(`${key}.bias`, [size], zeros([size])),
  ];
  const isBert = configuration.initial === "bert";
  const [down, up] = [
    [width, size],
    [size, width],
  ] as const;
  return [
    ...(configuration.normBefore ? norm(keys.norm) : []),
    spec(`${keys.down}.weight`, down, isBert ? normal(down, bertDeviation) : kaimingUniform(down)),
    spec(`${keys.down}.bias`, [width], zeros([width])),
    spec(`${keys.up}.weight`, up, isBert ? normal(up, bertDeviation) : zeros(up)),
    spec(`${keys.up}.bias`, [size], zeros([size])),
    ...(configuration.normAfter ? norm(keys.normAfter) : []),
  ];
}

/** The sub-layer's end with the adapter in it. */
function adapted(
  use: MethodUse,
  configuration: BottleneckConfiguration,
  site: BottleneckSite,
  call: SublayerCall,
  next: (call: SublayerCall) => Value,
): Value {
  const { isParallel, joinBefore, joinAfter, skipFrom } = configuration;
  const { builder } = use;
  const input = isParallel ? call.residual : joinBefore ? next(call) : call.output;
  const sum = () => builder.add(call.output, call.residual);
  const skip = isParallel || skipFrom === "output" ? call.output : skipFrom === "sum" ? sum() : input;
  const output = builder.add(skip, network(use, configuration, site, input));
  return joinAfter ? next({ ...call, output }) : output;
}

function network(
  use: MethodUse,
  configuration: BottleneckConfiguration,
  site: BottleneckSite,
  x: Value,
): Value {
  const { builder, parameter } = use;
  const keys = keysOf(site, configuration);
  const linear = (input: Value, key: string) =>
    builder.gemm(input, parameter(`${key}.weight`), { transB: true, c: parameter(`${key}.bias`) });
  const normed = (of: Value, key: string) =>
    builder.layerNormalization(of, parameter(`${key}.weight`), parameter(`${key}.bias`), epsilon);
  const seen = configuration.normBefore ? normed(x, keys.norm) : x;
  const hidden = activate(builder, configuration.activation, linear(seen, keys.down));
  const scaled = builder.scale(linear(hidden, keys.up), configuration.scaling);
  const change = use.dropout(scaled, configuration.dropout);
  return configuration.normAfter ? normed(change, keys.normAfter) : change;
}
