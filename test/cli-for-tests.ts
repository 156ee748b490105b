/** Commands against the control API of a test, without a process of their own. */
import { Command } from 'commander'
import { CliError, type Cli, type CliCommand } from '../src/cli/command.ts'
import { renderTable } from '../src/cli/output.ts'
import type { ControlPlatform } from './control-platform.ts'

/** Returns what the command says to people, run by an operator. */
export async function runCommand(
  platform: ControlPlatform,
  commands: readonly CliCommand[],
  line: string,
): Promise<string> {
  const token = platform.actor('platform', 'operator').secret
  let said = ''
  const cli: Cli = {
    say() {},
    result(_value, human) {
      said = human()
    },
    table: renderTable,
    progress() {},
    control: async () => ({
      async call(method, path, body) {
        const at = path.slice('/api/v1'.length)
        const answer = await platform.call({ method, path: at, body, token })
        if (answer.status === 200) return answer.body
        throw new CliError(answer.body.error.message)
      },
    }),
  }
  const program = new Command().exitOverride()
  for (const command of commands) command.register(program, cli)
  await program.parseAsync(line.split(' '), { from: 'user' })
  return said
}
