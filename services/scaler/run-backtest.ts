import { text } from "node:stream/consumers";
import type { BacktestInput } from "../../schemas/backtest.ts";
import { comparePolicies } from "./backtest/compare-policies.ts";

// A program of its own: whoever wants a backtest runs it, gives the input as JSON and reads the result as JSON. It takes as long
// as it takes, and no service waits for it.
const input = JSON.parse(await text(process.stdin)) as BacktestInput;
process.stdout.write(`${JSON.stringify(comparePolicies(input))}\n`);
