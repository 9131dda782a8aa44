/**
 * @file The public surface of deltafit. What is not exported here may change at any time.
 *
 * @example
 * ```ts
 * import { createAdapter, fineTune, loadTokenizer, loraDefaults, openBase, parseRows, readRows, tokenizeData } from "deltafit";
 *
 * const base = await openBase({ path: "models/smollm2-135m", task: "causal-lm" });
 * const tokenizer = loadTokenizer(base.folder);
 * const data = tokenizeData(parseRows(readRows("data.jsonl"), "causal-lm"), "causal-lm", tokenizer, { sequenceLength: 256 });
 * const configuration = { ...loraDefaults, alpha: 16, targets: ["q_proj", "v_proj"] };
 * const adapter = createAdapter({ base, type: "LORA", configuration, seed: 0 });
 * const plan = { steps: 100, accumulate: 1, learningRate: 5e-4, schedule: "linear", warmup: 6 } as const;
 * const run = { base, tokenizer, adapter, data, plan, batchSize: 8, sequenceLength: 256, seed: 0 };
 * const { losses } = await fineTune({ ...run, out: "my-adapter" });
 * ```
 */

// Errors
export { DeltafitError, errorCodes } from "./errors.ts";
export type { ErrorCode } from "./errors.ts";

// Models
export { openBase } from "./base/base.ts";
export type { Base, OpenBaseOptions } from "./base/base.ts";
export { computeNames, storageNames } from "./base/weight-storage.ts";
export type { Compute, Storage } from "./base/weight-storage.ts";
export { knownModelTypes } from "./models/index.ts";
export type { ForwardContext, Model, Task } from "./models/forward.ts";
export { resolveAdapterFolder, resolveModelFolder } from "./files/hub.ts";
export type { DownloadProgress, HubOptions } from "./files/hub.ts";
export { assertTokenizerFits, loadTokenizer } from "./files/tokenizer.ts";
export type { EncodedInput, Tokenizer } from "./files/tokenizer.ts";
export { encodeChat, renderChat } from "./files/chat-template.ts";
export type { ChatMessage, EncodedChat, RenderChatOptions } from "./files/chat-template.ts";

// Adapters
export { createAdapter, withValues } from "./adapters/adapter.ts";
export type { Adapter, CreateAdapterOptions } from "./adapters/adapter.ts";
export { combineAdapters } from "./adapters/combine.ts";
export type { CombinationType, CombineOptions } from "./adapters/combine.ts";
export type { MajoritySignMethod } from "./adapters/task-vectors.ts";
export { convertToLora } from "./adapters/convert-to-lora.ts";
export type { ConvertedLora, ConvertedModule, ConvertToLoraOptions } from "./adapters/convert-to-lora.ts";
export type { ApproximationError, EnergyShare } from "./adapters/low-rank.ts";
export { createAdapterStack } from "./adapters/create-stack.ts";
export type { CreateAdapterStackOptions, StackedMethod } from "./adapters/create-stack.ts";
export { forUnchangedBase } from "./adapters/condense.ts";
export { loadAdapter, saveAdapter } from "./adapters/folder.ts";
export { loadAdapters, saveAdapterStack } from "./adapters/stack.ts";
export type { StackMember } from "./adapters/stack.ts";
export { inspectAdapter } from "./adapters/inspect.ts";
export type { AdapterInspection } from "./adapters/inspect.ts";
export { mergeAdapters } from "./adapters/merge.ts";
export type { MergedTensor, MergedWeights } from "./adapters/merge.ts";
export { withMergedWeights } from "./adapters/merged-base.ts";
export { writeMergedModel } from "./adapters/merged-model.ts";
export type { MergedModelSummary, WriteMergedModelOptions } from "./adapters/merged-model.ts";
export {
  adoptForeignAdapter,
  foreignFormatNames,
  openForeignAdapter,
  recogniseForeignFormat,
  writableFormatNames,
  writeForeignAdapter,
} from "./conversion/index.ts";
export type { ForeignAdapter, ForeignFormatName, ReadOptions } from "./conversion/index.ts";
export { defaultTargets } from "./adapters/method-table.ts";
export type { MethodConfigurations, MethodType } from "./adapters/method-table.ts";
export type { BitFitConfiguration } from "./methods/bitfit.ts";
export { adaloraDefaults } from "./methods/adalora.ts";
export type { AdaloraConfiguration } from "./methods/adalora.ts";
export { boftDefaults } from "./methods/boft.ts";
export type { BoftConfiguration } from "./methods/boft.ts";
export { bottleneckDefaults } from "./methods/bottleneck.ts";
export type { BottleneckConfiguration } from "./methods/bottleneck.ts";
export { fourierftDefaults } from "./methods/fourierft.ts";
export type { FourierftConfiguration } from "./methods/fourierft.ts";
export type { HeadOnlyConfiguration } from "./methods/head-only.ts";
export { ia3Defaults } from "./methods/ia3.ts";
export type { Ia3Configuration } from "./methods/ia3.ts";
export type { LnTuningConfiguration } from "./methods/ln-tuning.ts";
export { lohaDefaults } from "./methods/loha.ts";
export type { LohaConfiguration } from "./methods/loha.ts";
export { lokrDefaults } from "./methods/lokr.ts";
export type { LokrConfiguration } from "./methods/lokr.ts";
export { loraDefaults } from "./methods/lora.ts";
export type { LoraConfiguration } from "./methods/lora.ts";
export type { LoraStart } from "./methods/lora/start.ts";
export { oftDefaults } from "./methods/oft.ts";
export type { OftConfiguration } from "./methods/oft.ts";
export { pTuningDefaults } from "./methods/p-tuning.ts";
export type { PTuningConfiguration } from "./methods/p-tuning.ts";
export { prefixTuningDefaults } from "./methods/prefix-tuning.ts";
export type { PrefixTuningConfiguration } from "./methods/prefix-tuning.ts";
export { promptTuningDefaults } from "./methods/prompt-tuning.ts";
export type { PromptStart, PromptText, PromptTuningConfiguration } from "./methods/prompt-tuning.ts";
export type { TrainableTokensConfiguration } from "./methods/trainable-tokens.ts";
export { vbloraDefaults } from "./methods/vblora.ts";
export type { VbloraConfiguration } from "./methods/vblora.ts";
export { veraDefaults } from "./methods/vera.ts";
export type { VeraConfiguration } from "./methods/vera.ts";
export type { LoraPlusSettings } from "./training/lora-plus.ts";
export type { ModuleNames, TargetSettings } from "./methods/targets.ts";
export type { LayoutEntry, ParameterLayout } from "./methods/layout.ts";

