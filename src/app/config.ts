/**
 * The only reader of the environment and of the configuration file. Flags win over the environment, which wins over the file; the result
 * is frozen. What changes while the platform runs (tenants, prices, engines) is in the database, never here.
 */
import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { homedir, hostname } from 'node:os'
import { join, resolve } from 'node:path'
import { parse as parseYaml } from 'yaml'
import { z } from 'zod'
import { Fault } from '../platform/fault.ts'

const port = z.coerce.number().int().min(0).max(65_535)
/** From the environment it comes as a word: true, 1, yes, on, and their opposites. */
const flag = z.union([z.boolean(), z.stringbool()])
const mebibyte = 1024 * 1024

const schema = z.strictObject({
  /** Everything that Colonnade keeps: database, weights, journals, secrets. */
  dataDirectory: z.string().min(1),
  logLevel: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('warn'),
  gateway: z
    .strictObject({
      host: z.string().default('127.0.0.1'),
      port: port.default(8080),
      /** How many gateway processes share the port. */
      count: z.coerce.number().int().min(1).max(64).default(1),
      /** Which of them this process is; each has a journal of its own. */
      index: z.coerce.number().int().min(1).max(64).default(1),
      /** Loopback port for /metrics of this process; 0 picks a free one. */
      metricsPort: port.default(0),
      bodyBytesMax: z.coerce
        .number()
        .int()
        .min(1024)
        // A recording of 25 MiB, which OpenAI takes too, and the form around it.
        .default(32 * mebibyte),
      openRequestsMax: z.coerce.number().int().min(1).default(4_096),
      corsOrigins: z.array(z.string()).default([]),
      /** What becomes of fields of a request that are not known here. */
      unknownFields: z.enum(['ignore', 'refuse']).default('ignore'),
      /** Unknown fields that engines shall have: names of the operator's choice, passed on as they are. */
      forwardedFields: z
        .array(z.string().regex(/^[a-z][a-z0-9_]{0,63}$/))
        .max(64)
        .default([]),
      /** The status of a refusal for money that is used up. SDKs know 429 with `insufficient_quota`; 402 says it in HTTP. */
      quotaStatus: z.coerce
        .number()
        .pipe(z.union([z.literal(429), z.literal(402)]))
        .default(429),
    })
    .prefault({}),
  control: z
    .strictObject({
      host: z.string().default('127.0.0.1'),
      port: port.default(8081),
      /** Host names, besides its own address, under which the control API answers. */
      hostNames: z.array(z.string()).default([]),
    })
    .prefault({}),
  tls: z.strictObject({ certPath: z.string(), keyPath: z.string() }).optional(),
  /** Allows addresses other than loopback without TLS. */
  insecure: flag.default(false),
  database: z
    .strictObject({
      /** The owner's URL of a PostgreSQL of yours; absent for the embedded one. */
      url: z.string().optional(),
      /** The URL that roles use; set by the supervisor. */
      appUrl: z.string().optional(),
    })
    .prefault({}),
  weights: z
    .strictObject({
      hubEndpoint: z.string().default('https://huggingface.co'),
      hubToken: z.string().optional(),
      pipCommand: z.string().optional(),
    })
    .prefault({}),
  proxy: z
    .strictObject({
      http: z.string().optional(),
      https: z.string().optional(),
      no: z.string().optional(),
    })
    .prefault({}),
  engine: z
    .strictObject({
      /** For all engines of this machine together; absent for all cores but one. */
      threads: z.coerce.number().int().min(1).optional(),
      /** Sequences that one engine decodes at once. */
      parallel: z.coerce.number().int().min(1).max(64).default(8),
      contextWindowTokens: z.coerce.number().int().min(128).optional(),
    })
    .prefault({}),
  journal: z
    .strictObject({
      bytesMax: z.coerce
        .number()
        .int()
        .min(4 * mebibyte)
        .default(1024 * mebibyte),
      segmentBytes: z.coerce
        .number()
        .int()
        .min(mebibyte)
        .default(16 * mebibyte),
    })
    .prefault({}),
  batch: z
    .strictObject({
      /** Lines of batches that one gateway runs at once while nobody else asks for anything; 0 for none here. */
      linesAtOnce: z.coerce.number().int().min(0).max(10_000).default(8),
      /** What the files of one project may take together. */
      projectBytesMax: z.coerce
        .number()
        .int()
        .min(mebibyte)
        .default(10 * 1024 * mebibyte),
    })
    .prefault({}),
  agent: z
    .strictObject({
      nodeName: z.string().default(hostname() || 'node'),
      controlUrl: z.string().optional(),
      /** The join token; absent to read it from the data folder. */
      token: z.string().optional(),
    })
    .prefault({}),
  /** Days and months of limits begin by it: an IANA name. */
  timeZone: z
    .string()
    .refine((name) => Intl.supportedValuesOf('timeZone').includes(name) || name === 'UTC', {
      error: 'must be an IANA time zone, such as Europe/Paris',
    })
    .default('Europe/Paris'),
  /** Whether the first start deploys the two default models. */
  defaultModels: flag.default(true),
  /** Whether `serve` looks for engines on this machine that are not connected yet, to offer them; or the addresses to look at. */
  discovery: z.union([flag, z.array(z.url({ protocol: /^https?$/ })).max(100)]).default(true),
  /** The root secret, when it is not in the data folder: for roles on other machines. */
  secretFile: z.string().optional(),
  /** For `colonnade chat`, and for nothing else. */
  apiKey: z.string().optional(),
  /** For commands that call the control API. */
  adminToken: z.string().optional(),
})

