/**
 * @file FourierFT (Gao et al. 2024, "Parameter-Efficient Fine-Tuning with Discrete Fourier Transform", equations 2 to
 * 4): the change of W is the inverse two-dimensional Fourier transform of a sparse spectrum with n trained entries c at
 * places (u, v) drawn from a seed, y = W x + s Re(ifft2(S)) x. c starts normal, as in the paper, so that training does
 * not start from the base; with `initialWeights` at zero. With D = in out and the angles p = 2 pi u i / out,
 * q = 2 pi v j / in, the change is s / D sum_k c_k (cos p_k cos q_k - sin p_k sin q_k): two products of rank n, so that
 * neither the transform nor the matrix is made while training. Merging adds the change to W.
 */
import { DeltafitError } from "../errors.ts";
import type { Value } from "../graph/graph.ts";
import type { LinearSite } from "../models/forward.ts";
import { TorchGenerator } from "../tensor/random.ts";
import type { BoundMethod, ConstantSpec, Method, MethodUse, ParameterSpec } from "./contract.ts";
import { addedToWeight, linearSites } from "./linear-sites.ts";
import { savedModules } from "./saved-modules.ts";
import type { BiasTraining } from "./saved-modules.ts";
import { patternValue } from "./targets.ts";
import type { TargetSettings } from "./targets.ts";

export interface FourierftConfiguration extends TargetSettings {
  /** Entries of the spectrum that are trained. */
  readonly frequencies: number;
  /** Entries of single modules, by patterns over the ends of their paths. */
  readonly frequencyPattern?: Readonly<Record<string, number>> | undefined;
  readonly scaling: number;
  /** Seed of the entries' places. */
  readonly locationSeed: number;
  /** Which biases of the base are trained as well. */
  readonly bias: BiasTraining;
  /** Start at zero instead of with normal numbers: from the base. */
  readonly initialWeights: boolean;
}

export const fourierftDefaults = {
  frequencies: 1000,
  scaling: 150,
  locationSeed: 777,
  bias: "none",
  initialWeights: false,
} as const satisfies Partial<FourierftConfiguration>;

interface FourierSite {
  readonly linear: LinearSite;
  readonly count: number;
  /** Trained parameter, and the four tables: of the outputs' and of the inputs' angles. */
  readonly key: string;
  readonly tables: Readonly<Record<"outCosine" | "outSine" | "inCosine" | "inSine", string>>;
}

export const fourierft: Method<FourierftConfiguration> = {
  type: "FOURIERFT",
  summary: "FourierFT: trained entries of a sparse spectrum of the change (Gao et al. 2024)",
  bind(configuration, modules): BoundMethod {
    const sites = new Map(
      [...linearSites(configuration, modules)].map(([path, linear]) => [path, siteOf(linear, configuration)]),
    );
    const { modulesToSave = [], bias, scaling } = configuration;
    const saved = savedModules({ modulesToSave, bias, adapted: [...sites.keys()] }, modules);
    return {
      parameters: [...[...sites.values()].map((site) => specOf(site, configuration)), ...saved.parameters],
      constants: tablesOf([...sites.values()], configuration),
      hooks: (use) => ({
        linear({ path }, x, next) {
          const site = sites.get(path);
          const base = next(x);
          return site ? use.builder.add(base, use.weighted(applySpectrum(use, site, scaling, x))) : base;
        },
        ...saved.hooks(use),
      }),
      merge: [
        ...[...sites.values()].map((site) =>
          addedToWeight(site.linear, (use) => changeOf(use, site, scaling)),
        ),
        ...saved.merge,
      ],
    };
  },
};

function siteOf(linear: LinearSite, { frequencies, frequencyPattern }: FourierftConfiguration): FourierSite {
  const count = patternValue(frequencyPattern, linear.path) ?? frequencies;
  if (!Number.isInteger(count) || count <= 0 || count > linear.in * linear.out)
    throw new DeltafitError(
      "config-invalid",
      `FourierFT: "${linear.path}" shall have ${count} frequencies; expected a whole number from 1 to ${linear.in * linear.out}.`,
      "Lower the number of frequencies, or give this module its own by a pattern.",
    );
  // Layers of equal shape share their places and tables.
  const name = (table: string) => `fourierft.${table}.${linear.out}x${linear.in}.${count}`;
  const tables = {
    outCosine: name("outCosine"),
    outSine: name("outSine"),
    inCosine: name("inCosine"),
    inSine: name("inSine"),
  };
  return { linear, count, key: `${linear.path}.fourierft_spectrum`, tables };
}

function specOf({ key, count }: FourierSite, { initialWeights }: FourierftConfiguration): ParameterSpec {
  return {
    key,
    shape: [count],
    initial: ({ random }) => (initialWeights ? new Float32Array(count) : random.normal(count, 0, 1)),
  };
}

/** The tables of all shapes: [out, n] and [in, n]. */
function tablesOf(sites: readonly FourierSite[], { locationSeed }: FourierftConfiguration): ConstantSpec[] {
  const constants = new Map<string, ConstantSpec>();
  for (const { linear, count, tables } of sites) {
    if (constants.has(tables.outCosine)) continue;
    let drawn: Int32Array | undefined;
    const places = () =>
      (drawn ??= new TorchGenerator(locationSeed).permutation(linear.in * linear.out).slice(0, count));
    const table = (
      key: string,
      extent: number,
      wave: (angle: number) => number,
      frequency: (place: number) => number,
    ) => {
      let values: Float32Array | undefined;
      const make = () =>
        Float32Array.from({ length: extent * count }, (_, at) => {
          const product = frequency(places()[at % count] ?? 0) * Math.floor(at / count);
          return wave((2 * Math.PI * (product % extent)) / extent);
        });
      constants.set(key, { key, shape: [extent, count], values: () => (values ??= make()) });
    };
    const row = (place: number) => Math.floor(place / linear.in);
    const column = (place: number) => place % linear.in;
    table(tables.outCosine, linear.out, Math.cos, row);
    table(tables.outSine, linear.out, Math.sin, row);
    table(tables.inCosine, linear.in, Math.cos, column);
    table(tables.inSine, linear.in, Math.sin, column);
  }
  return [...constants.values()];
}

type Use = Pick<MethodUse, "builder" | "parameter">;

function spectrum({ builder, parameter }: Use, { linear, key }: FourierSite, scaling: number): Value {
  return builder.scale(parameter(key), scaling / (linear.in * linear.out));
}

/** The change's product with x [rows, in]. */
function applySpectrum(use: Use, site: FourierSite, scaling: number, x: Value): Value {
  const { builder, parameter } = use;
  const entries = spectrum(use, site, scaling);
  const { outCosine, outSine, inCosine, inSine } = site.tables;
  const even = builder.multiply(builder.gemm(x, parameter(inCosine)), entries);
  const odd = builder.multiply(builder.gemm(x, parameter(inSine)), entries);
  const first = builder.gemm(even, parameter(outCosine), { transB: true });
  return builder.gemm(odd, parameter(outSine), { transB: true, alpha: -1, c: first });
}

/** The change: [out, in]. */
function changeOf(use: Use, site: FourierSite, scaling: number): Value {
  const { builder, parameter } = use;
  const entries = spectrum(use, site, scaling);
  const { outCosine, outSine, inCosine, inSine } = site.tables;
  const first = builder.gemm(builder.multiply(parameter(outCosine), entries), parameter(inCosine), {
    transB: true,
  });
  const odd = builder.multiply(parameter(outSine), entries);
  return builder.gemm(odd, parameter(inSine), { transB: true, alpha: -1, c: first });
}
