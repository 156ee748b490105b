/** What a command file exports, and what it gets. One file a command, listed in cli.ts. */
import type { Command } from 'commander'

export interface ControlClient {
  /** Calls the control API and returns its JSON. Throws a `CliError` with the server's message, and what to do, on any failure. */
  call(
    method: 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE',
    path: string,
    body?: unknown,
  ): Promise<unknown>
}

export interface Cli {
  /** Prints a line for people; nothing under `--json`. */
  say(line: string): void
  /** Prints the result: a JSON document under `--json`, otherwise what `human` renders. */
  result(value: unknown, human: () => string): void
  /** Renders rows as an aligned table. */
  table(columns: readonly string[], rows: readonly (readonly string[])[]): string
  /** Progress on standard error: a bar on a terminal, a line now and then elsewhere. `fraction` is 0..1, or undefined while unknown. */
  progress(label: string, fraction: number | undefined): void
  /** Connects with the address and token of `--control-url`/`--token`, the environment, or the local data folder. */
  control(): Promise<ControlClient>
}

export interface CliCommand {
  register(program: Command, cli: Cli): void
}

/** An error whose text tells the user what to do; printed without a stack, exit code 1. */
export class CliError extends Error {
  override readonly name = 'CliError'
}
