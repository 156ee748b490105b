/** What the long proofs have in common as commands: `--help`, a seed that is printed and can be given, lines of progress. */
import { parseArgs, type ParseArgsOptionDescriptor } from 'node:util'

export interface CommandOption {
  readonly name: string
  readonly means: string
  /** Without one it is a switch. */
  readonly value?: { readonly placeholder: string; readonly usually?: string }
}

export interface CommandLine {
  readonly seed: number
  readonly record: boolean
  text(name: string): string | undefined
  number(name: string): number
  has(name: string): boolean
}

const common: readonly CommandOption[] = [
  { name: 'seed', means: 'what chance is derived from', value: { placeholder: 'N' } },
  { name: 'record', means: 'write the result to docs/reliability.md' },
  { name: 'help', means: 'this text' },
]

/** Prints the help and ends the process when asked to, or when an option is unknown. */
export function readCommandLine(
  command: string,
  purpose: string,
  own: readonly CommandOption[],
): CommandLine {
  const options = [...own, ...common]
  const values = parse(options, command, purpose)
  const text = (name: string): string | undefined => {
    const value = values[name]
    return typeof value === 'string' ? value : undefined
  }
  const number = (name: string): number => {
    const value = Number(text(name))
    if (!Number.isFinite(value) || value < 0) end(`--${name} takes a number`, 2)
    return value
  }
  const seed = text('seed') === undefined ? Math.floor(Math.random() * 2 ** 31) : number('seed')
  const given = options.flatMap((option) => {
    const value = values[option.name]
    if (option.name === 'seed' || option.name === 'record' || value === undefined) return []
    return typeof value === 'string' ? [`--${option.name} ${value}`] : [`--${option.name}`]
  })
  say(`Seed ${seed}. Again with: ${[command, '--', ...given, `--seed ${seed}`].join(' ')}`)
  return {
    seed,
    record: values['record'] === true,
    text,
    number,
    has: (name) => values[name] !== undefined,
  }
}

function parse(
  options: readonly CommandOption[],
  command: string,
  purpose: string,
): Record<string, unknown> {
  const help = [
    `${command} -- [options]`,
    '',
    purpose,
    '',
    ...options.map(({ name, value, means }) => {
      const usage = value ? `--${name} ${value.placeholder}` : `--${name}`
      return `  ${usage.padEnd(20)} ${means}${value?.usually ? ` (${value.usually})` : ''}`
    }),
  ].join('\n')
  const descriptors = options.map(({ name, value }): [string, ParseArgsOptionDescriptor] => [
    name,
    value
      ? { type: 'string', ...(value.usually === undefined ? {} : { default: value.usually }) }
      : { type: 'boolean' },
  ])
  try {
    const { values } = parseArgs({ options: Object.fromEntries(descriptors) })
    if (values['help']) end(help, 0)
    return values
  } catch (error) {
    return end(`${error instanceof Error ? error.message : String(error)}\n\n${help}`, 2)
  }
}

function end(text: string, exitCode: number): never {
  say(text)
  process.exit(exitCode)
}

export function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