type Parsed = z.infer<typeof schema>
export type Config = Readonly<Parsed>

/** What flags and environment may set, as a partial tree of the same shape. */
export interface ConfigOverrides {
  readonly [key: string]: unknown
}

/** Environment variables and where they go. */
const variables: readonly (readonly [name: string, path: string])[] = [
  ['COLONNADE_DATA', 'dataDirectory'],
  ['COLONNADE_LOG_LEVEL', 'logLevel'],
  ['COLONNADE_HOST', 'gateway.host'],
  ['COLONNADE_PORT', 'gateway.port'],
  ['COLONNADE_GATEWAYS', 'gateway.count'],
  ['COLONNADE_GATEWAY_INDEX', 'gateway.index'],
  ['COLONNADE_METRICS_PORT', 'gateway.metricsPort'],
  ['COLONNADE_CONTROL_HOST', 'control.host'],
  ['COLONNADE_CONTROL_PORT', 'control.port'],
  ['COLONNADE_TLS_CERT', 'tls.certPath'],
  ['COLONNADE_TLS_KEY', 'tls.keyPath'],
  ['COLONNADE_INSECURE', 'insecure'],
  ['DATABASE_URL', 'database.url'],
  ['COLONNADE_APP_DATABASE_URL', 'database.appUrl'],
  ['COLONNADE_HUB_ENDPOINT', 'weights.hubEndpoint'],
  ['COLONNADE_HUB_TOKEN', 'weights.hubToken'],
  ['COLONNADE_PIP', 'weights.pipCommand'],
  ['HTTP_PROXY', 'proxy.http'],
  ['http_proxy', 'proxy.http'],
  ['HTTPS_PROXY', 'proxy.https'],
  ['https_proxy', 'proxy.https'],
  ['NO_PROXY', 'proxy.no'],
  ['no_proxy', 'proxy.no'],
  ['COLONNADE_ENGINE_THREADS', 'engine.threads'],
  ['COLONNADE_ENGINE_PARALLEL', 'engine.parallel'],
  ['COLONNADE_BATCH_LINES', 'batch.linesAtOnce'],
  ['COLONNADE_NODE_NAME', 'agent.nodeName'],
  ['COLONNADE_CONTROL_URL', 'agent.controlUrl'],
  ['COLONNADE_AGENT_TOKEN', 'agent.token'],
  ['COLONNADE_DEFAULT_MODELS', 'defaultModels'],
  ['COLONNADE_DISCOVERY', 'discovery'],
  ['COLONNADE_SECRET_FILE', 'secretFile'],
  ['COLONNADE_API_KEY', 'apiKey'],
  ['COLONNADE_ADMIN_TOKEN', 'adminToken'],
]

