/** Builds the agent's role: the node's hardware, weights, engines and word to control. */
import { startAgent as start } from '../agent/agent.ts'
import { createControlClient } from '../agent/client.ts'
import { probeHardware } from '../agent/hardware.ts'
import { threadsOfMachine } from '../agent/reconcile.ts'
import type { PullWeights } from '../agent/runner.ts'
import { llamaCpp } from '../engines/adapters/llama-cpp.ts'
import { systemClock } from '../platform/clock.ts'
import { Fault } from '../platform/fault.ts'
import { createLogger } from '../platform/log.ts'
import { readToken } from './bootstrap.ts'
import type { Config } from './config.ts'
import type { Role } from './lifecycle.ts'

/** Engines get what they need to find their libraries, and nothing of our own environment. */
const enginePath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

export async function startAgent(config: Config, pull: PullWeights): Promise<Role> {
  const { dataDirectory, engine } = config
  const hardware = await probeHardware()
  const agent = await start({
    nodeName: config.agent.nodeName,
    control: createControlClient({
      controlUrl: config.agent.controlUrl ?? `http://127.0.0.1:${config.control.port}`,
      joinToken: findJoinToken(config),
    }),
    hardware,
    dataDirectory,
    adapter: llamaCpp,
    pull,
    host: '127.0.0.1',
    threads: engine.threads ?? threadsOfMachine(hardware.cores),
    parallel: engine.parallel,
    contextWindowTokensMax: engine.contextWindowTokens,
    processEnv: { PATH: enginePath, HOME: dataDirectory },
    clock: systemClock,
    log: createLogger('agent', config.logLevel),
  })
  return {
    name: 'agent',
    url: undefined,
    drain: () => Promise.resolve(),
    // Without its supervisor, streams still run on the gateways: the engines stay for them, and for the next start.
    stop: () => (isOrphaned() ? agent.release() : agent.stop()),
  }
}

/** A role that runs by itself never had a channel; one whose supervisor died has lost it. */
function isOrphaned(): boolean {
  return process.send !== undefined && !process.connected
}

function findJoinToken(config: Config): string {
  const token = config.agent.token ?? readToken(config.dataDirectory, 'agent-token')
  if (token !== undefined) return token
  throw new Fault({
    code: 'client.invalid_request',
    public:
      'The agent needs a join token. Make one with POST /api/v1/tokens (role agent), and set COLONNADE_AGENT_TOKEN.',
  })
}
