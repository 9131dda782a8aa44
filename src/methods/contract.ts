/**
 * @file What a fine-tuning method is. A method sees the modules of a model as tables of sites, says which
 * parameters it trains and how they start, and hooks into the forward pass at named points. It never learns
 * which model it is in, nor how a frozen matrix is stored.
 */
import type { GraphBuilder } from "../graph/builder.ts";
import type { Value } from "../graph/graph.ts";
import type { AttentionCall, EmbeddingSite, LinearSite, NormSite, SublayerCall } from "../models/forward.ts";

/** A parameter of the base model. */
export interface BaseParameter {
  /** Full name under its own module path, such as "lm_head.weight". */
  readonly name: string;
  /** Name of the tensor that holds it: another module's where weights are tied. */
  readonly stored: string;
  readonly shape: readonly number[];
}

/** Every point of a model that a method can hook into, in the order of the forward pass. */
export interface ModuleTable {
  readonly linears: ReadonlyMap<string, LinearSite>;
  readonly embeddings: ReadonlyMap<string, EmbeddingSite>;
  /** Path of the one that tokens are looked up in; a module of the user's own may have none. */
  readonly tokenEmbedding: string | undefined;
  readonly norms: ReadonlyMap<string, NormSite>;
  /** One for each layer; layers that share their modules have the same path. */
  readonly attentions: readonly AttentionCall[];
  /** The ends of all sub-layers. */
  readonly sublayers: readonly SublayerCall[];
  readonly parameters: ReadonlyMap<string, BaseParameter>;
  /** First path segments of the task's head, which the body of the model does not contain ("classifier", "score"). */
  readonly headModules: readonly string[];
}

/** Where initial values come from. */
export interface InitialValues {
  /** A generator of random numbers of its own for the parameter: independent of every other's. */
  readonly random: RandomSource;
  /** The base model's value of a parameter, row-major, by its full name; after the method's own changes of it. */
  readonly base: (name: string) => Float32Array;
  /** The initial value of a parameter that stands before this one in the method's list, by its key. */
  readonly earlier: (key: string) => Float32Array;
  /** What the method's change of the base gives for this parameter. */
  readonly fromChange: () => Float32Array;
}

/** Random numbers for initial values, as torch's CPU generator draws them. */
export interface RandomSource {
  uniform(count: number, from: number, to: number): Float32Array;
  normal(count: number, mean: number, deviation: number): Float32Array;
}

/** A tensor that a method brings. */
export interface ParameterSpec {
  /** Module path and the method's own suffix: "model.layers.0.self_attn.q_proj.lora_A.weight". */
  readonly key: string;
  readonly shape: readonly number[];
  readonly initial: (source: InitialValues) => Float32Array;
}

/**
 * A tensor that a method brings and never trains: a function of its configuration, such as a projection drawn from a
 * seed.
 */
export interface ConstantSpec {
  /** Its name among the method's parameters and constants. */
  readonly key: string;
  readonly shape: readonly number[];
  /** Row-major; the same array at every call. */
  readonly values: () => Float32Array;
}

/**
 * How a method changes a tensor of the base once, before training, and starts from it. The base runs with the changed
 * tensor wherever the method is active. Results are kept on disk, so they may depend on nothing but what is named here.
 */
export interface BaseChange {
  /** The tensor that is replaced. */
  readonly stored: string;
  readonly shape: readonly number[];
  /** All that the results depend on besides the tensor, as text. */
  readonly recipe: string;
  /** Parameters of the method that start with a result. */
  readonly starts: readonly Pick<ParameterSpec, "key" | "shape">[];
  /**
   * @param random depends on the tensor's name alone, so that the base changes in the same way at every loading.
   * @returns the changed tensor, and the starts in the order of `starts`.
   */
  readonly apply: (
    base: Float32Array,
    random: RandomSource,
  ) => { readonly changed: Float32Array; readonly starts: readonly Float32Array[] };
}

/** What a hook may use while the graph is built. */
export interface MethodUse {
  readonly builder: GraphBuilder;
  /** The graph's value of one of the method's parameters or constants. */
  readonly parameter: (key: string) => Value;
  /**
   * A parameter of the base, by its full name, as the model reads it: another method may have put its own in place.
   */
  readonly base: (name: string) => Value;
  /** x scaled by the weight the caller gives this adapter at run time; x itself where adapters have no such weight. */
  readonly weighted: (x: Value) => Value;
  /** What the adapter makes of a value: `to`, or as far towards it as the weight given at run time says. */
  readonly toward: (from: Value, to: Value) => Value;
  /** Dropout while training, x itself otherwise. */
  readonly dropout: (x: Value, ratio: number) => Value;
}

/** Points of the forward pass; each hook wraps what comes before it in the list of methods. */
export interface ForwardHooks {
  /** Around a linear layer: `next` is the layer without this method. */
  linear?(site: LinearSite, x: Value, next: (x: Value) => Value): Value;
  /** Around the token embedding: `lookup` reads the sequence's rows of any table [rows, width]. */
  embedding?(site: EmbeddingSite, next: () => Value, lookup: (table: Value) => Value): Value;
  /** In place of a parameter of the base. */
  parameter?(parameter: BaseParameter): Value | undefined;
  /** Around an attention call; `layer` is its number among them. */
  attention?(call: AttentionCall, next: (call: AttentionCall) => Value, layer: number): Value;
  /** Around the end of a sub-layer. */
  sublayer?(call: SublayerCall, next: (call: SublayerCall) => Value): Value;
  /**
   * Embeddings [`virtualTokens` of the method, size] that stand in front of every row's own. Where rows go on step by
   * step, whoever feeds them sees to it that they come once.
   */
  virtualTokens?(): Value;
}

