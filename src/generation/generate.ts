/**
 * @file Generating token ids from a base model with adapters: batches of prompts, ends of rows, streaming, switching
 * adapters. Knows no text.
 */
import { join } from "node:path";
import { z } from "zod";
import type { Base } from "../base/base.ts";
import { DeltafitError } from "../errors.ts";
import { parseWithSchema, readJsonFile } from "../files/json.ts";
import { isFile } from "../files/paths.ts";
import { cpu } from "../runtime/cpu.ts";
import type { Session } from "../runtime/session.ts";
