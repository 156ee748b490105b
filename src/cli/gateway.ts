/** `colonnade gateway`: this role alone, for installations with several machines. */
import type { GlobalOptions } from './global-options.ts'
import type { CliCommand } from './command.ts'

export const gatewayCommand: CliCommand = {
  register(program) {
    program
      .command('gateway')
      .description('run the gateway role alone; settings come from the environment and the file')
      .action(() => run(program.opts<GlobalOptions>()))
  },
}

/** Each role loads only what it needs, so that one that died is back soon. */
async function run(globals: GlobalOptions): Promise<void> {
  const { readConfig } = await import('../app/config.ts')
  const { runRole } = await import('../app/lifecycle.ts')
  const { prepareGateway } = await import('../app/standalone.ts')
  const { startGateway } = await import('../app/wire-gateway.ts')
  const { createLogger } = await import('../platform/log.ts')
  const config = readConfig({ dataDirectory: globals.data, configFile: globals.config })
  await runRole(createLogger('gateway', config.logLevel), async () =>
    startGateway(prepareGateway(config)),
  )
}
