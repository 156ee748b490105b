/** `colonnade agent`: this role alone, for installations with several machines. */
import { readConfig } from '../app/config.ts'
import { runRole } from '../app/lifecycle.ts'
import { startAgent } from '../app/wire-agent.ts'
import { createLogger } from '../platform/log.ts'
import type { CliCommand } from './command.ts'

export const agentCommand: CliCommand = {
  register(program) {
    program
      .command('agent')
      .description(
        'run the agent role alone (settings come from the environment and the configuration file)',
      )
      .action(async () => {
        const { data, config: configFile } = program.opts<{ data?: string; config?: string }>()
        const config = readConfig({ dataDirectory: data, configFile })
        await runRole(createLogger('agent', config.logLevel), () => startAgent(config))
      })
  },
}
