/** Entry point: arguments → command. The launcher (bin/colonnade.mjs) has put us under the pinned Node. */
import { runCli } from './cli/cli.ts'

process.exitCode = await runCli(process.argv.slice(2))
