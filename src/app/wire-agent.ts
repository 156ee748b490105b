/** Builds the agent's role: the node's hardware, weights, engines and word to control. */
import { join } from 'node:path'
import { startAgent as start } from '../agent/agent.ts'
import { createControlClient } from '../agent/client.ts'
import { probeHardware } from '../agent/hardware.ts'
import { threadsOfMachine } from '../agent/reconcile.ts'
import type { PullWeights } from '../agent/runner.ts'
import { llamaCpp } from '../engines/adapters/llama-cpp.ts'
import { systemClock } from '../platform/clock.ts'
import { Fault } from '../platform/fault.ts'
import { createLogger, type Logger } from '../platform/log.ts'
import { describePull } from '../weights/progress.ts'
import { pullWeights, type WeightSettings } from '../weights/weights.ts'
import { foreignEnvironment, type Config } from './config.ts'
import type { Role } from './lifecycle.ts'
import { readToken } from './tokens.ts'

/** What an engine may need of our environment: where its libraries and devices are. */
const engineVariables = /^(PATH|HOME|LANG|TMPDIR|LD_LIBRARY_PATH|CUDA_VISIBLE_DEVICES)$/

export async function startAgent(config: Config): Promise<Role> {
  const log = createLogger('agent', config.logLevel)
  const hardware = await probeHardware()
  // What is Colonnade's own in it goes to nobody: pip and engines are given a choice of the rest.
  const environment = foreignEnvironment()
  const agent = await start({
    nodeName: config.agent.nodeName,
    control: createControlClient({
      controlUrl: config.agent.controlUrl ?? `http://127.0.0.1:${config.control.port}`,
      joinToken: findJoinToken(config),
    }),
    hardware,
    dataDirectory: config.dataDirectory,
    adapter: llamaCpp,
    pull: createPull(
      {
        directory: join(config.dataDirectory, 'weights'),
        ...config.weights,
        proxy: config.proxy,
        environment,
      },
      log,
    ),
    host: '127.0.0.1',
    threads: config.engine.threads ?? threadsOfMachine(hardware.cores),
    parallel: config.engine.parallel,
    contextWindowTokensMax: config.engine.contextWindowTokens,
    processEnv: pick(environment, engineVariables),
    clock: systemClock,
    log,
  })
  return {
    name: 'agent',
    url: undefined,
    drain: () => Promise.resolve(),
    // Without its supervisor, streams still run on the gateways: the engines stay for them, and for the next start.
    stop: () => (isOrphaned() ? agent.release() : agent.stop()),
  }
}

/** Sources that were passed over stay in sight: they are the reason why a pull takes another way. */
function createPull(settings: WeightSettings, log: Logger): PullWeights {
  return async (deployment, progress, signal) => {
    const skipped: string[] = []
    return await pullWeights({
      sources: deployment.weightSources,
      sha256: deployment.weightSha256,
      settings,
      signal,
      onProgress(event) {
        const { fraction, detail } = describePull(event)
        if (event.event === 'source-skipped') {
          log.warn({ modelId: deployment.modelId, detail }, 'a source of weights was passed over')
          skipped.push(detail)
        }
        progress(fraction, [detail, ...skipped.filter((text) => text !== detail)].join('; '))
      },
    })
  }
}

/** A role that runs by itself never had a channel; one whose supervisor died has lost it. */
function isOrphaned(): boolean {
  return process.send !== undefined && !process.connected
}

function findJoinToken(config: Config): string {
  const token = config.agent.token ?? readToken(config.dataDirectory, 'agent-token')
  if (token !== undefined && token !== '') return token
  throw new Fault({
    code: 'client.invalid_request',
    public:
      'The agent needs a join token. Make one with: colonnade token create --name NODE --role agent, and set COLONNADE_AGENT_TOKEN.',
  })
}

function pick(environment: NodeJS.ProcessEnv, names: RegExp): Record<string, string> {
  const picked: Record<string, string> = {}
  for (const [name, value] of Object.entries(environment)) {
    if (value !== undefined && names.test(name)) picked[name] = value
  }
  return picked
}
