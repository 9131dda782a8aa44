/**
 * @file The table of methods by `peft_type`, with the type of each one's configuration and how its adapters are
 * stored. A new method is one row; nothing else in this room names a method.
 */
import { DeltafitError } from "../errors.ts";
import { quote } from "../files/quote.ts";
import type { Method } from "../methods/contract.ts";
import { full } from "../methods/full.ts";
import { lora } from "../methods/lora.ts";
import type { LoraConfiguration } from "../methods/lora.ts";
import { vera } from "../methods/vera.ts";
import type { VeraConfiguration } from "../methods/vera.ts";
import { vblora } from "../methods/vblora.ts";
import type { VbloraConfiguration } from "../methods/vblora.ts";
import { ia3 } from "../methods/ia3.ts";
import type { Ia3Configuration } from "../methods/ia3.ts";
import { loha } from "../methods/loha.ts";
import type { LohaConfiguration } from "../methods/loha.ts";
import { lokr } from "../methods/lokr.ts";
import type { LokrConfiguration } from "../methods/lokr.ts";
import { trainableTokens } from "../methods/trainable-tokens.ts";
import type { TrainableTokensConfiguration } from "../methods/trainable-tokens.ts";
import { lnTuning } from "../methods/ln-tuning.ts";
import type { LnTuningConfiguration } from "../methods/ln-tuning.ts";
import { bitFit } from "../methods/bitfit.ts";
import type { BitFitConfiguration } from "../methods/bitfit.ts";
import { headOnly } from "../methods/head-only.ts";
import type { HeadOnlyConfiguration } from "../methods/head-only.ts";
import { fourierft } from "../methods/fourierft.ts";
import type { FourierftConfiguration } from "../methods/fourierft.ts";
import { prefixTuning } from "../methods/prefix-tuning.ts";
import type { PrefixTuningConfiguration } from "../methods/prefix-tuning.ts";
import { promptTuning } from "../methods/prompt-tuning.ts";
import type { PromptTuningConfiguration } from "../methods/prompt-tuning.ts";
import { pTuning } from "../methods/p-tuning.ts";
import type { PTuningConfiguration } from "../methods/p-tuning.ts";
import { adalora } from "../methods/adalora.ts";
import type { AdaloraConfiguration } from "../methods/adalora.ts";
import { boft } from "../methods/boft.ts";
import type { BoftConfiguration } from "../methods/boft.ts";
import { bottleneck } from "../methods/bottleneck.ts";
import type { BottleneckConfiguration } from "../methods/bottleneck.ts";
import { oft } from "../methods/oft.ts";
import type { OftConfiguration } from "../methods/oft.ts";
import type { ModuleNames } from "../methods/targets.ts";
import type { AdapterFormat } from "./adapter-format.ts";
import { bitFitFormat } from "./bitfit-format.ts";
import { headOnlyFormat } from "./head-only-format.ts";
import { prefixTuningFormat } from "./prefix-tuning-format.ts";
import { promptTuningFormat } from "./prompt-tuning-format.ts";
import { pTuningFormat } from "./p-tuning-format.ts";
import { adaloraFormat } from "./adalora-format.ts";
import { boftFormat } from "./boft-format.ts";
import { oftFormat } from "./oft-format.ts";
import { bottleneckFormat } from "./bottleneck-format.ts";
import { defaultTargetsOf } from "./default-targets.ts";
import { loraFormat } from "./lora-format.ts";
import { fourierftFormat } from "./fourierft-format.ts";
import { lnTuningFormat } from "./ln-tuning-format.ts";
import { trainableTokensFormat } from "./trainable-tokens-format.ts";
import { lokrFormat } from "./lokr-format.ts";
import { lohaFormat } from "./loha-format.ts";
import { ia3Format } from "./ia3-format.ts";
import { veraFormat } from "./vera-format.ts";
import { vbloraFormat } from "./vblora-format.ts";

/** The configuration of each method. */
export interface MethodConfigurations {
  readonly LORA: LoraConfiguration;
  readonly VERA: VeraConfiguration;
  readonly VBLORA: VbloraConfiguration;
  readonly IA3: Ia3Configuration;
  readonly LOHA: LohaConfiguration;
  readonly LOKR: LokrConfiguration;
  readonly TRAINABLE_TOKENS: TrainableTokensConfiguration;
  readonly LN_TUNING: LnTuningConfiguration;
  readonly BITFIT: BitFitConfiguration;
  readonly HEAD_ONLY: HeadOnlyConfiguration;
  readonly FOURIERFT: FourierftConfiguration;
  readonly PREFIX_TUNING: PrefixTuningConfiguration;
  readonly PROMPT_TUNING: PromptTuningConfiguration;
  readonly P_TUNING: PTuningConfiguration;
  readonly BOTTLENECK: BottleneckConfiguration;
  readonly ADALORA: AdaloraConfiguration;
  readonly OFT: OftConfiguration;
  readonly BOFT: BoftConfiguration;
  readonly FULL: Readonly<Record<never, never>>;
}

