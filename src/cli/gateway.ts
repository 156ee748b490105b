/** `colonnade gateway`: this role alone, for installations with several machines. */
import { readConfig } from '../app/config.ts'
import { runRole } from '../app/lifecycle.ts'
import { startGateway } from '../app/wire-gateway.ts'
import { createLogger } from '../platform/log.ts'
import type { CliCommand } from './command.ts'

export const gatewayCommand: CliCommand = {
  register(program) {
    program
      .command('gateway')
      .description(
        'run the gateway role alone (settings come from the environment and the configuration file)',
      )
      .action(async () => {
        const { data, config: configFile } = program.opts<{ data?: string; config?: string }>()
        const config = readConfig({ dataDirectory: data, configFile })
        await runRole(createLogger('gateway', config.logLevel), () => startGateway(config))
      })
  },
}
