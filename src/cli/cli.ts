/** The list of commands, the flags that all of them know, and how their failures are told. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command, CommanderError } from 'commander'
import { Fault } from '../platform/fault.ts'
import { agentCommand } from './agent.ts'
import { auditCommand } from './audit.ts'
import { batchCommand } from './batch.ts'
import { chatCommand } from './chat.ts'
import { CliError, type CliCommand } from './command.ts'
import { conformanceCommand } from './conformance.ts'
import { controlCommand } from './control.ts'
import { creditCommand } from './credit.ts'
import { doctorCommand } from './doctor.ts'
import { engineCommand } from './engine.ts'
import { estimateCommand } from './estimate.ts'
import { gatewayCommand } from './gateway.ts'
import type { GlobalOptions } from './global-options.ts'
import { keyCommand } from './key.ts'
import { limitCommand } from './limit.ts'
import { modelCommand } from './model.ts'
import { createOutput } from './output.ts'
import { planCommand } from './plan.ts'
import { projectCommand } from './project.ts'
import { reconcileCommand } from './reconcile.ts'
import { receiptCommand } from './receipt.ts'
import { serveCommand } from './serve.ts'
import { tenantCommand } from './tenant.ts'
import { tokenCommand } from './token.ts'
import { usageCommand } from './usage.ts'

const commands: readonly CliCommand[] = [
  serveCommand,
  chatCommand,
  modelCommand,
  engineCommand,
  tenantCommand,
  projectCommand,
  keyCommand,
  tokenCommand,
  planCommand,
  limitCommand,
  creditCommand,
  usageCommand,
  batchCommand,
  conformanceCommand,
  estimateCommand,
  receiptCommand,
  reconcileCommand,
  auditCommand,
  doctorCommand,
  gatewayCommand,
  controlCommand,
  agentCommand,
]

const examples = `
Examples:
  colonnade serve                                  start everything on this machine
  colonnade chat                                   talk to the default model
  colonnade engine add http://127.0.0.1:8000       offer the models of a vLLM, Ollama or llama-server
  colonnade model pull hf:owner/name/file.gguf     download a model and run it
  colonnade key create --name my-app               make an API key
  colonnade usage --by model,day                   what was used, and what it cost
`

/** Runs one command line. Returns the exit code; a failure has been told. */
export async function runCli(argv: readonly string[]): Promise<number> {
  const program = new Command('colonnade')
    .description(
      'A sovereign LLM cloud: an OpenAI-compatible API with tenants, keys, prices and billing, on your own machines.',
    )
    .version(readVersion())
    .option('--data <dir>', 'where state lives (COLONNADE_DATA; default ~/.local/share/colonnade)')
    .option('--config <file>', 'configuration file (default DATA/colonnade.yaml)')
    .option('--json', 'print JSON')
    .option(
      '--control-url <url>',
      "the control API's address (COLONNADE_CONTROL_URL; default: the local one)",
    )
    .option(
      '--token <token>',
      'access token (COLONNADE_ADMIN_TOKEN; default: the local operator token)',
    )
    .addHelpText('after', examples)
    .showHelpAfterError("Try 'colonnade --help'.")
    .exitOverride()
  const isJson = argv.includes('--json')
  const output = createOutput(isJson)
  const cli = {
    ...output,
    control: async () => {
      const { connectControl } = await import('./control-client.ts')
      return connectControl(program.opts<GlobalOptions>())
    },
  }
  for (const command of commands) command.register(program, cli)
  acceptGlobalFlags(program)
  try {
    await program.parseAsync([...argv], { from: 'user' })
    return Number(process.exitCode ?? 0)
  } catch (error) {
    return tell(error, isJson)
  }
}

/** The common flags may stand before or after the command. */
function acceptGlobalFlags(program: Command): void {
  const copy = (command: Command): void => {
    for (const inner of command.commands) {
      for (const option of program.options) {
        if (
          option.long === '--version' ||
          inner.options.some((known) => known.long === option.long)
        )
          continue
        inner.addOption(hidden(option))
      }
      inner.exitOverride().showHelpAfterError(`Try '${pathOf(inner)} --help'.`)
      inner.hook('preAction', (_outer, acting) => {
        for (const option of program.options) {
          const name = option.attributeName()
          const value: unknown = acting.getOptionValue(name)
          if (value !== undefined && acting.getOptionValueSource(name) === 'cli')
            program.setOptionValue(name, value)
        }
      })
      copy(inner)
    }
  }
  copy(program)
}

function hidden(option: Command['options'][number]): Command['options'][number] {
  const copy = Object.assign(Object.create(Object.getPrototypeOf(option)), option)
  return copy.hideHelp()
}

function tell(error: unknown, isJson: boolean): number {
  // Commander has printed its own message, or the help that was asked for.
  if (error instanceof CommanderError) return error.exitCode
  const message =
    error instanceof CliError ? error.message : error instanceof Fault ? error.public : undefined
  const text = message ?? (error instanceof Error ? (error.stack ?? error.message) : String(error))
  process.stderr.write(
    isJson ? `${JSON.stringify({ event: 'error', message: text })}\n` : `${text}\n`,
  )
  return 1
}

function readVersion(): string {
  const manifest: unknown = JSON.parse(
    readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8'),
  )
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest
    ? String(manifest.version)
    : 'unknown'
}

/** As it is typed: `colonnade credit grant`. */
function pathOf(command: Command): string {
  return command.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name()
}