export type MethodType = keyof MethodConfigurations;

export interface MethodEntry<Configuration> {
  readonly method: Method<Configuration>;
  /** The configuration with modules of the base trained whole besides. */
  readonly withSavedModules: (configuration: Configuration, names: readonly string[]) => Configuration;
  /** How its adapters are stored; `undefined` where there is no PEFT format for it. */
  readonly format: AdapterFormat<Configuration> | undefined;
}

function addSavedModules<Configuration extends { readonly modulesToSave?: readonly string[] | undefined }>(
  configuration: Configuration,
  names: readonly string[],
): Configuration {
  return {
    ...configuration,
    modulesToSave: [...new Set([...(configuration.modulesToSave ?? []), ...names])],
  };
}

function refuseSavedModules<Configuration>(
  configuration: Configuration,
  names: readonly string[],
): Configuration {
  if (names.length === 0) return configuration;
  throw new DeltafitError(
    "method-unsupported",
    `The method trains no modules of the base besides, which ${names.join(", ")} would need.`,
    "Use a method with modules_to_save, such as LoRA with trained tokens.",
  );
}

export const methodTable: { readonly [Type in MethodType]: MethodEntry<MethodConfigurations[Type]> } = {
  LORA: { method: lora, withSavedModules: addSavedModules, format: loraFormat },
  VERA: { method: vera, withSavedModules: addSavedModules, format: veraFormat },
  VBLORA: { method: vblora, withSavedModules: addSavedModules, format: vbloraFormat },
  IA3: { method: ia3, withSavedModules: addSavedModules, format: ia3Format },
  LOHA: { method: loha, withSavedModules: addSavedModules, format: lohaFormat },
  LOKR: { method: lokr, withSavedModules: addSavedModules, format: lokrFormat },
  TRAINABLE_TOKENS: {
    method: trainableTokens,
    withSavedModules: refuseSavedModules,
    format: trainableTokensFormat,
  },
  LN_TUNING: { method: lnTuning, withSavedModules: addSavedModules, format: lnTuningFormat },
  BITFIT: { method: bitFit, withSavedModules: addSavedModules, format: bitFitFormat },
  HEAD_ONLY: { method: headOnly, withSavedModules: addSavedModules, format: headOnlyFormat },
  FOURIERFT: { method: fourierft, withSavedModules: addSavedModules, format: fourierftFormat },
  PREFIX_TUNING: { method: prefixTuning, withSavedModules: addSavedModules, format: prefixTuningFormat },
  PROMPT_TUNING: { method: promptTuning, withSavedModules: addSavedModules, format: promptTuningFormat },
  P_TUNING: { method: pTuning, withSavedModules: addSavedModules, format: pTuningFormat },
  BOTTLENECK: { method: bottleneck, withSavedModules: addSavedModules, format: bottleneckFormat },
  ADALORA: { method: adalora, withSavedModules: addSavedModules, format: adaloraFormat },
  OFT: { method: oft, withSavedModules: addSavedModules, format: oftFormat },
  BOFT: { method: boft, withSavedModules: addSavedModules, format: boftFormat },
  FULL: { method: full, withSavedModules: (configuration) => configuration, format: undefined },
};

/** Whether a method can train whole modules of the base besides, such as a task's head. */
export function trainsModules(type: MethodType): boolean {
  return methodTable[type].withSavedModules !== refuseSavedModules;
}

/** Whether `peft_type` is that of a method deltafit implements. */
function isMethodType(type: string): type is MethodType {
  return Object.hasOwn(methodTable, type);
}

/** The `peft_type`s whose adapter folders deltafit reads and writes, sorted. */
const storedMethodTypes: readonly string[] = Object.entries(methodTable)
  .flatMap(([type, { format }]) => (format === undefined ? [] : [type]))
  .sort();

/**
 * The modules PEFT adapts where none are named.
 * @throws DeltafitError `target-unmatched` where PEFT has no default for the architecture.
 */
export function defaultTargets(type: MethodType, modelType: string): ModuleNames {
  return defaultTargetsOf(methodTable[type].format?.defaultTargets ?? {}, modelType);
}

/** @throws DeltafitError `method-unsupported` where the method has no adapter folders. */
export function formatOf<Type extends MethodType>(type: Type): AdapterFormat<MethodConfigurations[Type]> {
  const entry: MethodEntry<MethodConfigurations[Type]> = methodTable[type];
  if (entry.format !== undefined) return entry.format;
  throw new DeltafitError(
    "method-unsupported",
    `The method ${type} has no adapter folder in PEFT's format.`,
    "Merge it into the base, and write the whole model.",
  );
}

/** @throws DeltafitError `method-unsupported` for a `peft_type` that deltafit does not implement. */
export function requireMethodType(type: string, where: string): MethodType {
  if (isMethodType(type)) return type;
  throw new DeltafitError(
    "method-unsupported",
    `${where}: peft_type is ${quote(type)}, which deltafit does not implement.`,
    `It reads adapters of the methods ${storedMethodTypes.join(", ")}.`,
  );
}