/** Hands a role its whole configuration, so that the supervisor's file, flags and environment count the same for all. */
const roleVariable = 'COLONNADE_ROLE_CONFIG'

/** Reads everything once. Throws `client.invalid_request` with the key that is wrong and what it may be. */
export function readConfig(
  flags: ConfigOverrides = {},
  environment: NodeJS.ProcessEnv = process.env,
): Config {
  const handed = environment[roleVariable]
  const tree = handed === undefined ? readTree(flags, environment) : parseTree(handed)
  const parsed = schema.safeParse(tree)
  if (!parsed.success) throw invalid(parsed.error)
  checkExposure(parsed.data)
  checkTls(parsed.data)
  return deepFreeze(parsed.data)
}

function readTree(flags: ConfigOverrides, environment: NodeJS.ProcessEnv): Record<string, unknown> {
  const { configFile, ...given } = flags
  const tree: Record<string, unknown> = {}
  for (const [name, path] of variables) {
    const value = environment[name]
    if (value !== undefined && value !== '') setPath(tree, path, value)
  }
  merge(tree, given)
  const wanted = tree['dataDirectory']
  const dataDirectory = resolve(
    typeof wanted === 'string' ? wanted : defaultDataDirectory(environment),
  )
  const isNamed = typeof configFile === 'string'
  const result = readFile(isNamed ? configFile : join(dataDirectory, 'colonnade.yaml'), isNamed)
  merge(result, { ...tree, dataDirectory })
  return result
}

/** What `roleEnvironment` has written. */
function parseTree(text: string): Record<string, unknown> {
  const value: unknown = JSON.parse(text)
  return isTree(value) ? value : {}
}

/** A role's environment: what is inherited and not ours, and the configuration without the logins that are none of its business. */
export function roleEnvironment(
  config: Config,
  changes: ConfigOverrides,
  environment: NodeJS.ProcessEnv = process.env,
): NodeJS.ProcessEnv {
  const { adminToken: _adminToken, apiKey: _apiKey, ...rest } = config
  const tree: Record<string, unknown> = { ...rest, database: { appUrl: config.database.appUrl } }
  merge(tree, changes)
  return { ...foreignEnvironment(environment), [roleVariable]: JSON.stringify(tree) }
}

/** What is not Colonnade's own: for programs that we start and that are not ours. */
export function foreignEnvironment(
  environment: NodeJS.ProcessEnv = process.env,
): Readonly<Record<string, string | undefined>> {
  const foreign = Object.entries(environment).filter(
    ([name]) => !name.startsWith('COLONNADE_') && name !== 'DATABASE_URL',
  )
  return Object.fromEntries(foreign)
}

function defaultDataDirectory(environment: NodeJS.ProcessEnv): string {
  return join(
    environment['XDG_DATA_HOME'] || join(environment['HOME'] || homedir(), '.local/share'),
    'colonnade',
  )
}

function readFile(path: string, mustExist: boolean): Record<string, unknown> {
  if (!existsSync(path)) {
    if (mustExist) throw refuse(`The configuration file ${path} does not exist.`)
    return {}
  }
  const value = parseFile(path)
  if (value === null || value === undefined) return {}
  if (typeof value !== 'object' || Array.isArray(value))
    throw refuse(`${path} must hold keys and values.`)
  return { ...value }
}

function parseFile(path: string): unknown {
  try {
    return parseYaml(readFileSync(path, 'utf8'))
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0] : 'unknown'
    throw refuse(`The configuration file ${path} cannot be read: ${reason}`)
  }
}