// Data
export { readRowFile, readRows } from "./data/read-rows.ts";
export type { DataSplit, Row, RowFile } from "./data/read-rows.ts";
export { parseRows } from "./data/formats.ts";
export type { DataFormat, DataRecord, ParsedData } from "./data/formats.ts";
export { tokenizeData } from "./data/examples.ts";
export type { Dataset, DatasetOptions, DatasetReport } from "./data/examples.ts";
export type { TokenizedExample } from "./data/tokenized-example.ts";
export { describeExample } from "./data/describe-example.ts";
export { batches, collate } from "./data/batches.ts";
export type { Batch, BatchCursor, BatchesOptions, PaddingOptions } from "./data/batches.ts";
export type { PackingOptions } from "./data/packing.ts";

// Training
export { checkpointFolder } from "./fine-tuning/checkpoint-folder.ts";
export { evaluationBatches, fineTune } from "./fine-tuning/fine-tune.ts";
export type { FineTuneOptions, FineTuneResult } from "./fine-tuning/fine-tune.ts";
export { runTraining } from "./training/run.ts";
export type {
  Evaluation,
  RunOptions,
  TrainingEvent,
  TrainingPlan,
  TrainingProgress,
} from "./training/run.ts";
export { Trainer } from "./training/trainer.ts";
export type { StepResult, TrainerOptions } from "./training/trainer.ts";
export { languageObjective, moduleObjective } from "./training/objective.ts";
export type { LanguageObjectiveOptions, ModuleBatch, Objective } from "./training/objective.ts";
export type { TaskBatch } from "./tasks/feeds.ts";
export { adamWDefaults } from "./training/optimiser.ts";
export type { AdamWSettings, OptimiserState, ParameterGroups } from "./training/optimiser.ts";
export { scheduleFactor } from "./training/schedule.ts";
export type { ScheduleName } from "./training/schedule.ts";

// Evaluation and generation
export { Evaluator } from "./evaluation/evaluator.ts";
export type { EvaluatorOptions, Metrics } from "./evaluation/evaluator.ts";
export { Embedder } from "./generation/embedder.ts";
export type { EmbedderOptions } from "./generation/embedder.ts";
export type { Pooling } from "./tasks/graphs.ts";
export { createGenerator } from "./generation/generate.ts";
export type {
  GenerationAdapter,
  GenerationResult,
  Generator,
  GeneratorOptions,
} from "./generation/generate.ts";
export { encodePrompt, generateText, streamText } from "./generation/generate-text.ts";
export type { GeneratedText, TextFinishReason, TextRequest, TextResult } from "./generation/generate-text.ts";
export type {
  FinishReason,
  GeneratedToken,
  GenerationRequest,
  GenerationSettings,
  WeightedAdapter,
} from "./generation/request.ts";
export type { SamplingSettings } from "./generation/sampling.ts";

// Modules and graphs of one's own
export { openModule } from "./base/own-module.ts";
export type { ModuleBase, ModuleContext, OwnModule } from "./base/own-module.ts";
export { GraphBuilder } from "./graph/builder.ts";
export type { GemmOptions } from "./graph/builder.ts";
export { gradient } from "./graph/gradient.ts";
export { graphOf } from "./graph/graph.ts";
export type { Graph, GraphOutput, Value } from "./graph/graph.ts";
export { print as printGraph } from "./graph/print.ts";
export { cpu } from "./runtime/cpu.ts";
export type { Device, Session, SessionOptions, WeightLocation } from "./runtime/session.ts";
export { float32Tensor, int64Tensor } from "./tensor/tensor.ts";
export type { DataType, Tensor } from "./tensor/tensor.ts";