/** How merging changes one stored tensor of the base. */
export interface MergeRule {
  /** Name of the stored tensor. */
  readonly stored: string;
  /**
   * The one parameter that changes, where other modules share the stored tensor and keep the base's values; left
   * out, the tensor changes for every module that uses it.
   */
  readonly only?: string | undefined;
  /** The merged tensor from the base's, of the same shape. */
  readonly merged: (use: Pick<MethodUse, "builder" | "parameter">, base: Value) => Value;
}

/** An update of the optimiser that has just been made, as a method sees it. Tensors are flat. */
export interface AppliedUpdate {
  /** Updates before this one. */
  readonly step: number;
  /** The values of one of the method's parameters after the update; what is written into them is trained on. */
  readonly parameter: (key: string) => Float32Array;
  /** The gradient of the mean loss that the update was made from, clipped. */
  readonly gradient: (key: string) => Float32Array;
  /** What the rule keeps from update to update. */
  readonly state: (key: string) => Float32Array;
}

/** What a method does after each update. It is a function of what it is given: a resumed run does the same. */
export interface UpdateRule {
  /** What it keeps from update to update: all zero at first, and saved with a run's state. */
  readonly state: readonly Pick<ParameterSpec, "key" | "shape">[];
  /** What it does to the values that a run starts with. */
  readonly start?: ((source: Pick<AppliedUpdate, "parameter">) => void) | undefined;
  readonly apply: (update: AppliedUpdate) => void;
}

/** What training has arrived at. */
export interface SettleSource extends Pick<AppliedUpdate, "parameter" | "state"> {
  /** Of all parameters. */
  readonly keys: readonly string[];
}

/** An adapter that is another one after training. */
export interface Settled<Configuration> {
  readonly configuration: Configuration;
  /** The values, flat, of the parameters of the method bound to that configuration. */
  readonly parameter: (key: string) => Float32Array;
}

/** A method with its configuration, fitted to one model. */
export interface BoundMethod {
  /** What is trained and saved. */
  readonly parameters: readonly ParameterSpec[];
  readonly constants?: readonly ConstantSpec[] | undefined;
  /** Tensors of the base that the method runs with in a changed form. */
  readonly baseChanges?: readonly BaseChange[] | undefined;
  /**
   * For a method that changes the base: the parameters, by their keys, of the method bound to its configuration for
   * the unchanged base, with which that computes the same. `start` is a parameter's value from the change.
   */
  readonly forUnchangedBase?:
    | ((
        use: Pick<MethodUse, "builder" | "parameter"> & { readonly start: (key: string) => Value },
      ) => ReadonlyMap<string, Value>)
    | undefined;
  readonly hooks: (use: MethodUse) => ForwardHooks;
  /**
   * A term that the method adds to the mean loss while it is trained: a scalar made of its parameters. `undefined`
   * where there is nothing to add.
   */
  readonly penalty?: ((use: Pick<MethodUse, "builder" | "parameter">) => Value | undefined) | undefined;
  readonly afterUpdate?: UpdateRule | undefined;
  /** Tokens in front of every row whose embeddings the method makes. */
  readonly virtualTokens?: number | undefined;
  /** Keys in front of every layer's own: they take positions, but are no tokens. */
  readonly prefixKeys?: number | undefined;
  /**
   * Where files keep less than what is trained, such as the result of an encoder: the parameters, by their keys, of the
   * method bound to its condensed configuration.
   */
  readonly condensed?:
    ((use: Pick<MethodUse, "builder" | "parameter">) => ReadonlyMap<string, Value>) | undefined;
  /** Why parameters of these values can be used but not trained on from; `undefined` where they can be trained. */
  readonly fixed?: ((parameter: (key: string) => Float32Array) => string | undefined) | undefined;
  /** Rules of merging, or the reason why the method cannot merge. */
  readonly merge: readonly MergeRule[] | { readonly impossible: string };
}

/** A method: its name in PEFT's `peft_type` and how it fits a model. */
export interface Method<Configuration> {
  readonly type: string;
  /** One line of what the method is, for help texts. */
  readonly summary: string;
  /**
   * @throws DeltafitError `target-unmatched` or `method-unsupported`, before anything is loaded.
   */
  bind(configuration: Configuration, modules: ModuleTable): BoundMethod;
  /**
   * Refuses what an adapter that exists may have and a new one may not, such as a rank above its matrix's own.
   * @throws DeltafitError `config-invalid`, before anything is loaded.
   */
  checkNew?(configuration: Configuration, modules: ModuleTable): void;
  /** The adapter to keep after training, where its rule has made another one of it. */
  settle?(configuration: Configuration, source: SettleSource): Settled<Configuration> | undefined;
  /** The configuration under which a file's adapter is bound, where files keep less than what is trained. */
  condense?(configuration: Configuration, modules: ModuleTable): Configuration;
  /** The configuration of the same adapter for the unchanged base, where the method changes it. */
  forUnchangedBase?(configuration: Configuration): Configuration;
}
