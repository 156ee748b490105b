/** Commands without a process of their own. */
import { Command } from 'commander'
import { CliError, type Cli, type CliCommand, type ControlClient } from '../src/cli/command.ts'
import { renderTable } from '../src/cli/output.ts'
import type { ControlPlatform } from './control-platform.ts'

/** Returns what the command says to people. */
export async function runCommand(
  commands: readonly CliCommand[],
  words: readonly string[],
  control: ControlClient,
): Promise<string> {
  let said = ''
  const cli: Cli = {
    say() {},
    result(_value, human) {
      said = human()
    },
    table: renderTable,
    progress() {},
    control: () => Promise.resolve(control),
  }
  const program = new Command().exitOverride()
  for (const command of commands) command.register(program, cli)
  await program.parseAsync(words, { from: 'user' })
  return said
}

/** An operator at the control API of a test. */
export function operatorAt(platform: ControlPlatform): ControlClient {
  const token = platform.actor('platform', 'operator').secret
  return {
    async call(method, path, body) {
      const at = path.slice('/api/v1'.length)
      const answer = await platform.call({ method, path: at, body, token })
      if (answer.status === 200) return answer.body
      throw new CliError(answer.body.error.message)
    },
  }
}
