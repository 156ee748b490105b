/** `colonnade agent`: this role alone, on each machine that runs models. */
import type { GlobalOptions } from './global-options.ts'
import type { CliCommand } from './command.ts'

export const agentCommand: CliCommand = {
  register(program) {
    program
      .command('agent')
      .description('run the agent role alone; settings come from the environment and the file')
      .action(() => run(program.opts<GlobalOptions>()))
  },
}

/** Each role loads only what it needs, so that one that died is back soon. */
async function run(globals: GlobalOptions): Promise<void> {
  const { readConfig } = await import('../app/config.ts')
  const { runRole } = await import('../app/lifecycle.ts')
  const { startAgent } = await import('../app/wire-agent.ts')
  const { createLogger } = await import('../platform/log.ts')
  const config = readConfig({ dataDirectory: globals.data, configFile: globals.config })
  await runRole(createLogger('agent', config.logLevel), () => startAgent(config))
}
