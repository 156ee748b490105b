/** Entry point: arguments → command. The launcher (bin/colonnade.mjs) has put us under the pinned Node. */
import { runCli } from './cli/cli.ts'

const exitCode = await runCli(process.argv.slice(2))
// A role goes on after its command has returned; what failed leaves nothing running.
if (exitCode !== 0) process.exit(exitCode)
