/** `colonnade control`: this role alone, for installations with several machines. */
import { readConfig } from '../app/config.ts'
import { runRole } from '../app/lifecycle.ts'
import { startControl } from '../app/wire-control.ts'
import { createLogger } from '../platform/log.ts'
import type { CliCommand } from './command.ts'

export const controlCommand: CliCommand = {
  register(program) {
    program
      .command('control')
      .description(
        'run the control role alone (settings come from the environment and the configuration file)',
      )
      .action(async () => {
        const { data, config: configFile } = program.opts<{ data?: string; config?: string }>()
        const config = readConfig({ dataDirectory: data, configFile })
        await runRole(createLogger('control', config.logLevel), () => startControl(config))
      })
  },
}