function setPath(tree: Record<string, unknown>, path: string, value: unknown): void {
  const [key = '', ...rest] = path.split('.')
  if (rest.length === 0) {
    tree[key] = value
    return
  }
  const next = tree[key]
  const branch: Record<string, unknown> =
    typeof next === 'object' && next !== null ? { ...next } : {}
  tree[key] = branch
  setPath(branch, rest.join('.'), value)
}

/** Lays `over` on top of `tree`; a key that is undefined leaves what is there. */
function merge(tree: Record<string, unknown>, over: Readonly<Record<string, unknown>>): void {
  for (const [key, value] of Object.entries(over)) {
    if (value === undefined) continue
    const below = tree[key]
    if (isTree(value) && isTree(below)) {
      const copy = { ...below }
      merge(copy, value)
      tree[key] = copy
    } else tree[key] = isTree(value) ? { ...value } : value
  }
}

function isTree(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Addresses that others can reach need TLS, or a clear word that it shall be otherwise. */
function checkExposure(config: Parsed): void {
  for (const [role, host] of [
    ['gateway', config.gateway.host],
    ['control', config.control.host],
  ] as const) {
    if (isLoopback(host) || config.tls || config.insecure) continue
    throw refuse(
      `The ${role} would listen on ${host} without TLS. Give --tls-cert and --tls-key, or say --insecure if a proxy in front does TLS.`,
    )
  }
}

function checkTls({ tls }: Parsed): void {
  for (const path of tls ? [tls.certPath, tls.keyPath] : []) {
    try {
      accessSync(path, constants.R_OK)
    } catch {
      throw refuse(`The TLS file ${path} cannot be read. Check the name and its rights.`)
    }
  }
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}

function invalid(error: z.ZodError): Fault {
  // A misspelt key often leaves another one missing; the misspelling is the news.
  const issue = error.issues.find(({ code }) => code === 'unrecognized_keys') ?? error.issues[0]
  const path = issue?.path.join('.') ?? ''
  if (path.startsWith('tls.'))
    return refuse('TLS needs both a certificate (--tls-cert) and its private key (--tls-key).')
  if (issue?.code !== 'unrecognized_keys')
    return refuse(`Configuration key '${path}': ${issue?.message ?? 'invalid'}.`)
  const key = issue.keys[0] ?? ''
  const known = knownKeys(path)
  const nearest = known.toSorted((a, b) => editDistance(a, key) - editDistance(b, key))[0]
  const hint = nearest === undefined ? '' : ` Did you mean '${nearest}'?`
  return refuse(
    `Unknown configuration key '${[path, key].filter(Boolean).join('.')}'.${hint} Known keys: ${known.join(', ')}.`,
  )
}

function knownKeys(section: string): readonly string[] {
  if (section === '') return Object.keys(schema.shape)
  const field = Object.entries(schema.shape).find(([name]) => name === section)?.[1]
  const inner =
    field instanceof z.ZodPrefault || field instanceof z.ZodOptional ? field.unwrap() : field
  return inner instanceof z.ZodObject ? Object.keys(inner.shape) : []
}

/** Levenshtein's distance, row by row. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (const [i, letter] of Array.from(a).entries()) {
    const next = [i + 1]
    for (let j = 1; j <= b.length; j += 1) {
      const change = (row[j - 1] ?? 0) + (letter === b[j - 1] ? 0 : 1)
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, change))
    }
    row = next
  }
  return row[b.length] ?? 0
}

function refuse(text: string): Fault {
  return new Fault({ code: 'client.invalid_request', public: text })
}

function deepFreeze<Value>(value: Value): Value {
  if (typeof value === 'object' && value !== null) {
    for (const inner of Object.values(value)) deepFreeze(inner)
    Object.freeze(value)
  }
  return value
}

/** The database as roles see it; the owner's URL is for the supervisor and for migrations. */
export function appDatabaseUrl(config: Config): string {
  const url = config.database.appUrl
  if (url !== undefined) return url
  throw refuse(
    'This role needs a database: give DATABASE_URL, or start everything with `colonnade serve`.',
  )
}
