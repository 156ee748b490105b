/** A platform of one's own with a stub engine instead of models: quick to start, and nobody minds when its parts are killed. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { control, startPlatform, type Platform, type StartOptions } from './platform.ts'
import { descendantsOf } from './processes.ts'
import { startStubEngine, type StubEngine } from './stub-engine.ts'
import { until } from './until.ts'

export interface StubbedPlatform extends Omit<Platform, 'stop'> {
  readonly engine: StubEngine
  readonly apiUrl: string
  readonly apiKey: string
  readonly adminToken: string
  readonly supervisorPid: number
  control(method: string, path: string, body?: unknown): Promise<unknown>
  /** One whole answer of so many tokens. */
  chat(model: string, tokens: number): Promise<Response>
  /** The process id of a role, found in the process table. */
  roleProcess(role: 'gateway' | 'control' | 'agent' | 'postgres'): number
  stop(): Promise<void>
}

export interface StubbedOptions extends Omit<StartOptions, 'dataDirectory'> {
  /** More lines for colonnade.yaml. */
  readonly configuration?: string
  /** Used instead of a new one, and left running. */
  readonly engine?: StubEngine
  /** Of the first start on this data folder; it knows the engine, too. */
  readonly secrets?: Pick<StubbedPlatform, 'apiKey' | 'adminToken'> | undefined
}

const replicaTimeoutMs = 10_000

export async function startWithStub(
  dataDirectory: string,
  { configuration = '', engine: given, secrets, ...options }: StubbedOptions = {},
): Promise<StubbedPlatform> {
  writeFileSync(join(dataDirectory, 'colonnade.yaml'), `defaultModels: false\n${configuration}`)
  const engine = given ?? (await startStubEngine())
  const platform = await startPlatform({ dataDirectory, ...options }).catch(async (error) => {
    if (!given) await engine.close()
    throw error
  })
  const { apiUrl, controlUrl } = platform.ready
  const { apiKey = '', adminToken = '' } = secrets ?? platform.ready
  const supervisorPid = findSupervisor(platform)
  const self: StubbedPlatform = {
    ...platform,
    engine,
    apiUrl,
    apiKey,
    adminToken,
    supervisorPid,
    control: (method, path, body) => control({ controlUrl, adminToken }, method, path, body),
    chat: (model, tokens) =>
      fetch(`${apiUrl}/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
        body: JSON.stringify({
          model,
          max_completion_tokens: tokens,
          messages: [{ role: 'user', content: 'tick' }],
        }),
        signal: AbortSignal.timeout(30_000),
      }),
    roleProcess: (role) => findRole(supervisorPid, role),
    async stop() {
      await platform.stop()
      if (!given) await engine.close()
    },
  }
  try {
    if (!secrets)
      await self.control('POST', '/api/v1/engines', { url: engine.url, category: 'chat' })
    await until('the stub engine serves', replicaTimeoutMs, () =>
      secrets ? offersModels(self) : answers(self),
    )
    return self
  } catch (error) {
    await self.stop()
    throw error
  }
}

async function answers(at: StubbedPlatform): Promise<boolean> {
  const response = await at.chat('stub/quick:1', 1)
  await response.text()
  return response.ok
}

/** Asked of a platform whose ledger shall stay as it is. */
async function offersModels(at: StubbedPlatform): Promise<boolean> {
  const response = await fetch(`${at.apiUrl}/models`, {
    headers: { authorization: `Bearer ${at.apiKey}` },
  })
  return (await response.text()).includes('stub/quick:1')
}

/** The launcher's only child. */
function findSupervisor(platform: Platform): number {
  const supervisor = descendantsOf(platform.child.pid ?? 0)[0]
  if (!supervisor) throw new Error('the launcher has no child')
  return supervisor.pid
}

function findRole(supervisorPid: number, role: string): number {
  const children = descendantsOf(supervisorPid)
  const found = children.find(({ command }) =>
    role === 'postgres'
      ? / -D .*cluster/.test(command)
      : new RegExp(`main\\.ts ${role}\\b`).test(command),
  )
  if (!found) {
    throw new Error(`no ${role} among ${children.map((entry) => entry.command).join(' | ')}`)
  }
  return found.pid
}
