/** Entry point: arguments → command. The launcher (bin/colonnade.mjs) has put us under the pinned Node. */
import { enableCompileCache } from 'node:module'
import { join } from 'node:path'

// Halves the start of each role; where the folder cannot be written, nothing is lost but that.
enableCompileCache(join(import.meta.dirname, '../.cache/compile'))
const { runCli } = await import('./cli/cli.ts')

const exitCode = await runCli(process.argv.slice(2))
// A role goes on after its command has returned; what failed leaves nothing running.
if (exitCode !== 0) process.exit(exitCode)
