/**
 * @file Bounds the time of synchronous code whose running time a file decides: regular expressions of a
 * tokenizer, loops of a template. Knows nothing of what it runs.
 */
import vm from "node:vm";

const timeoutCode = "ERR_SCRIPT_EXECUTION_TIMEOUT";

/** Whether an action is running: limits inside it count for nothing. */
let isLimited = false;
let guard: { readonly context: vm.Context; readonly script: vm.Script } | undefined;

/**
 * Runs `action` and returns its result. V8's watchdog ends it after `limitMs`, in the middle of a loop or of
 * a regular expression's backtracking; then the error of `onTimeout` is thrown. Inside another
 * limited action the outer limit alone counts, so that many short actions can share one: a limit starts a
 * thread, which takes 50 microseconds and, on a busy machine, a millisecond.
 */
export function withTimeLimit<Result>(limitMs: number, action: () => Result, onTimeout: () => Error): Result {
  if (isLimited) return action();
  const results: Result[] = [];
  guard ??= { context: vm.createContext({}), script: new vm.Script("action()") };
  guard.context["action"] = (): void => {
    results.push(action());
  };
  isLimited = true;
  try {
    guard.script.runInContext(guard.context, { timeout: limitMs });
  } catch (error) {
    // The watchdog's error belongs to another realm, where `instanceof` does not hold.
    const isTimeout =
      typeof error === "object" && error !== null && "code" in error && error.code === timeoutCode;
    throw isTimeout ? onTimeout() : error;
  } finally {
    isLimited = false;
    guard.context["action"] = undefined;
  }
  return results[0] as Result;
}
